"""What each verb does, once the session, its role and its privilege are known to allow it."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import msgspec

from appliance.alerts import api as alerts_api
from appliance.apply import Engine, no_step_back, stamp
from appliance.backup.keeping import Folder
from appliance.config.diff import diff, digest
from appliance.config.store import LastLogin
from appliance.configd import (
    accounts,
    api,
    clock,
    facts,
    history,
    lockout,
    passwords,
    roles,
    sending,
    stig_facts,
    stig_results,
    tools,
    wipes,
)
from appliance.configd.ages import Aging
from appliance.configd.backups import Backups
from appliance.configd.candidates import Candidates
from appliance.configd.capturing import Capturing
from appliance.configd.certificates import Certificates
from appliance.configd.errors import refused
from appliance.configd.facts import searching
from appliance.configd.following import Following
from appliance.configd.looks import Looks
from appliance.configd.metering import Meter
from appliance.configd.sessions import Held, Sessions
from appliance.configd.software import Software
from appliance.configd.support import Support
from appliance.software.spool import Spool
from sentry_runtime import control
from sentry_runtime.devices.record import Reason, State, Wipe, WipeKind
from sentry_runtime.settings import Paths

COMMENT_CHARACTERS = 200
PRINCIPAL_CHARACTERS = 320  # RFC 3696: 64 for the local part, @, 255 for the domain
NOTE_CHARACTERS = 200
POLICY_CHARACTERS = 32  # see `appliance.features.policy`; which ones there are is for the UEM to say
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
UNITS = {
    name: f"sentry-{name}.service"
    for name in ("gateway", "agent", "uem", "portal", "tls-proxy", "alerts", "acme", "offsite", "directory")
}
DEVICE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # MS-ASHTTP 2.2.1.1.1.2.3 allows 32; some agents send more
DEVICE_IDS = "a device id is 1 to 64 letters, digits, dots, dashes or underscores"

Runner = Callable[[Any, Held], Any]


class Actions:
    """The verbs of an open session, by their type. `paths` names the data plane's sockets."""

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        *,
        context: Callable[[], facts.Context],
        aging: Aging,
        backups: Folder,
        software: Spool,
        support: Support,
        capturing: Capturing,
        following: Following,
        paths: Paths | None = None,
        call: Callable[..., Any] = control.call,
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._context = context
        self._paths = paths or Paths()
        self._call = call
        self.candidates = Candidates(engine)
        self.aging = aging
        self._backups = Backups(engine, backups)
        self._looks = Looks(context)
        self.table: dict[type, Runner] = {
            api.GetConfig: self._get,
            api.ReadConfig: lambda _verb, _held: self.candidates.configuration(),
            api.SetConfig: self._set,
            api.DeleteConfig: self._delete,
            api.ReplaceConfig: self._replace,
            api.MergeConfig: lambda verb, held: self.candidates.merge(held, verb.patch),
            api.DiffConfig: lambda _verb, held: self.candidates.changes(held),
            api.Commit: self._commit,
            api.Confirm: self._confirm,
            api.Discard: self._discard,
            api.Rollback: self._rollback,
            api.CompareRevisions: self._compare,
            api.ListRevisions: lambda _verb, _held: engine.store.revisions(),
            api.ExportBackup: self._backups.export,
            api.RestoreBackup: self._restore,
            api.MakeBundle: support.make,
            api.FetchDownload: support.fetch,
            api.DropDownload: support.drop,
            api.StartCapture: capturing.start,
            api.StopCapture: capturing.stop,
            api.SendBackup: lambda verb, _held: sending.send(verb, self.candidates.running(), backups, call),
            api.Show: self._show,
            api.FollowLog: following.look,
            api.ControlService: self._control,
            api.Maintain: self._maintain,
            api.PurgeRevocation: self._purge,
            api.PersistDevices: self._persist,
            api.CheckIn: self._check_in,
            api.EnrolSentry: self._enrol,
            api.DeviceAction: self._device,
            api.ClearRedirects: self._clear_redirects,
            api.FlagDevice: self._flag,
            api.Explain: self._explain,
            api.DevicePolicy: self._device_policy,
            api.LookAtHealth: self._health,
            api.ReadMetrics: Meter(context, self._looks).read,
            api.SendTestAlert: self._test_alert,
            api.Ping: lambda verb, _held: tools.ping(verb.host, self._context().attempt),
            api.Lookup: lambda verb, _held: tools.lookup(verb.host, self._context().attempt),
            api.Trace: lambda verb, _held: tools.trace(verb.host, self._context().attempt),
            api.ClearNeighbours: lambda _verb, _held: tools.clear_neighbours(engine.machine.run),
            api.SetClock: self._set_clock,
            api.SearchDevices: lambda verb, _held: searching.search(verb, self._context()),
            api.FindDevice: self._find_device,
            api.SetPassword: self._set_password,
            api.SetOwnPassword: self._set_own_password,
            api.SetEnableSecret: self._set_enable_secret,
            **self._certificates(),
            api.ReadFact: lambda verb, held: stig_facts.read(verb, held, self.candidates.running(), call),
            api.StartScan: lambda _verb, _held: stig_results.scan_now(engine.machine.run),
            api.ReadReport: lambda verb, _held: stig_results.report(verb.form),
            **self._software(software),
            api.Power: self._power,
        }

    def _certificates(self) -> dict[type, Runner]:
        verbs = Certificates(self._engine, self.candidates)
        return {
            api.RequestCertificate: verbs.request,
            api.UploadCertificate: verbs.upload,
            api.UploadPkcs12: verbs.upload_pkcs12,
            api.RenewCertificate: verbs.renew,
        }

    def _software(self, spool: Spool) -> dict[type, Runner]:
        verbs = Software(self._engine.machine, spool, clock=self._sessions.clock, sessions=self._sessions.all)
        return {
            api.ReadSoftware: verbs.read,
            api.UploadSoftware: verbs.upload,
            api.UpdateSoftware: verbs.update,
            api.RollBackSoftware: verbs.roll_back,
        }

    # --- configuration -------------------------------------------------------------------------------------------

    def about(self, verb: Any, held: Held) -> str:
        """The key of `roles.ABOUT` whose settings a commit or a rollback would change; else empty."""
        if isinstance(verb, api.Commit) and not verb.check_only:
            changes = self.candidates.changes(held)
        elif isinstance(verb, api.Rollback) and any(
            one.number == verb.revision for one in self._engine.store.revisions()
        ):
            changes = diff(self.candidates.running(), self._engine.store.load(verb.revision).tree)
        else:
            return ""
        paths = {change.path for change in changes}
        found = (
            name
            for name, settings in roles.ABOUT.items()
            if any(path[: len(setting)] == setting for path in paths for setting in settings)
        )
        return next(found, "")

    def _get(self, verb: api.GetConfig, held: Held) -> Any:
        return self.candidates.get(held, verb.view, verb.path)

    def _set(self, verb: api.SetConfig, held: Held) -> None:
        self.candidates.set(held, verb.path, verb.value)

    def _delete(self, verb: api.DeleteConfig, held: Held) -> None:
        self.candidates.delete(held, verb.path, verb.value)

    def _replace(self, verb: api.ReplaceConfig, held: Held) -> None:
        self.candidates.replace(held, verb.tree)

    def _commit(self, verb: api.Commit, held: Held) -> api.Committed:
        if len(verb.comment) > COMMENT_CHARACTERS or not (verb.comment.isprintable()):
            raise refused("invalid", f"a comment is one line of at most {COMMENT_CHARACTERS} printable characters")
        guard = no_step_back if verb.confirm_minutes is not None else lockout.guard(held)
        order = dataclasses.replace(self.candidates.order(held, verb), guard=guard)
        if verb.check_only:
            return self._engine.check(order)
        done = self._engine.commit(order)
        return self._committed(held, done)

    def _committed(self, held: Held, done: api.Committed) -> api.Committed:
        held.candidate = None
        if done.confirm_by:
            self._sessions.tell_all(
                f"revision {done.revision} by {held.user} returns to the one before at {done.confirm_by} unless confirmed"
            )
        tree = self.candidates.running()
        known = accounts.directory(tree).credentials
        self._sessions.follow(accounts.roles(tree), accounts.credentials(tree), author=held, directory=known)
        return msgspec.structs.replace(done, digest=digest(tree))

    def _confirm(self, _verb: api.Confirm, held: Held) -> None:
        self._engine.confirm(held.user)
        self._sessions.tell_all(f"{held.user} confirmed the commit that waited")

    def _discard(self, _verb: api.Discard, held: Held) -> None:
        held.candidate = None

    def _rollback(self, verb: api.Rollback, held: Held) -> api.Committed:
        pending = self._engine.store.pending()
        # What would return by itself may be called back earlier; anything else must not lock its author out.
        guard = None if pending is not None and pending.previous == verb.revision else lockout.guard(held)
        done = self._engine.return_to(verb.revision, held.user, f"rollback to revision {verb.revision}", guard=guard)
        return self._committed(held, done)

    def _compare(self, verb: api.CompareRevisions, _held: Held) -> tuple[api.Change, ...]:
        load = self._engine.store.load
        return diff(load(verb.before).tree, load(verb.after).tree)

    def _restore(self, verb: api.RestoreBackup, held: Held) -> api.Committed:
        done = self._backups.restore(verb, held)
        return done if verb.check_only else self._committed(held, done)

    # --- state and actions ---------------------------------------------------------------------------------------

    def _show(self, verb: api.Show, _held: Held) -> api.Shown:
        return facts.show(verb.topic, verb.argument, self._context())

    def _control(self, verb: api.ControlService, _held: Held) -> api.Facts:
        unit = UNITS[verb.service]
        if verb.action != "status":
            self._engine.machine.act(unit, verb.action)
        state = self._engine.machine.unit(unit)
        return api.Facts(
            title=verb.service, facts=(("unit", unit), ("state", state.active), ("at boot", state.enabled))
        )

    def _clear_redirects(self, verb: api.ClearRedirects, _held: Held) -> int:
        if verb.device_id or verb.principal:
            _check_names(verb.device_id, verb.principal)
        request = control.ClearRedirects(device_id=verb.device_id, principal=verb.principal)
        return int(self._ask_gateway(request, int))

    def _maintain(self, verb: api.Maintain, _held: Held) -> api.Facts:
        orders: dict[str, control.Request] = {
            "quiesce": control.Quiesce(),
            "drain": control.Drain(),
            "resume": control.Resume(),
        }
        self._call(self._paths.gateway_control, orders[verb.action])
        status = self._call(self._paths.gateway_control, control.Status(), dict[str, Any])
        return api.Facts(title="gateway", facts=(("state", str(status["state"])),))

    def _purge(self, _verb: api.PurgeRevocation, held: Held) -> None:
        self._call(self._paths.agent_socket, control.PurgeRevocation(by=held.user))

    def _persist(self, _verb: api.PersistDevices, _held: Held) -> api.Facts:
        done = self._call(self._paths.agent_socket, control.Persist(), control.Persisted)
        return api.Facts(
            title="device list", facts=(("devices", str(done.devices)), ("bytes on the disk", str(done.bytes)))
        )

    def _check_in(self, _verb: api.CheckIn, _held: Held) -> api.Facts:
        mode = self.candidates.running().get("uem", {}).get("mode", "embedded")
        if mode != "cloud":
            raise refused(
                "invalid", f"not applicable: found the UEM mode {mode}; there are check-ins in mode cloud only"
            )
        done = self._call(self._paths.agent_socket, control.CheckIn(), control.CheckedIn)
        return api.Facts(
            title="check-in",
            facts=(
                ("changed by compliance", str(done.compliance)),
                ("changed by actions", str(done.actions)),
                ("told by inventory", str(done.inventory)),
            ),
        )

    def _enrol(self, verb: api.EnrolSentry, held: Held) -> api.Facts:
        if verb.token and TOKEN.fullmatch(verb.token) is None:  # what was found stays unsaid: it may be a secret
            raise refused("invalid", "a token is the 43 characters that the UEM's administrator was shown")
        request = control.Enrol(token=verb.token, by=held.user) if verb.token else control.RenewEnrolment()
        try:
            self._call(self._paths.agent_socket, request)
        except control.ControlError as error:
            if error.kind:  # the agent's or the UEM's own word
                raise refused("invalid", str(error).removeprefix(f"{error.kind}: ")) from error
            raise
        status = self._call(self._paths.agent_socket, control.Status(), dict[str, Any])
        return api.Facts(title="enrolment", facts=(("enrolment", str(status["enrolment"])),))

    def _device(self, verb: api.DeviceAction, held: Held) -> str | None:
        _check_names(verb.device_id, verb.principal)
        if len(verb.note) > NOTE_CHARACTERS or not verb.note.isprintable():
            raise refused("invalid", f"a note is one line of at most {NOTE_CHARACTERS} printable characters")
        note = verb.note or f"by {held.user}"
        match verb.action:
            case "wipe" | "wipe-account":
                return self._order_wipe(verb, note, held.user)
            case "cancel-wipe":
                return self._cancel_wipe(verb, held.user)
        self._tell_uem(_device_request(verb, note, held.user))
        return None

    def _order_wipe(self, verb: api.DeviceAction, note: str, by: str) -> str:
        kind = WipeKind.DEVICE if verb.action == "wipe" else WipeKind.ACCOUNT
        device, who = verb.device_id, verb.principal
        self._tell_uem(control.OrderWipe(device_id=device, principal=who, kind=kind, note=note, by=by))
        return wipes.ordered(kind, device)

    def _cancel_wipe(self, verb: api.DeviceAction, by: str) -> str:
        device, who = verb.device_id, verb.principal
        back = control.CancelWipe(device_id=device, principal=who, note=verb.note, by=by)
        return wipes.cancelled(self._tell_uem(back, Wipe))

    def _flag(self, verb: api.FlagDevice, held: Held) -> None:
        _check_names(verb.device_id, verb.principal)
        self._tell_uem(
            control.Flag(
                device_id=verb.device_id,
                principal=verb.principal,
                cause=Reason(verb.cause),
                holds=verb.holds,
                by=held.user,
            )
        )

    def _device_policy(self, verb: api.DevicePolicy, held: Held) -> None:
        _check_names(verb.device_id, verb.principal)
        if verb.policy is not None and (len(verb.policy) > POLICY_CHARACTERS or not verb.policy.isprintable()):
            raise refused("invalid", f"a policy's name has at most {POLICY_CHARACTERS} printable characters")
        device, who = verb.device_id, verb.principal
        self._tell_uem(control.AssignPolicy(device_id=device, principal=who, policy=verb.policy, by=held.user))

    def _tell_uem(self, request: control.Request, answer: Any = Any) -> Any:
        mode = self.candidates.running().get("uem", {}).get("mode", "embedded")
        if mode != "embedded":  # else the UEM in the box would take the word, and nobody would hear of it
            raise refused("invalid", f"found the UEM mode {mode}; allowed: embedded. Devices are managed at that UEM")
        try:
            return self._call(self._paths.uem_admin, request, answer)
        except control.ControlError as error:
            if error.kind in ("invalid", "unknown"):  # the request is at fault, not the UEM's health
                raise refused("invalid", str(error).removeprefix(f"{error.kind}: ")) from error
            raise

    def _explain(self, verb: api.Explain, _held: Held) -> control.Explanation:
        """The gateway knows what a request may say, and refuses the rest."""
        for word in (verb.device_id, verb.principal, verb.command, verb.protocol, verb.device_type, verb.source):
            if len(word) > PRINCIPAL_CHARACTERS or not word.isprintable():
                raise refused("invalid", f"a name is one line of at most {PRINCIPAL_CHARACTERS} printable characters")
        fields = {field: getattr(verb, field) for field in control.Explain.__struct_fields__}
        said: control.Explanation = self._ask_gateway(control.Explain(**fields), control.Explanation)
        return said

    def _ask_gateway(self, request: control.Request, kind: Any) -> Any:
        try:
            return self._call(self._paths.gateway_control, request, kind)
        except control.ControlError as error:
            if error.kind == "invalid":
                raise refused("invalid", str(error).removeprefix("invalid: ")) from error
            raise

    def _health(self, verb: api.LookAtHealth, _held: Held) -> api.Health:
        return self._looks.health(thorough=verb.thorough)

    def _test_alert(self, _verb: api.SendTestAlert, held: Held) -> api.Facts:
        asked = alerts_api.SendTest(by=held.user)
        seconds = alerts_api.TEST_SECONDS
        done = self._call(alerts_api.SOCKET, asked, alerts_api.Tested, seconds=seconds)
        said = (("sent", "yes" if done.sent else "NO"), ("answer", done.answer))
        return api.Facts(title="test of alerts", facts=said)

    def _set_clock(self, verb: api.SetClock, _held: Held) -> None:
        clock.set_clock(verb.time, self._context().attempt, self._engine.machine.run)

    def _find_device(self, verb: api.FindDevice, _held: Held) -> tuple[str, ...]:
        if not DEVICE_ID.fullmatch(verb.device_id):
            raise refused("invalid", DEVICE_IDS)
        known = self._tell_uem(control.ShowRegistered(device_id=verb.device_id), list[control.Registered])
        if not known:
            raise refused("invalid", f"found no device {verb.device_id}; allowed: one that the UEM knows")
        return tuple(one.key.principal for one in known)

    def _set_password(self, verb: api.SetPassword, held: Held) -> None:
        path = accounts.password_path(verb.user)
        if verb.user not in accounts.roles(self.candidates.of(held).tree):
            known = ", ".join(sorted(accounts.roles(self.candidates.of(held).tree))) or "none yet"
            raise refused("invalid", f"found no account {verb.user!r}; allowed: {known}")
        self.candidates.set(held, path, self._hash(verb.password, verb.user, path, own=verb.user == held.user))

    def _set_own_password(self, verb: api.SetOwnPassword, held: Held) -> api.Committed:
        if held.directory:
            raise refused("permission", "your password is the directory's; change it there")
        if held.user not in accounts.roles(self.candidates.running()):
            raise refused("permission", f"{held.user} is no account of the configuration, and has no password in it")
        if self.candidates.changes(held):
            raise refused("conflict", "there are changes that are not committed; commit or discard them first")
        path = accounts.password_path(held.user)
        # Who must set a new one need not wait. A rollback brings an old one back, which is young by the revisions alone.
        new = self._hash(verb.password, held.user, path, own=not held.password_ended)
        try:
            self.candidates.set(held, path, new)
            order = self.candidates.order(held, api.Commit(session=held.handle, comment="own password"))
            done = self._engine.commit(dataclasses.replace(order, guard=lockout.guard(held)))
        finally:
            held.candidate = None
        self._committed(held, done)
        return done

    def _set_enable_secret(self, verb: api.SetEnableSecret, held: Held) -> None:
        self.candidates.set(held, accounts.ENABLE_PATH, self._hash(verb.secret, "", accounts.ENABLE_PATH))

    def _hash(self, password: str, user: str, path: api.Path, *, own: bool = False) -> str:
        """The hash of a password that the policy allows. `own`: whoever sets it is who has it, and may not do so too often;
        another administrator who sets it anew after it was lost or seen need not wait."""
        rules = accounts.password_rules(self.candidates.running())
        had = history.references(self._engine.store.kept(), path)
        try:
            passwords.judge(password, user, self._engine.machine.run, most=rules.max_length)
            if own:
                history.refuse_soon(had, rules, self._context().now)
            history.refuse_old(password, had, rules, self._engine.vault.reveal)
            return passwords.hashed(password)
        except passwords.PasswordError as error:
            raise refused("invalid", str(error)) from error

    def _power(self, verb: api.Power, _held: Held) -> None:
        self._engine.machine.run(["systemctl", "--no-block", "reboot" if verb.action == "reload" else "poweroff"])

    # --- log-ins -------------------------------------------------------------------------------------------------

    def note_login(self, held: Held, now: float) -> None:
        """Remember a log-in and tell the session of the one before."""
        last = self._engine.store.set_last_login(held.user, LastLogin(when=stamp(now), source=held.source))
        held.last_login = f"{last.when} from {last.source or 'here'}" if last else ""


def _check_names(device_id: str, principal: str) -> None:
    """Raise an `invalid` refusal unless both may be names."""
    if not DEVICE_ID.fullmatch(device_id):
        raise refused("invalid", DEVICE_IDS)
    # Which name a person has is for the UEM to say: it knows the form under which the gateway looks devices up.
    if not 0 < len(principal) <= PRINCIPAL_CHARACTERS or not principal.isprintable():
        raise refused(
            "invalid",
            rf"a principal is user, user@domain or DOMAIN\user, at most {PRINCIPAL_CHARACTERS} characters; "
            f"found {principal[:64]!r}",
        )


def _device_request(verb: api.DeviceAction, note: str, by: str) -> control.Request:
    device, who = verb.device_id, verb.principal
    if verb.action == "register":
        return control.Register(device_id=device, principal=who, note=note, by=by)
    if verb.action == "remove":
        return control.Remove(device_id=device, principal=who, by=by)
    if verb.action == "allow":
        return control.SetState(device_id=device, principal=who, state=State.ALLOWED, reasons=(), note=note, by=by)
    return control.SetState(device_id=device, principal=who, state=State.BLOCKED, note=note, by=by)
