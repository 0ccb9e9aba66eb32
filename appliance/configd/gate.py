"""The gate every message passes: who is the peer, whose session, may it do this; then the deed, and a line of audit."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from appliance.apply import stamp
from appliance.audit import Audit, Entry
from appliance.config.store import StoreError
from appliance.configd import about, accounts, api, passwords, roles
from appliance.configd.age_door import AgeDoor
from appliance.configd.attempts import Attempts, Counted
from appliance.configd.certificate_login import Attempt, CertificateLogIn
from appliance.configd.directory_login import SILENT as DIRECTORY_SILENT
from appliance.configd.directory_login import Ask, PasswordLogIn, Proof, nobody
from appliance.configd.errors import RefusedError, as_refusal, refused
from appliance.configd.examining import Examine, Standing
from appliance.configd.sessions import Bounds, Held, Manner, Peer, Sessions, plain
from appliance.configd.token_door import TokenDoor
from appliance.configd.tokens import Tokens
from appliance.configd.verbs_impl import Actions
from appliance.failures import AT_ONE_DOOR

ROOT = 0
AUTOMATION = "root"
ALERTS = "sentry-alerts"
SCANNER = "sentry-stig"
SECRET_CHARACTERS = 512  # libxcrypt takes no more; longer ones only cost time
NAME_CHARACTERS = 64
NOWHERE = "unknown"  # for PAM, to which no source at all would be the machine's own console
FAILURE_SECONDS = 3.5  # what PAM takes at most to refuse a wrong password (pam_faildelay: 2 s, give or take half)

SESSIONLESS = (
    api.OpenSession,
    api.Login,
    api.LoginCertificate,
    api.LoginToken,
    api.PresentCertificate,
    api.WithdrawCertificate,
)
"""The verbs that name no session: they are each their own account's."""
SILENT = (api.Touch, api.LookAtHealth, api.ReadMetrics, api.PresentCertificate, api.WithdrawCertificate)

PERSONAL = (api.Touch, api.Enable, api.Reauthenticate, api.ReauthenticateCertificate)
"""What of the portal's verbs a person has just done."""

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(api.Verb).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """How the gate learns who somebody is; tests give their own.

    `name_of` turns a uid into an account name (None: there is none), `portal_uid` is the portal's (None: not installed),
    `login` asks PAM about a user, their source and their password, `alerts_uid` is the alert service's, `scanner_uid` that of the
    appliance's own scan, `proxy_uid` the TLS proxy's, `examine` judges a client certificate, `standing` asks the agent whether it
    has been revoked, `directory` asks about those who have no account here.
    """

    name_of: Callable[[int], str | None]
    portal_uid: Callable[[], int | None]
    login: Callable[[str, str, str], bool]
    alerts_uid: Callable[[], int | None] = lambda: None
    scanner_uid: Callable[[], int | None] = lambda: None
    proxy_uid: Callable[[], int | None] = lambda: None
    examine: Examine = lambda _pem, _strict: "cannot be examined here"
    standing: Standing = lambda _pem: "cannot be looked up here"
    directory: Ask = nobody


class Answer(NamedTuple):
    """A line to send back. `last`: then the connection is closed, because its peer speaks another language; each line of
    nonsense costs it a connection, so that it cannot flood the audit trail."""

    line: bytes
    last: bool = False


class Gate:
    """Serves one message at a time for each connection; safe to use from several threads."""

    def __init__(
        self,
        actions: Actions,
        sessions: Sessions,
        audit: Audit,
        doors: Doors,
        *,
        reveal: Callable[[str], str],
        tokens: Tokens,
        attempts: Callable[[], Attempts] = Attempts,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._actions = actions
        self._sessions = sessions
        self._audit = audit
        self._doors = doors
        self._reveal = reveal
        self._log_ins = attempts()
        self._enables = attempts()  # apart: guessing names at one door must not make the other forget
        self._now = wall_clock
        self._clock = clock
        self._sleep = sleep
        self._passwords = PasswordLogIn(doors.login, doors.directory)
        self._certificates = CertificateLogIn(doors.examine, doors.standing, clock=clock)
        self._tokens = TokenDoor(tokens, sessions, attempts(), self, clock=clock)
        self._ages = AgeDoor(
            actions.aging,
            sessions,
            attempts(),
            self,
            commit=actions.table[api.SetOwnPassword],
            reveal=reveal,
            wall_clock=wall_clock,
            clock=clock,
        )
        self._own: dict[type, Callable[[Any, Held], Any]] = {
            api.Enable: self._enable,
            api.Disable: self._disable,
            api.SetOwnPassword: self._ages.set_password,
            api.Touch: lambda _verb, held: self._session(held),
            api.CloseSession: lambda _verb, held: self._sessions.close(held.handle),
            api.CreateToken: self._tokens.create,
            api.ListTokens: self._tokens.list,
            api.RevokeToken: self._tokens.revoke,
        }
        self._again: dict[type, Callable[[Any, Held, Attempt], Any]] = {
            api.Reauthenticate: self._reauthenticate,
            api.ReauthenticateCertificate: self._reauthenticate_certificate,
        }

    # --- one message ---------------------------------------------------------------------------------------------

    def answer(self, peer: Peer, line: bytes) -> Answer:
        """The line that answers `line`; every outcome is audited."""
        try:
            verb = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            refusal = api.Refusal(kind="invalid", message=f"not a message this version knows: {error}")
            self._write(peer, None, None, refusal, attempt=Attempt())
            known = isinstance(
                error, msgspec.ValidationError
            )  # a message, with a wrong word in it: a person's, most likely
            return Answer(_encode(api.Reply(refusal=refusal)) + b"\n", last=not known)
        held, attempt = self._holder(peer, verb), Attempt()
        try:
            done = self._serve(peer, verb, held, attempt)
            result = _encode(done)
        except Exception as error:  # noqa: BLE001 - the process boundary: an error nobody foresaw must not end configd
            refusal = self._refusal(error, verb)
            self._write(peer, verb, held, refusal, attempt=attempt)
            return Answer(_encode(api.Reply(refusal=refusal)) + b"\n")
        opened = done if isinstance(done, api.Session) else None
        self._write(peer, verb, held, None, attempt=attempt, opened=opened)
        return Answer(_encode(api.Reply(result=msgspec.Raw(result))) + b"\n")

    def _holder(self, peer: Peer, verb: Any) -> Held | None:
        """The session the message names, if it is the peer's; looked up here, because a verb may end it."""
        try:
            return self._sessions.find(verb.session, peer, self.bounds()) if hasattr(verb, "session") else None
        except (RefusedError, StoreError):  # `_serve` looks again, and refuses
            return None

    def _refusal(self, error: Exception, verb: Any) -> api.Refusal:
        known = as_refusal(error)
        if known is None:
            _log.error("%s failed", type(verb).__name__, exc_info=error)
            return api.Refusal(
                kind="unavailable", message=f"an error inside configd ({type(error).__name__}); its log says more"
            )
        return known

    def _serve(self, peer: Peer, verb: Any, held: Held | None, attempt: Attempt) -> Any:
        if isinstance(verb, api.OpenSession):
            return self._open(peer, verb)
        if isinstance(verb, api.Login):
            return self._login(peer, verb, attempt)
        if isinstance(verb, api.LoginCertificate):
            return self._login_certificate(peer, verb, attempt)
        if isinstance(verb, api.PresentCertificate | api.WithdrawCertificate):
            return self._shown(peer, verb)
        if isinstance(verb, api.LoginToken):
            return self._login_token(peer, verb)
        if held is None:
            held = self._sessions.find(verb.session, peer, self.bounds())
        with held.editing if type(verb) in roles.EDITS else contextlib.nullcontext():
            return self._judged(verb, held, attempt)

    def _judged(self, verb: Any, held: Held, attempt: Attempt) -> Any:
        """The verb's result, if the session may use it. Raises `RefusedError` where it may not."""
        standing = roles.Standing(
            role=held.role,
            manner=held.manner,
            privileged=held.privileged,
            privileged_seconds=self._clock() - held.privileged_since,
            reauthenticated_seconds=self._since_reauthenticated(held),
            scopes=held.scopes,
            password_ended=held.password_ended,
        )
        refusal = roles.refusal(type(verb), standing, about=about.deciding(verb) or self._actions.about(verb, held))
        if refusal is not None:
            raise refused(refusal.kind, refusal.message)
        # Behind a CLI session sits a person for every verb; the portal asks by itself, too, and says `Touch` for people.
        if held.manner != "portal" or isinstance(verb, PERSONAL):
            self._sessions.touch(held)
        if type(verb) in self._again:
            return self._again[type(verb)](verb, held, attempt)
        return (self._own.get(type(verb)) or self._actions.table[type(verb)])(verb, held)

    # --- sessions ------------------------------------------------------------------------------------------------

    def tree(self) -> Mapping[str, Any]:
        """The running configuration."""
        return self._actions.candidates.running()

    def bounds(self) -> Bounds:
        """What it says of sessions."""
        tree = self.tree()
        return Bounds(
            accounts.cli_idle_seconds(tree),
            accounts.portal_idle_seconds(tree),
            accounts.max_sessions(tree),
            accounts.directory_session_seconds(tree),
        )

    def _open(self, peer: Peer, verb: api.OpenSession) -> api.Session:
        if peer.uid == ROOT:
            return self._opened(AUTOMATION, roles.ADMINISTRATOR, "automation", peer, verb.source)
        if peer.uid == self._doors.alerts_uid():
            return self._opened(ALERTS, roles.AUDITOR, "alerts", peer, verb.source)
        if peer.uid == self._doors.scanner_uid():
            return self._opened(SCANNER, roles.AUDITOR, "scanner", peer, verb.source)
        name = self._doors.name_of(peer.uid)
        role = accounts.roles(self.tree()).get(name or "")
        if name is None or role is None or peer.uid == self._doors.portal_uid():
            raise refused("permission", "only administrators of this appliance may open a session")
        return self._opened(name, role, "cli", peer, verb.source)

    def _login(self, peer: Peer, verb: api.Login, attempt: Attempt) -> api.Session:
        if peer.uid != self._doors.portal_uid():
            raise refused("permission", "only the portal may log in by password")
        if accounts.certificate_login(self.tree()).mode == "required":
            raise refused("permission", "passwords are not taken here; log in with your certificate")
        role, proof = self._proved(verb.password, verb.user, plain(verb.source) or NOWHERE, attempt)
        user = verb.user.lower() if proof.server else verb.user  # a directory knows its people in either case
        return self._opened(user, role, "portal", peer, verb.source, proof=proof)

    def _reauthenticate(self, verb: api.Reauthenticate, held: Held, attempt: Attempt) -> api.Session:
        """At the source where the session came from, so that the portal gains no guesses by naming others."""
        role, proof = self._proved(verb.password, held.user, held.source or NOWHERE, attempt)
        if (role, bool(proof.server)) != (held.role, bool(held.directory)):
            self._sessions.close(held.handle)
            raise refused("session", "your role is another one by now; log in again")
        held.reauthenticated = self._clock()
        return self._session(held)

    def _reauthenticate_certificate(
        self, verb: api.ReauthenticateCertificate, held: Held, attempt: Attempt
    ) -> api.Session:
        """By the certificate that was shown over another connection than the log-in's: each ticket is good once. It is for those
        alone who have nothing else; a password that is there is what is asked for."""
        if not self._by_certificate(held):
            raise refused("permission", "your account has a password; give that again")
        tree, there = self.tree(), held.source or NOWHERE
        self._not_locked_there(held.user, there)
        client, name, _source = self._certificates.redeem(tree, verb.ticket, attempt)
        flaw = self._certificates.flaw(tree, client) if name == held.user else "Your certificate is another person's."
        if flaw:
            self._failed_there(held.user, there)
            raise refused("authentication", flaw)
        self._log_ins.succeeded(_there(held.user, there))
        held.reauthenticated = self._clock()
        return self._session(held)

    def _by_certificate(self, held: Held) -> bool:
        """Whether the person came by a certificate and has no password to give."""
        return held.by_certificate and not accounts.has_password(self.tree(), held.user)

    def _since_reauthenticated(self, held: Held) -> float | None:
        return None if held.reauthenticated is None else self._clock() - held.reauthenticated

    def _proved(self, password: str, user: str, source: str, attempt: Attempt) -> tuple[api.Role, Proof]:
        """What `user` may do, whose password this is to be, and who says so; the attempt is told. Raises an `authentication`, an
        `unavailable` or a `locked` refusal; failures are counted, of a name in either case alike."""
        name = user[:NAME_CHARACTERS].lower()
        self._not_locked_there(name, source)
        well_formed = 0 < len(password) <= SECRET_CHARACTERS and "\0" not in user + password
        began = self._clock()
        proof = self._passwords.prove(self.tree(), user, source, password) if well_formed else Proof()
        attempt.by = proof.words
        if proof.role is None:
            if not proof.busy:  # then nobody was asked: no guess was made, and the password may be right
                self._failed_there(name, source)
            # PAM refuses an account it does not know at once; who waits the same for all learns no names.
            self._sleep(max(0.0, began + FAILURE_SECONDS - self._clock()))
            if proof.silent:
                raise refused("unavailable", f"user name or password is wrong, or {DIRECTORY_SILENT}")
            raise refused("authentication", "user name or password is wrong")
        self._log_ins.succeeded(_there(name, source))
        return proof.role, proof

    def _not_locked_there(self, name: str, source: str) -> None:
        """Raises `locked`. By account and source: who sits elsewhere is not locked out by a stranger. By account alone only after
        ten times as many: the source is what the portal says, and a portal that was taken over says anything."""
        for counted, factor in ((_there(name, source), 1), (name, AT_ONE_DOOR)):
            message = "this account is locked after failed log-ins; try again later"
            self._not_locked(self._log_ins, counted, message, factor=factor)

    def _failed_there(self, name: str, source: str) -> None:
        for counted in (_there(name, source), name):
            self._log_ins.failed(counted)
        if self._is_locked(self._log_ins, _there(name, source)):
            self.note("login.locked", name, source=source, result="locked", detail="after failed log-ins from there")

    def _shown(self, peer: Peer, verb: api.PresentCertificate | api.WithdrawCertificate) -> str | None:
        if peer.uid != self._doors.proxy_uid():
            raise refused("permission", "only the TLS proxy says which certificates were shown")
        if isinstance(verb, api.WithdrawCertificate):
            self._certificates.withdraw(verb.ticket)
            return None
        return self._certificates.present(self.tree(), verb.certificate, plain(verb.source) or NOWHERE)

    def _login_certificate(self, peer: Peer, verb: api.LoginCertificate, attempt: Attempt) -> api.Session:
        if peer.uid != self._doors.portal_uid():
            raise refused("permission", "only the portal may log in by certificate")
        tree = self.tree()
        client, name, source = self._certificates.redeem(tree, verb.ticket, attempt)
        self._not_locked_there(name, source)
        flaw = self._certificates.flaw(tree, client)
        if flaw:
            self._failed_there(name, source)
            raise refused("authentication", flaw)
        self._log_ins.succeeded(_there(name, source))
        return self._opened(name, accounts.roles(tree)[name], "portal", peer, source, by_certificate=True)

    def _login_token(self, peer: Peer, verb: api.LoginToken) -> api.Session:
        if peer.uid != self._doors.portal_uid():
            raise refused("permission", "only the portal may log in by token")
        return self._session(self._tokens.open(peer, verb))

    def _opened(
        self,
        user: str,
        role: api.Role,
        manner: Manner,
        peer: Peer,
        source: str,
        *,
        by_certificate: bool = False,
        proof: Proof | None = None,
    ) -> api.Session:
        tree, bounds = self.tree(), self.bounds()
        credentials, directory = accounts.credentials(tree).get(user, frozenset()), ""
        if proof is not None and proof.server:
            credentials, directory = proof.credentials, proof.server
            if user in accounts.roles(tree) or credentials != accounts.directory(tree).credentials:
                raise refused("session", "the settings have changed while the directory was asked; log in again")
        if manner in ("cli", "portal") and not directory:
            self._ages.lets_in(user)
        held = self._sessions.open(
            user, role, manner, peer, source=source, bounds=bounds, credentials=credentials, directory=directory
        )
        held.by_certificate = by_certificate
        told = self._ages.opened(held)
        if manner in ("cli", "portal"):
            try:
                self._actions.note_login(held, self._now())
            except StoreError as error:  # a full disk must not keep out who would make room
                _log.error("the log-in of %s could not be remembered: %s", user, error)
        session = self._session(held)
        return msgspec.structs.replace(session, notices=(*session.notices, *told))

    def _session(self, held: Held) -> api.Session:
        return api.Session(
            handle=held.handle,
            user=held.user,
            role=held.role,
            privileged=held.privileged,
            idle_seconds=self.bounds().idle_seconds(held.manner),
            last_login=held.last_login,
            fresh_seconds=roles.fresh_seconds(self._since_reauthenticated(held)),
            by_certificate=self._by_certificate(held),
            by_directory=bool(held.directory),
            password_ended=held.password_ended,
            notices=self._sessions.notices(held),
            scopes=tuple(sorted(held.scopes)),
        )

    def _enable(self, verb: api.Enable, held: Held) -> api.Session:
        self.prove(held.user, verb.secret, held.source)
        held.privileged, held.privileged_since = True, self._clock()
        return self._session(held)

    def prove(self, name: str, secret: str, source: str) -> None:
        """Raise a refusal unless `secret` is the enable secret; three that are not lock it for `name`."""
        self._not_locked(
            self._enables, name, "enable is locked for this account after failed attempts; try again later"
        )
        reference = accounts.enable_reference(self.tree())
        if reference is None:
            raise refused("permission", "no enable secret is set: set cli enable_secret_hash in the site configuration")
        if not passwords.verify(secret, self._reveal(reference)):
            self._enables.failed(name)
            if self._is_locked(self._enables, name):
                self.note("enable.locked", name, source=source, result="locked", detail="after failed attempts")
            raise refused("authentication", "the enable secret is wrong")
        self._enables.succeeded(name)

    def _disable(self, _verb: api.Disable, held: Held) -> api.Session:
        held.privileged = False
        return self._session(held)

    def _not_locked(self, counted: Attempts, name: Counted, message: str, *, factor: int = 1) -> None:
        if self._is_locked(counted, name, factor=factor):
            raise refused("locked", message)

    def _is_locked(self, counted: Attempts, name: Counted, *, factor: int = 1) -> bool:
        tree = self.tree()
        attempts, seconds = factor * accounts.failed_attempts(tree), accounts.lock_seconds(tree)
        return counted.locked(name, attempts=attempts, seconds=seconds)

    # --- what goes on by itself ----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Once a second: end idle sessions, and see which passwords are new and which accounts unused."""
        self._ages.tick()
        for held in self._sessions.expire(self.bounds()):
            self.note("session.idle", held.user, source=held.source)

    def serves(self, connection: int) -> bool:
        """Whether a session is open over this connection."""
        return self._sessions.serves(connection)

    def disconnected(self, connection: int) -> None:
        """A connection ended, and with it the CLI sessions over it. Automation ends each of its calls so."""
        for held in self._sessions.close_connection(connection):
            if held.manner == "cli":
                self.note("session.gone", held.user, source=held.source)

    # --- audit ---------------------------------------------------------------------------------------------------

    def note(self, event: str, user: str, *, source: str = "", result: str = "ok", detail: str = "") -> None:
        """Audit something configd did by itself."""
        time_ = stamp(self._now())
        self._audit.write(Entry(time=time_, event=event, user=user, source=source, result=result, detail=detail))

    def _write(
        self,
        peer: Peer,
        verb: Any,
        held: Held | None,
        refusal: api.Refusal | None,
        *,
        attempt: Attempt,
        opened: api.Session | None = None,
    ) -> None:
        # A touch that is served says nothing: what the person did is the verb beside it. Nor does a look that no person takes,
        # nor a certificate that was shown: its log-in does; nor a piece of an update but the last. Who follows a log said so when
        # it began.
        quiet = (isinstance(verb, api.UploadSoftware) and not verb.last) or (
            isinstance(verb, api.FollowLog) and bool(verb.after)
        )
        if refusal is None and (isinstance(verb, SILENT) or quiet):
            return
        claimed = attempt.source or str(getattr(verb, "source", ""))
        who = held or opened
        self._audit.write(
            Entry(
                time=stamp(self._now()),
                event=type(verb).__struct_config__.tag if verb is not None else "malformed",
                user=who.user if who else attempt.user or self._who(peer, verb),
                role=who.role if who else "",
                source=f"{held.source if held else claimed} pid {peer.pid}".strip(),
                path=attempt.by or about.told(verb),
                result=refusal.kind if refusal else "ok",
                detail=refusal.message if refusal and refusal.kind not in ("invalid",) else "",
            )
        )

    def _who(self, peer: Peer, verb: Any) -> str:
        if isinstance(verb, api.Login):
            return verb.user
        return self._doors.name_of(peer.uid) or f"uid {peer.uid}"


def _there(name: str, source: str) -> tuple[str, str]:
    """What failures are counted by: an account, from one source. No name can be made that counts as both."""
    return name, source
