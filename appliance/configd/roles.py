"""Who may do what: every verb with the roles that may use it, and whether `enable` must have been given."""

from dataclasses import dataclass
from typing import Final

from appliance.configd import api, scopes
from appliance.configd.sessions import Manner

TOO_OLD: Final = "your password is older than it may be: set a new one first (at the command line with `password`)"
FRESH_SECONDS: Final = 300  # who left a privileged terminal alone gives away looks, not the machine
ADMINISTRATOR: Final[api.Role] = "administrator"
OPERATOR: Final[api.Role] = "operator"
AUDITOR: Final[api.Role] = "auditor"
EVERYBODY: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR, AUDITOR})
OPERATORS: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR})
ADMINISTRATORS: Final = frozenset[api.Role]({ADMINISTRATOR})
AUDITORS: Final = frozenset[api.Role]({ADMINISTRATOR, AUDITOR})


@dataclass(frozen=True, slots=True)
class Rule:
    """The roles a verb is open to. `privileged`: only after `enable` (an automation session has it from the start).
    `portal`: also for the portal, which has no `enable`, and gets nothing else. `fresh`: the enable secret, or at the portal the
    person's password, was given a moment ago. `risky`: the same, at the portal alone. `alerts`: for the alert service alone,
    which asks for nothing else. `portal_only`: for the portal alone. `proves`: at the portal the verb itself brings the enable
    secret, or the person's password was given a moment ago, and the verb looks at it."""

    roles: frozenset[api.Role]
    privileged: bool = False
    portal: bool = False
    fresh: bool = False
    risky: bool = False
    alerts: bool = False
    portal_only: bool = False
    proves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a session may lean on: its account's role, how it came in, whether and how long ago `enable` was given; at the portal,
    how long ago the password was given again (None: it was not); of a token, its scopes. `password_ended`: the account's password
    is older than it may be."""

    role: api.Role
    manner: Manner = "cli"
    privileged: bool = False
    privileged_seconds: float = 0.0
    reauthenticated_seconds: float | None = None
    scopes: frozenset[api.Scope] = frozenset()
    password_ended: bool = False


RULES: Final[dict[type, Rule]] = {
    api.Enable: Rule(EVERYBODY),
    api.Disable: Rule(EVERYBODY),
    api.Reauthenticate: Rule(EVERYBODY, portal=True, portal_only=True),
    api.ReauthenticateCertificate: Rule(EVERYBODY, portal=True, portal_only=True),
    api.Touch: Rule(EVERYBODY, portal=True),
    api.CloseSession: Rule(EVERYBODY, portal=True),
    api.GetConfig: Rule(EVERYBODY, privileged=True, portal=True),
    api.ReadConfig: Rule(EVERYBODY, privileged=True),
    api.SetConfig: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.DeleteConfig: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.ReplaceConfig: Rule(ADMINISTRATORS, privileged=True),
    api.MergeConfig: Rule(ADMINISTRATORS, privileged=True),
    api.DiffConfig: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.Commit: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.Confirm: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.Discard: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.Rollback: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.CompareRevisions: Rule(EVERYBODY, privileged=True, portal=True),
    api.ListRevisions: Rule(EVERYBODY, privileged=True, portal=True),
    api.ExportBackup: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.RestoreBackup: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.MakeBundle: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.FetchDownload: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.DropDownload: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.StartCapture: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.StopCapture: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.SendBackup: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.Show: Rule(EVERYBODY, portal=True),
    api.FollowLog: Rule(EVERYBODY, portal=True, portal_only=True),
    api.ControlService: Rule(OPERATORS, privileged=True, portal=True),
    api.Maintain: Rule(OPERATORS, privileged=True, portal=True),
    api.PurgeRevocation: Rule(OPERATORS, privileged=True, portal=True),
    api.PersistDevices: Rule(OPERATORS, privileged=True, portal=True),
    api.CheckIn: Rule(OPERATORS, privileged=True, portal=True),
    api.EnrolSentry: Rule(ADMINISTRATORS, privileged=True, portal=True, risky=True),
    api.DeviceAction: Rule(OPERATORS, privileged=True, portal=True),
    api.ClearRedirects: Rule(OPERATORS, privileged=True, portal=True),
    api.FlagDevice: Rule(OPERATORS, privileged=True, portal=True),
    api.Explain: Rule(EVERYBODY, portal=True),
    api.DevicePolicy: Rule(OPERATORS, privileged=True, portal=True),
    api.LookAtHealth: Rule(EVERYBODY, alerts=True),
    api.ReadMetrics: Rule(EVERYBODY, privileged=True),
    api.SendTestAlert: Rule(OPERATORS, privileged=True, portal=True),
    api.Ping: Rule(OPERATORS, portal=True),
    api.Lookup: Rule(OPERATORS, portal=True),
    api.Trace: Rule(OPERATORS, portal=True),
    api.ClearNeighbours: Rule(OPERATORS, privileged=True, portal=True),
    api.SetClock: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.SearchDevices: Rule(EVERYBODY, portal=True),
    api.FindDevice: Rule(OPERATORS, privileged=True, portal=True),
    api.SetPassword: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.SetOwnPassword: Rule(EVERYBODY, portal=True, risky=True),  # at the command line it brings the password itself
    api.SetEnableSecret: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.CreateToken: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True, proves=True),
    api.ListTokens: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.RevokeToken: Rule(ADMINISTRATORS, privileged=True, portal=True, risky=True),
    api.RequestCertificate: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.UploadCertificate: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.UploadPkcs12: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.RenewCertificate: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.ReadFact: Rule(AUDITORS),  # with nothing but a key: an auditor has no enable secret
    api.StartScan: Rule(AUDITORS, portal=True),
    api.ReadReport: Rule(AUDITORS, portal=True),
    api.ReadSoftware: Rule(EVERYBODY, portal=True),
    api.UploadSoftware: Rule(ADMINISTRATORS, privileged=True, portal=True),
    api.UpdateSoftware: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.RollBackSoftware: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
    api.Power: Rule(ADMINISTRATORS, privileged=True, fresh=True, portal=True),
}
"""Every verb but those that need no session (`gate.SESSIONLESS`); a test holds it against `api.Verb`."""

PRIVILEGED_TOPICS: Final = frozenset(
    {"log", "processes", "sessions", "firewall", "users", "revisions", "alerts", "acl", "portal-acl", "tech"}
    | {"config-properties", "downloads", "capture"}
)
"""`show` topics that tell who is here and what is let through: only after `enable`. Which servers elsewhere there are and whether
they answer (`uem`, `backends`, `directory` …) is neither. At the portal, where everybody has given a password, the role is
enough."""


SCANNED: Final = frozenset[type]({api.Show, api.ReadFact, api.Touch, api.CloseSession})
"""What the scanner's sessions may do."""

ENDED: Final = frozenset[type](
    {api.SetOwnPassword, api.Reauthenticate, api.ReauthenticateCertificate, api.Touch, api.CloseSession}
)
"""What a session may do whose account's password is older than it may be."""

SENSITIVE: Final = "who gets in"
"""What a commit or a rollback is about when it changes one of these settings: then it is as risky as `SetPassword`."""
SENSITIVE_SETTINGS: Final[tuple[api.Path, ...]] = (
    ("users",),
    ("cli", "enable_secret_hash"),
    ("certificates",),
    ("portal", "certificate_login"),
    ("directory",),
)
WAYS: Final = "from where one gets in"
"""What a commit or a rollback is about when it changes one of these and none of those above: risky from the portal."""
WAYS_SETTINGS: Final[tuple[api.Path, ...]] = (
    ("firewall", "management_networks"),
    ("portal", "networks"),
    ("snmp", "users"),
    ("ssh", "password_authentication"),
)
AWAY: Final = "where devices' log-ins go, and who decides on them"
"""The same of these: whoever holds the portal must not have devices' passwords sent elsewhere."""
AWAY_SETTINGS: Final[tuple[api.Path, ...]] = (("backends",), ("uem",))
COPIES: Final = "where backups go, and what they are sealed with"
"""The same of these, and as risky as `ExportBackup`: whoever has a backup and its passphrase has every key of the appliance."""
COPIES_SETTINGS: Final[tuple[api.Path, ...]] = (("backup", "passphrase"), ("backup", "sftp"), ("backup", "s3"))
ABOUT: Final = {
    SENSITIVE: SENSITIVE_SETTINGS,
    COPIES: COPIES_SETTINGS,
    WAYS: WAYS_SETTINGS,
    AWAY: AWAY_SETTINGS,
}
"""The settings of each, the riskiest first."""
WHOLE: Final = "whole packets"
"""What a `StartCapture` is about when it takes more than headers: then it is what people say to each other."""
FRESH: Final = frozenset(
    {
        *((verb, about) for verb in (api.Commit, api.Rollback) for about in (SENSITIVE, COPIES)),
        (api.StartCapture, WHOLE),
    }
)
ENDS: Final = frozenset({(api.ControlService, "stop"), (api.Maintain, "drain")})
"""What takes the service from devices until somebody gives it back."""
RISKY: Final = (
    FRESH
    | ENDS
    | {
        (api.Commit, WAYS),
        (api.Rollback, WAYS),
        (api.Commit, AWAY),
        (api.Rollback, AWAY),
        (api.DeviceAction, "wipe"),
        (api.DeviceAction, "wipe-account"),
    }
)
"""What the portal may do only with a password that was given again: besides the rules' own, what cannot be taken back or ends
the service."""
EDITS: Final = frozenset[type](
    {
        api.SetConfig,
        api.DeleteConfig,
        api.ReplaceConfig,
        api.MergeConfig,
        api.Commit,
        api.Discard,
        api.Rollback,
        api.RestoreBackup,
        api.SetPassword,
        api.SetOwnPassword,
        api.SetEnableSecret,
        api.UploadCertificate,
        api.UploadPkcs12,
    }
)
"""Verbs of which a session has one at a time. The portal's sessions have many connections: a commit that was judged by a harmless
candidate must not find another one when it is made."""
STOPPERS: Final = ADMINISTRATORS
"""Who may stop a service for good, or drain the gateway; operators start, restart, quiesce and resume."""

STOPS_THE_MACHINE: Final[frozenset[type]] = frozenset(
    (api.Power, api.SetClock, api.UpdateSoftware, api.RollBackSoftware)
)


def _explicit(verb: type, about: str, *, fresh: bool) -> api.Scope | None:
    """The scope that a token must have been given by name for this, beside the verb's own."""
    if verb in STOPS_THE_MACHINE or (verb, about) in ENDS:
        return "power"
    return "accounts" if fresh or verb is api.RevokeToken else None


def refusal(verb: type, standing: Standing, *, about: str = "") -> api.Refusal | None:
    """Why a session may not use `verb`; None when it may. `about` is the topic of a `Show`, the action of a
    `ControlService`, `Maintain` or `DeviceAction`, a key of `ABOUT` for a `Commit` or `Rollback` of such settings. A verb that is
    not in the table is refused."""
    rule = RULES.get(verb)
    roles = rule.roles if rule else frozenset[api.Role]()
    if (verb, about) in ENDS:
        roles = STOPPERS
    if rule is None or standing.role not in roles:
        allowed = ", ".join(sorted(roles)) or "nobody"
        return api.Refusal(kind="permission", message=f"the role {standing.role} may not do this; allowed: {allowed}")
    if standing.password_ended and verb not in ENDED:
        return api.Refusal(kind="permission", message=TOO_OLD)
    if rule.alerts != (standing.manner == "alerts"):
        return api.Refusal(kind="permission", message="this is the alert service's, which may do nothing else")
    by_manner = {"rest": _rest, "portal": _portal, "scanner": _scanner}
    return by_manner.get(standing.manner, _privilege)(verb, rule, standing, about)


def _privilege(verb: type, rule: Rule, standing: Standing, about: str) -> api.Refusal | None:
    if rule.portal_only:
        return api.Refusal(kind="permission", message="this is for sessions of the portal; give `enable` instead")
    if (rule.privileged or (verb is api.Show and about in PRIVILEGED_TOPICS)) and not standing.privileged:
        return api.Refusal(kind="privilege", message="this needs privilege; give `enable` first")
    fresh = rule.fresh or (verb, about) in FRESH
    if fresh and standing.manner == "cli" and standing.privileged_seconds > FRESH_SECONDS:
        said = f"this needs the enable secret again, which was given more than {FRESH_SECONDS // 60} minutes ago"
        return api.Refusal(kind="privilege", message=f"{said}; give `disable` and `enable` first, the candidate stays")
    return None


def _scanner(verb: type, _rule: Rule, _standing: Standing, about: str) -> api.Refusal | None:
    """The appliance's own scan looks at what an auditor looks at without `enable`, and does nothing."""
    if verb in SCANNED and about not in PRIVILEGED_TOPICS:
        return None
    return api.Refusal(kind="permission", message="this is the scanner's, which looks and may do nothing else")


def _rest(verb: type, rule: Rule, standing: Standing, about: str) -> api.Refusal | None:
    explicit = _explicit(verb, about, fresh=rule.fresh or (verb, about) in FRESH)
    enabled = standing.privileged_seconds <= FRESH_SECONDS
    return scopes.refusal(verb, standing.scopes, explicit=explicit, enabled=enabled)


def _portal(verb: type, rule: Rule, standing: Standing, about: str) -> api.Refusal | None:
    if not rule.portal:
        return api.Refusal(kind="permission", message="the portal does not do this; use the command line")
    if rule.proves:
        return None
    asks = rule.fresh or rule.risky or (verb, about) in RISKY
    if asks and not fresh_seconds(standing.reauthenticated_seconds):
        said = f"this needs your password, given again within the last {FRESH_SECONDS // 60} minutes"
        return api.Refusal(kind="privilege", message=said)
    return None


def fresh_seconds(since: float | None) -> int:
    """For how many seconds more a password that was given `since` seconds ago (None: never) is enough for what is risky."""
    return 0 if since is None else max(0, int(FRESH_SECONDS - since))
