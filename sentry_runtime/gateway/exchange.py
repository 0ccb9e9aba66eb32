"""One request and its response: identify, decide, then answer or forward, and account for it.

A known, allowed device on a connection that has its backend already goes from `start` to the backend in one call, without
a task. Only a first contact and a new backend connection wait for something, in one task.
"""

import asyncio
import contextlib
import math
import zlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record, WipeMark
from sentry_runtime.eas import provision, status
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.gateway import autodiscover, backend_policy, enforce, logon, overhear, provisioning, wipe
from sentry_runtime.gateway.account import Outcome
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import Caller, CredentialsRefusedError
from sentry_runtime.gateway.decide import Action, Excess, Unreadable, Verdict, decide
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim, DeniedError, Service, service, unauthorized
from sentry_runtime.gateway.inquiry import Heard, inquire
from sentry_runtime.gateway.logon import LogonLostError
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.provisioning import Reply, Terms
from sentry_runtime.gateway.redirects import WRONG_SERVER, location_of
from sentry_runtime.gateway.refusals import Attempt
from sentry_runtime.gateway.relay import REQUEST_STALL_SECONDS, Front, Relay
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.throttle import SMALL_BYTES, Pause
from sentry_runtime.gateway.wipe_marks import Vouch

LOGON_BODY_BYTES = 262_144  # of the request that begins a log-on; clients that know it is in vain send none

_NOT_VOUCHED = (CredentialsRefusedError, LogonLostError, BackendsDownError, UndecidedError)
_PASSING = (Action.ALLOW, Action.PROVISION)  # what an exchange does for a device that may pass
_TRIES_CREDENTIALS = frozenset({Action.ALLOW, Action.ASK})  # what makes a backend look at them


async def _resting() -> None:
    """No backend is asked about these credentials now."""
    raise UndecidedError("logons_rest")


class Exchange:
    """One request and its response, from the head to the outcome's line."""

    def __init__(self, front: Front, services: Services, head: Head) -> None:
        self.claim: Claim | None = None
        self.policy = b""  # the digest of the policy by which the device was judged
        self._done = False
        # Set while the body, which is for the gateway itself, has not all come: its bound, the answer beyond, and who takes it.
        self._gathers: tuple[int, DeniedError, Callable[[bytes], None]] | None = None
        self._front = front
        self._services = services
        self._counters = services.account.counters
        self._head = head
        self._relay = Relay(front, services, head, self)
        self._started = asyncio.get_running_loop().time()
        self._id = ""
        self._listener: overhear.Listener | None = None
        self._told: Record | None = None  # the agent's answer to this exchange's first contact
        self._verdict: Verdict | None = None  # the last one
        self._checksum = 0  # of the request body, while it is small
        # The backend's policy key that has gone with the request; None: the device's own word has.
        self._sent_key: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._hops = 0  # how often the request has been sent on by a 451
        self._attempt: Attempt | None = None  # credentials that this connection's backend has not accepted yet

    # From the front.

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Judge the request. `payload` is what came with the head of its body, `complete` that this is all of it.

        Raises `HeadError` when the query cannot be read; then nothing has been recorded.
        """
        self._relay.body(payload, complete=complete)
        self._checksum = zlib.crc32(payload[:SMALL_BYTES])
        try:
            asked = service(self._head, autodiscover=bool(self._services.external_host))
            if asked is Service.ACTIVESYNC:
                self.claim = self._front.identify(self._head)
            elif asked is not Service.HEALTH:
                self.claim = autodiscover.claim(self._head, asked, self._services.access, self._front.badge(self._head))
                self._front.note(self.claim)
        except DeniedError as error:
            self._open()
            self._deny(error)
            return
        self._open()
        if self.claim is None:
            self._health()
        elif self.claim.opens:
            self._open_logon(self.claim)
        elif asked is Service.ACTIVESYNC:
            self._judge(self.claim)
        else:
            self._discover(asked, self.claim)

    def body(self, payload: bytes, *, complete: bool) -> None:
        """More of the request body."""
        if self._relay.bytes_in < SMALL_BYTES:
            self._checksum = zlib.crc32(payload[:SMALL_BYTES], self._checksum)
        if self._listener is not None:
            self._listener.hear(payload)
        self._relay.body(payload, complete=complete)
        self._gathered()

    def bad_body(self, reason: str) -> None:
        """The request body's framing is broken: the backend must not see an end of it."""
        self._counters.malformed += 1
        self._relay.keep_alive = False
        self._not_waited_for()
        self._end(Answer(400), "deny", (reason,))

    def lost(self) -> None:
        """The device has gone."""
        if not self._done:
            self._counters.cut += 1
            self._not_waited_for()
            self._relay.drop()
            self._finish("fail", ("device_gone",))

    def expire(self) -> None:
        """Nothing has moved for too long."""
        if self._relay.begun:
            self._end(Answer(503), "fail", ("stalled",))
        elif not self._relay.request_done and (self._relay.sent or self._gathers is not None):
            self._relay.keep_alive = False
            self._not_waited_for()
            self._end(Answer(408), "fail", ("request_stalled",))
        else:
            self._counters.backend_failures += 1
            self._relay.blame("backend_timeout")
            self._end(enforce.unavailable(), "fail", ("backend_timeout",))

    def drain(self) -> None:
        """The gateway is about to stop: end a Ping that waits, let everything else finish."""
        self._relay.keep_alive = False
        if self.claim is not None and self.claim.command == "Ping" and self._relay.waits_for_answer:
            self._end(enforce.ping_over(), "allow", ("draining",))

    def give_up(self) -> None:
        """The time for finishing is over."""
        self._relay.keep_alive = False
        self._end(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("draining",))

    def expel(self, word: str) -> None:
        """The certificate that the connection stands on is not taken any more."""
        self._relay.keep_alive = False
        self._end(Answer(403), "deny", (word,))

    def device_full(self) -> None:
        """The device does not keep up with the response."""
        self._relay.device_full()

    def device_ready(self) -> None:
        """The device has caught up."""
        self._relay.device_ready()

    # From the table of running exchanges.

    def judged_anew(self, found: Record | Unreadable | None) -> Verdict:
        """The verdict on this request if it came now, with this in the device list for its key."""
        if self.claim is None:
            raise AssertionError("only what has a claim is in the table")
        return decide(self._services.judge.case(self.claim, self._front.peer.source, found))

    def revoke(self, verdict: Verdict) -> None:
        """The device may no longer pass: what waits at the backend ends now."""
        if self._done or self.claim is None:
            return
        self._counters.revoked += 1
        self._verdict = verdict
        self._relay.keep_alive = False
        if verdict.action is Action.BLOCK:
            answer = enforce.revoked(self.claim, verdict, self._services.notice)
        elif verdict.action is Action.WIPE:
            answer = wipe.revoked(self.claim, wipe.order(verdict), self._services.notice)
        else:
            answer = enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self._end(answer, "wipe" if verdict.action is Action.WIPE else "block", ("revoked", *verdict.reasons))

    def renew(self, verdict: Verdict) -> None:
        """The device has another policy now: a held Ping ends, so that it hears of it; everything else runs to its end."""
        if self.claim is not None and self.claim.command == "Ping" and self._relay.waits_for_answer:
            self._end(enforce.renewed(self.claim, verdict), "provision", ("policy_changed",))

    # From the relay.

    def relayed(self) -> None:
        """The device has the backend's whole answer."""
        if self._relay.served or self._relay.refused:
            self._note_logon()
        if self._relay.served:
            self._served()
        if self._listener is not None and self._relay.served:
            self._tell(self._listener.understood())
        self._finish("allow", ())
        keep_alive = self._relay.keep_alive and not self._services.draining
        self._front.finished(self, keep_alive=keep_alive, vouched=self._relay.served)

    def relay_failed(self, reason: str) -> None:
        """The backend has failed."""
        self._counters.backend_failures += 1
        self._end(enforce.unavailable(), "fail", (reason,))

    def relay_called(self, code: int) -> None:
        """The backend wants a Provision of the device instead of this request: because of its policy, or to wipe it."""
        if self.claim is None:
            raise AssertionError("only a claim is forwarded")
        self._services.account.ended(self)  # it waits no longer: what is kept now is no news to it
        self._wait_for(self._send_to_provision(self.claim, code))

    def relay_redirected(self, sender: Target, location: bytes, *, whole: bool) -> None:
        """The device belongs to another server: go there at once, or with its next attempt."""
        if self.claim is None:
            raise AssertionError("only a claim is forwarded")
        try:
            target = self._services.backends.follow(Seat.of(self.claim), sender, location, self._hops)
        except BackendsDownError as error:
            self.relay_failed(error.reason)
            return
        self._counters.redirected += 1
        self._hops += 1
        if whole:
            self._wait_for(self._connect(self.claim, target))
        else:
            self._end(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("backend_redirected",))

    # The way of a request.

    def _open(self) -> None:
        self._id = self._services.account.request(self._front.peer, self._head, self.claim)

    def _health(self) -> None:
        now = asyncio.get_running_loop().time()
        up = self._services.backends.any_up(now) and not (self._services.stopping or self._services.quiesced)
        answer = Answer(200, body=b"ok\n") if up else enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self._answer(answer, "allow", ("health",))

    def _judge(self, claim: Claim) -> None:
        key, throttle = claim.key, self._services.throttle
        pause = None if throttle is None else throttle.pause(claim)
        excess = None if pause is None else pause.excess
        verdict = self._decide(claim, None if key is None else self._services.known.get(key), excess)
        if throttle is not None and pause is not None and verdict.action is Action.THROTTLE:
            self._throttled(pause, throttle.left(pause))
            return
        resting = self._services.refusals.resting_until and verdict.action in _TRIES_CREDENTIALS
        if resting and self._rests(claim):
            return
        if verdict.action is Action.ALLOW and not self._may_try(claim):
            return
        if key is None or verdict.action is not Action.ASK:
            self._obey(claim, verdict)
        else:
            self._wait_for(self._first_contact(key, claim))

    def _rests(self, claim: Claim) -> bool:
        """Whether a backend has refused so many log-ons from there, or of this name, that it shall hear of no more now.

        Not on a connection that has logged on: there no backend is asked for anything. Nor where a certificate stands for the
        user and no credentials come along, since nothing is tried then.
        """
        if claim.vouched and not self._authorization:
            return False
        if claim.logon is not None and not claim.opens and self._at_hand(claim) is not None:
            return False
        place, device = self._front.peer.place, Seat.of(claim).device
        seconds = self._services.refusals.wait(place, claim.principal, self._authorization, device)
        if seconds:
            self._counters.logons_rested += 1
            self._answer(enforce.unavailable(math.ceil(seconds)), "deny", ("logons_rest",))
        return bool(seconds)

    def _may_try(self, claim: Claim) -> bool:
        """Whether the request's credentials may go to a backend, where that is yet to say something of them."""
        authorization = self._authorization
        if claim.logon is not None or not authorization or self._front.accepted == authorization:
            return True
        self._attempt = self._services.refusals.begin(claim.principal, authorization, Seat.of(claim).device)
        if self._attempt is None:
            self._counters.logons_rested += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "deny", ("logons_rest",))
        return self._attempt is not None

    def _not_waited_for(self) -> None:
        """The device ends this before the backend has said what it thinks of the credentials."""
        if self._attempt is not None and self._attempt.open and self.claim is not None:
            if self._relay.sent and not self._relay.begun:
                self._services.refusals.unheard(self._front.peer.place, self.claim.principal)
            self._attempt.end()

    def _note_logon(self) -> None:
        """The backend has accepted or refused the credentials. Accepted ones are noted once on each connection.

        Log-ons of the connection's are noted where they are made; and without credentials none have been tried.
        """
        front, claim, authorization = self._front, self.claim, self._authorization
        if claim is None or claim.logon is not None or (self._relay.served and front.accepted == authorization):
            return
        if self._relay.served:
            front.accepted = authorization
            self._services.refusals.accepted(front.peer.place, claim.principal, authorization, Seat.of(claim).device)
        elif authorization:
            front.accepted = b""
            self._note_refused(self._caller(claim))

    def _note_refused(self, caller: Caller) -> None:
        self._counters.logons_refused += 1
        refusals = self._services.refusals
        refusals.refused(caller.peer.place, caller.principal, caller.authorization, caller.device)

    @property
    def _authorization(self) -> bytes:
        return self._head.single.get(b"authorization", b"")

    def _decide(self, claim: Claim, found: Record | Unreadable | None, excess: Excess | None = None) -> Verdict:
        judge = self._services.judge
        self.policy = judge.policies.digest_of(found)
        self._relay.provisions = bool(self.policy) if claim.key is not None else judge.policies.owns_any()
        self._verdict = decide(judge.case(claim, self._front.peer.source, found, excess))
        return self._verdict

    def _throttled(self, pause: Pause, left: float) -> None:
        self._counters.throttled += 1
        self._answer(enforce.throttled(pause.excess, left), "throttle", (pause.excess,))

    def _served(self) -> None:
        """A backend has served the device, or vouched for it: that counts towards what it may ask."""
        throttle, relay = self._services.throttle, self._relay
        if throttle is None or self.claim is None:
            return
        made = None
        if relay.bytes_in <= SMALL_BYTES:
            made = (self._head.query, self._checksum, relay.bytes_in, relay.status, relay.bytes_out)
        throttle.served(self.claim, asyncio.get_running_loop().time() - self._started, made)

    def _obey(self, claim: Claim, verdict: Verdict) -> None:
        self._counters.softened += bool(verdict.softened)
        if verdict.action is Action.ALLOW:
            self._counters.allowed += 1
            self._listen(claim)
            self._forward(claim)
        elif verdict.action is Action.BLOCK:
            self._counters.blocked += 1
            self._answer(enforce.blocked(claim, verdict, self._services.notice), "block", tuple(verdict.reasons))
        elif verdict.action is Action.WIPE:
            self._wipe(claim, verdict)
        elif verdict.action is Action.PROVISION and claim.command == "Provision":
            if self._rests(claim):
                return
            too_large = DeniedError(413, "provision_too_large")
            self._gather(provision.BYTES, too_large, lambda body: self._wait_for(self._provision(claim, body)))
        elif verdict.action is Action.PROVISION:
            self._counters.unprovisioned += 1
            self._answer(enforce.unprovisioned(claim, verdict), "provision", tuple(verdict.reasons))
        else:
            self._counters.undecided += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("undecided",))

    def _wipe(self, claim: Claim, verdict: Verdict) -> None:
        """Answer a device that is to be wiped. Its Provision alone is read; no backend hears of any of it beforehand."""
        if claim.command == "Provision" and wipe.possible(claim, wipe.order(verdict)):
            too_large = DeniedError(413, "provision_too_large")
            self._gather(provision.BYTES, too_large, lambda body: self._wipe_provision(claim, body))
        else:
            self._counters.blocked += 1
            self._wipe_step(claim, verdict, wipe.refused(claim, wipe.order(verdict), self._services.notice))

    def _wipe_provision(self, claim: Claim, body: bytes) -> None:
        verdict = self._last_look(claim)  # the body was waited for
        if verdict.action is not Action.WIPE:
            self._obey(claim, verdict)
            return
        encoding = self._head.single.get(b"content-encoding", b"")
        step = wipe.provisioned(claim, wipe.order(verdict), body, encoding, self._services.notice)
        if step.mark is WipeMark.UNVERIFIED:
            self._wait_for(self._wipe_acknowledged(claim, verdict, step))
        else:
            self._counters.wipes_handed_out += step.mark is WipeMark.HANDED_OUT
            self._wipe_step(claim, verdict, step)

    async def _wipe_acknowledged(self, claim: Claim, verdict: Verdict, step: wipe.Step) -> None:
        if claim.key is None:
            raise AssertionError("only a device is wiped")
        try:
            await self._services.wipe_marks.acknowledged(claim.key, wipe.order(verdict), self._voucher(claim))
        except UndecidedError as error:
            self._not_vouched(error)
            return
        self._counters.wipes_acknowledged += 1
        self._answer(step.answer, step.action, (step.reason, *verdict.reasons))

    def _wipe_step(self, claim: Claim, verdict: Verdict, step: wipe.Step) -> None:
        if claim.key is not None and step.mark is not None:
            self._services.wipe_marks.note(claim.key, wipe.order(verdict), step.mark)
        self._answer(step.answer, step.action, (step.reason, *verdict.reasons))

    async def _first_contact(self, key: DeviceKey, claim: Claim) -> None:
        self._counters.first_contacts += 1
        try:
            await self._vouch(claim)
            self._told = await self._services.contacts.learn(key, claim, self._caller(claim))
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
        else:
            verdict = self._decide(claim, self._told)
            self._obey(claim, self._last_look(claim) if verdict.action in _PASSING else verdict)

    def _last_look(self, claim: Claim) -> Verdict:
        """The verdict after a wait, in which the device may have been blocked or forgotten.

        The list has the last word; what the agent told this exchange counts only where the list cannot be read.
        """
        return self._decide(claim, self._found(claim))

    def _found(self, claim: Claim) -> Record | Unreadable | None:
        found = None if claim.key is None else self._services.known.get(claim.key)
        return self._told if found is Unreadable.LIST else found

    def _caller(self, claim: Claim) -> Caller:
        return Caller.of(self._head, self._front.peer, claim)

    async def _vouch(self, claim: Claim) -> None:
        """Have a backend say that the credentials hold, unless a certificate names the principal. Raises `_NOT_VOUCHED`."""
        if claim.vouched:
            return
        if claim.logon is None:
            await self._services.contacts.vouch(self._caller(claim), claim)
        elif self._at_hand(claim) is None:
            await self._log_on(claim)

    def _voucher(self, claim: Claim) -> Vouch:
        """What has a backend say, later and whatever becomes of this exchange, that the credentials hold."""
        caller, logons, contacts = self._caller(claim), self._front.logons, self._services.contacts
        if claim.vouched or (claim.logon is not None and self._at_hand(claim) is not None):
            return logon.held
        if self._services.refusals.wait(caller.peer.place, caller.principal, caller.authorization, caller.device):
            return _resting
        if claim.logon is None:
            return lambda: contacts.vouch(caller, claim)

        async def apart() -> None:
            with self._counted(caller):
                await logons.prove_apart(claim, caller.authorization, caller.peer.source)

        return apart

    def _open_logon(self, claim: Claim) -> None:
        """The first message of a log-on that belongs to the connection. What comes with it is not for the backend yet."""
        if self._rests(claim):
            return
        self._relay.disregard()
        too_large = DeniedError(413, "logon_body_too_large")
        self._gather(LOGON_BODY_BYTES, too_large, lambda _: self._wait_for(self._challenge(claim)))

    async def _challenge(self, claim: Claim) -> None:
        caller = self._caller(claim)
        try:
            challenge = await self._front.logons.begin(claim, caller.authorization, caller.peer.source)
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
        else:
            self._answer(Answer(401, ((b"WWW-Authenticate", challenge),)), "deny", ("logon_begun",))

    async def _log_on(self, claim: Claim) -> None:
        """The last message of a log-on. Raises `_NOT_VOUCHED`; else the backend connection in use has logged on."""
        caller = self._caller(claim)
        logons, source = self._front.logons, caller.peer.source
        with self._counted(caller):
            upstream, self._relay.last_word = await logons.prove(claim, caller.authorization, source)
        self._front.adopt(upstream)

    @contextlib.contextmanager
    def _counted(self, caller: Caller) -> Iterator[None]:
        """While the last message of a log-on is with a backend. Raises `UndecidedError` where too many of its name are."""
        refusals = self._services.refusals
        attempt = refusals.begin(caller.principal, caller.authorization)
        if attempt is None:
            raise UndecidedError("logons_rest")
        try:
            yield
        except CredentialsRefusedError:
            self._note_refused(caller)
            raise
        except asyncio.CancelledError:  # the device has not waited for the answer
            refusals.unheard(caller.peer.place, caller.principal)
            raise
        finally:
            attempt.end()
        refusals.forgive(caller.peer.place, caller.principal)

    def _not_vouched(
        self, error: CredentialsRefusedError | LogonLostError | BackendsDownError | UndecidedError
    ) -> None:
        if isinstance(error, CredentialsRefusedError):
            self._deny(unauthorized("credentials_refused"))
        elif isinstance(error, LogonLostError):
            self._deny(unauthorized(error.reason))
        elif isinstance(error, BackendsDownError):
            self._counters.backend_failures += 1
            self._answer(enforce.unavailable(), "fail", (error.reason,))
        else:
            self._counters.undecided += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", (error.reason,))

    def _discover(self, asked: Service, claim: Claim) -> None:
        if asked is Service.AUTODISCOVER_JSON:
            self._reply(autodiscover.of_query(self._head.query, self._services.external_host))
            return
        self._gather(
            autodiscover.REQUEST_BYTES, autodiscover.too_large(), lambda body: self._discover_document(body, claim)
        )

    def _discover_document(self, body: bytes, claim: Claim) -> None:
        reply = autodiscover.of_document(body, self._services.external_host)
        if reply.action != "allow" or claim.vouched:
            self._reply(reply)
        elif not self._rests(claim):
            self._wait_for(self._reply_if_vouched(claim, reply))

    async def _provision(self, claim: Claim, body: bytes) -> None:
        """Answer a Provision; a backend vouches for the credentials, since it sees no other part of this."""
        if claim.key is None:
            raise AssertionError("only a device is provisioned")
        try:
            if self._told is None:
                await self._vouch(claim)
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
            return
        record = self._found(claim)
        verdict = self._decide(claim, record)
        if verdict.action is not Action.PROVISION or not isinstance(record, Record):
            self._obey(claim, verdict)
            return
        terms = self._services.judge.policies.terms(claim, record)
        if terms is None:
            self._counters.undecided += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("policy_unreadable",))
            return
        try:
            reply = await self._mediated(claim, record, terms, body)
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
            return
        verdict = self._last_look(claim)
        if verdict.action is not Action.PROVISION:
            self._obey(claim, verdict)
            return
        self._counters.provisioned += reply.granted
        if reply.counter:
            self._counters.count(reply.counter)
        self._tell(reply.says)
        self._reply(reply)
        self._served()

    async def _mediated(self, claim: Claim, record: Record, terms: Terms, body: bytes) -> Reply:
        """The answer to a Provision, in which the backend has a say where it enforces a policy. Raises `_NOT_VOUCHED`."""
        held = self._services.known.enforcement(record.key, anew=True)
        if isinstance(held, Unreadable):
            raise UndecidedError("undecided")
        mediation = backend_policy.Mediation(
            claim,
            terms,
            lambda joint: self._services.judge.policies.keys(claim, record, joint),
            held,
            lambda policy_key, said: self._ask_backend(claim, policy_key, said),
            lambda new: self._keep(record.key, new),
        )
        return await mediation.reply(body, self._head.single.get(b"content-encoding", b""))

    async def _ask_backend(self, claim: Claim, policy_key: int, body: bytes) -> Heard:
        """Send the backend a Provision of our own in the form of this request; see `backend_policy`. Raises `_NOT_VOUCHED`."""
        upstream = self._at_hand(claim) or await self._dial(claim)
        backend, source = upstream.target.backend, self._front.peer.source
        self._relay.backend = backend.name
        logged_on, hidden = upstream.logged_on, self._services.hidden
        request = backend_policy.request(
            self._head, backend, source, policy_key, body, logged_on=logged_on, hidden=hidden
        )
        target, backends = upstream.target, self._services.backends
        try:
            heard = await inquire(upstream, request, self._services.limits.decision_seconds)
        except BackendsDownError as error:
            backends.answered_badly(target, claim.principal, error.reason)
            raise
        backends.answered(target, claim.principal, heard.status, heard.fields)
        if heard.status == 401 and logged_on:
            upstream.drop()  # it has logged the device off
        elif heard.status == 401:
            self._note_refused(self._caller(claim))
        if heard.status == WRONG_SERVER:
            upstream.drop()
            backends.follow(Seat.of(claim), target, location_of(heard.fields), 0)
            raise UndecidedError("backend_redirected")  # the device's next attempt goes there
        return heard

    async def _keep(self, key: DeviceKey, enforcement: Enforcement | None) -> None:
        if not await self._services.notes.keep(key, enforcement) and enforcement is not None:
            raise UndecidedError("undecided")  # the entry has gone meanwhile: the next request is a first contact

    async def _send_to_provision(self, claim: Claim, code: int) -> None:
        """Answer a device whose backend wants a Provision of it.

        Where that is for the backend's policy, the device's keys are worth nothing from now on. Unless that can be kept, the
        backend will say it once more.
        """
        if code == status.REMOTE_WIPE_REQUESTED:
            self._answer(enforce.provision_first(claim, code), "wipe", ("backend_wipe_pending",))
            return
        self._counters.backend_provisions += 1
        if claim.key is not None and self._sent_key is not None:
            with contextlib.suppress(UndecidedError):
                await self._services.notes.keep(claim.key, Enforcement(), after=self._sent_key)
        self._answer(enforce.provision_first(claim, code), "provision", ("backend_wants_provision",))

    def _listen(self, claim: Claim) -> None:
        self._listener = overhear.listener(claim, self._head)
        if self._listener is not None:
            self._listener.hear(self._relay.gathered)

    def _tell(self, says: DeviceInformation | None) -> None:
        if says is not None and self.claim is not None and self.claim.key is not None:
            self._services.teller.tell(self.claim.key, says)

    def _gather(self, bound: int, too_large: DeniedError, then: Callable[[bytes], None]) -> None:
        """Read the whole request body for the gateway itself, and give it to `then`; refuse one of more than `bound` bytes."""
        self._gathers = bound, too_large, then
        self._front.release()
        if (self._head.length or 0) <= bound:
            self._relay.invite()
        self._front.set_deadline(REQUEST_STALL_SECONDS)  # for all of it: such a body is one packet
        self._gathered()

    def _gathered(self) -> None:
        if self._gathers is None:
            return
        bound, too_large, then = self._gathers
        if max(self._relay.bytes_in, self._head.length or 0) > bound:
            self._gathers = None
            self._relay.keep_alive = False
            self._deny(too_large)
        elif self._relay.request_done:
            self._gathers = None
            then(self._relay.gathered)

    async def _reply_if_vouched(self, claim: Claim, reply: autodiscover.Reply) -> None:
        try:
            await self._vouch(claim)
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
        else:
            self._reply(reply)

    def _reply(self, reply: autodiscover.Reply | provisioning.Reply) -> None:
        if reply.action == "deny":
            self._counters.denied += 1
        self._answer(reply.answer, reply.action, (reply.reason,))

    def _deny(self, error: DeniedError) -> None:
        self._counters.denied += 1
        answer = enforce.denied(error)
        if error.status == 401:
            answer = replace(answer, headers=(*answer.headers, *self._services.access.challenges))
        self._answer(answer, "deny", (error.reason,))

    def _forward(self, claim: Claim) -> None:
        upstream = self._at_hand(claim)
        if upstream is None:
            self._wait_for(self._connect(claim))
        else:
            self._send(upstream)

    def _at_hand(self, claim: Claim) -> Upstream | None:
        """The backend connection of this front connection that the request may go over; then it is the one in use.

        One that would fit but leads where the device no longer belongs is dropped.
        """
        front, now = self._front, asyncio.get_running_loop().time()
        credentials, backends = self._head.single.get(b"authorization", b""), self._services.backends
        upstream = front.upstream
        if upstream is not None and not upstream.fits(claim, credentials, now):
            front.upstream = front.upstreams.take(claim, credentials, now)
            front.upstreams.put(upstream, now)
        elif upstream is None:
            front.upstream = front.upstreams.take(claim, credentials, now)
        while front.upstream is not None and not backends.keeps(front.upstream, claim):
            front.upstream.drop()
            front.upstream = front.upstreams.take(claim, credentials, now)
        return front.upstream

    async def _connect(self, claim: Claim, only: Target | None = None) -> None:
        try:
            upstream = await self._dial(claim, only)
        except _NOT_VOUCHED as error:
            self._not_vouched(error)
            return
        verdict = self._last_look(claim)
        if verdict.action is Action.ALLOW:
            self._send(upstream)
        else:
            self._obey(claim, verdict)

    async def _dial(self, claim: Claim, only: Target | None = None) -> Upstream:
        """A backend connection that this front connection did not have, logged on where the claim needs that; it is the one in
        use then. `only`: to this server. Raises `_NOT_VOUCHED`."""
        if claim.logon is None:
            credentials, backends = self._head.single.get(b"authorization", b""), self._services.backends
            generation = backends.generation
            upstream = await backends.connect(Seat.of(claim), lambda target: Upstream(target, claim, credentials), only)
            upstream.generation = generation
            self._front.upstream = upstream
            return upstream
        await self._log_on(claim)
        logged_on = self._at_hand(claim)
        if logged_on is None:
            raise LogonLostError
        return logged_on

    def _send(self, upstream: Upstream) -> None:
        self._services.account.begun(self)
        if self._relay.provisions:
            key = None if self.claim is None else self.claim.key
            held = None if key is None else self._services.known.enforcement(key)
            usable = held if isinstance(held, Enforcement) else None
            self._sent_key = 0 if self.claim is None else backend_policy.forwarded_key(self.claim, usable)
        self._relay.send(upstream, self._sent_key)

    def _wait_for(self, step: Coroutine[None, None, None]) -> None:
        if not self._relay.request_done:
            self._front.hold()
        limits = self._services.limits
        # The steps have time limits of their own; this one is above their sum and only catches what they would not.
        self._front.set_deadline(2 * limits.backend_connect_seconds + 3 * limits.decision_seconds + 5)
        self._task = asyncio.get_running_loop().create_task(step)

    # Ends.

    def _end(self, answer: Answer, action: str, reasons: tuple[str, ...]) -> None:
        """End an exchange that may be at the backend: with `answer`, or by a cut when a response has begun."""
        if self._done:
            return
        self._relay.drop()
        if not self._relay.begun:
            self._answer(answer, action, reasons)
            return
        self._counters.cut += 1
        self._finish(action, reasons)
        self._front.cut()

    def _answer(self, answer: Answer, action: str, reasons: tuple[str, ...]) -> None:
        """End the exchange with an answer of our own."""
        if self._done:
            return
        keep_alive = self._relay.keep_alive and not self._services.draining
        if not self._relay.request_done and self._head.expects_continue:
            keep_alive = False  # nobody knows whether the client will still send the body
        if self._relay.last_word and answer.status != 401:
            answer = replace(answer, headers=(*answer.headers, *self._relay.last_word))
        self._relay.status = answer.status
        self._relay.bytes_out += len(answer.body)
        self._front.write(answer.to_bytes(keep_alive=keep_alive))
        self._finish(action, reasons)
        self._front.finished(self, keep_alive=keep_alive, vouched=False)

    def _finish(self, action: str, reasons: tuple[str, ...]) -> None:
        self._done = True
        if self._attempt is not None:
            self._attempt.end()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        relay, account = self._relay, self._services.account
        account.ended(self)
        outcome = Outcome(
            action=action,
            reasons=reasons,
            status=relay.status,
            bytes_in=relay.bytes_in,
            bytes_out=relay.bytes_out,
            seconds=asyncio.get_running_loop().time() - self._started,
            backend=relay.backend,
            verdict=self._verdict,
        )
        account.outcome(self._id, self._front.peer, self._head, self.claim, outcome)
