"""Who may do what: every verb with the roles that may use it, and whether `enable` must have been given."""

from dataclasses import dataclass
from typing import Final

from appliance.configd import api
from appliance.configd.sessions import Manner

FRESH_SECONDS: Final = 300  # who left a privileged terminal alone gives away looks, not the machine
ADMINISTRATOR: Final[api.Role] = "administrator"
OPERATOR: Final[api.Role] = "operator"
AUDITOR: Final[api.Role] = "auditor"
EVERYBODY: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR, AUDITOR})
OPERATORS: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR})
ADMINISTRATORS: Final = frozenset[api.Role]({ADMINISTRATOR})


@dataclass(frozen=True, slots=True)
class Rule:
    """The roles a verb is open to. `privileged`: only after `enable` (an automation session has it from the start).
    `portal`: also for the portal, which asks for nothing else. `fresh`: the enable secret was given a moment ago.
    `alerts`: for the alert service alone, which asks for nothing else."""

    roles: frozenset[api.Role]
    privileged: bool = False
    portal: bool = False
    fresh: bool = False
    alerts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a session may lean on: its account's role, how it came in, and whether and how long ago `enable` was given."""

    role: api.Role
    manner: Manner = "cli"
    privileged: bool = False
    privileged_seconds: float = 0.0


RULES: Final[dict[type, Rule]] = {
    api.Enable: Rule(EVERYBODY),
    api.Disable: Rule(EVERYBODY),
    api.Touch: Rule(EVERYBODY, portal=True),
    api.CloseSession: Rule(EVERYBODY, portal=True),
    api.GetConfig: Rule(EVERYBODY, privileged=True),
    api.SetConfig: Rule(ADMINISTRATORS, privileged=True),
    api.DeleteConfig: Rule(ADMINISTRATORS, privileged=True),
    api.ReplaceConfig: Rule(ADMINISTRATORS, privileged=True),
    api.DiffConfig: Rule(ADMINISTRATORS, privileged=True),
    api.Commit: Rule(ADMINISTRATORS, privileged=True),
    api.Confirm: Rule(ADMINISTRATORS, privileged=True),
    api.Discard: Rule(ADMINISTRATORS, privileged=True),
    api.Rollback: Rule(ADMINISTRATORS, privileged=True),
    api.ListRevisions: Rule(EVERYBODY, privileged=True),
    api.Show: Rule(EVERYBODY, portal=True),
    api.ControlService: Rule(OPERATORS, privileged=True),
    api.Maintain: Rule(OPERATORS, privileged=True),
    api.PurgeRevocation: Rule(OPERATORS, privileged=True),
    api.PersistDevices: Rule(OPERATORS, privileged=True),
    api.CheckIn: Rule(OPERATORS, privileged=True),
    api.EnrolSentry: Rule(ADMINISTRATORS, privileged=True),
    api.DeviceAction: Rule(OPERATORS, privileged=True),
    api.ClearRedirects: Rule(OPERATORS, privileged=True),
    api.FlagDevice: Rule(OPERATORS, privileged=True),
    api.Explain: Rule(EVERYBODY),
    api.DevicePolicy: Rule(OPERATORS, privileged=True),
    api.LookAtHealth: Rule(EVERYBODY, alerts=True),
    api.SendTestAlert: Rule(OPERATORS, privileged=True),
    api.Ping: Rule(OPERATORS),
    api.Lookup: Rule(OPERATORS),
    api.Trace: Rule(OPERATORS),
    api.ClearNeighbours: Rule(OPERATORS, privileged=True),
    api.SetClock: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.FindDevice: Rule(OPERATORS, privileged=True),
    api.SetPassword: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.SetEnableSecret: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.RequestCertificate: Rule(ADMINISTRATORS, privileged=True),
    api.UploadCertificate: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.UploadPkcs12: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.RenewCertificate: Rule(ADMINISTRATORS, privileged=True, fresh=True),
    api.Power: Rule(ADMINISTRATORS, privileged=True, fresh=True),
}
"""Every verb but the two that open a session; a test holds it against `api.Verb`."""

PRIVILEGED_TOPICS: Final = frozenset(
    {"log", "processes", "sessions", "firewall", "users", "revisions", "alerts", "acl", "portal-acl", "tech"}
    | {"config-properties"}
)
"""`show` topics that tell who is here and what is let through: only after `enable`."""


SENSITIVE: Final = "who gets in"
"""What a commit or a rollback is about when it changes one of these settings: then it is as risky as `SetPassword`."""
SENSITIVE_SETTINGS: Final[tuple[api.Path, ...]] = (("users",), ("cli", "enable_secret_hash"), ("certificates",))
FRESH: Final = frozenset({(api.Commit, SENSITIVE), (api.Rollback, SENSITIVE)})
STOPPERS: Final = ADMINISTRATORS
"""Who may stop a service for good, or drain the gateway; operators start, restart, quiesce and resume."""
ENDS: Final = frozenset({(api.ControlService, "stop"), (api.Maintain, "drain")})
"""What takes the service from devices until somebody gives it back."""


def refusal(verb: type, standing: Standing, *, about: str = "") -> api.Refusal | None:
    """Why a session may not use `verb`; None when it may. `about` is the topic of a `Show`, the action of a
    `ControlService` or `Maintain`, `SENSITIVE` for a `Commit` or `Rollback` of such settings. A verb that is not in the table
    is refused."""
    rule = RULES.get(verb)
    roles = rule.roles if rule else frozenset[api.Role]()
    if (verb, about) in ENDS:
        roles = STOPPERS
    if rule is None or standing.role not in roles:
        allowed = ", ".join(sorted(roles)) or "nobody"
        return api.Refusal(kind="permission", message=f"the role {standing.role} may not do this; allowed: {allowed}")
    if rule.alerts != (standing.manner == "alerts"):
        return api.Refusal(kind="permission", message="this is the alert service's, which may do nothing else")
    if standing.manner == "portal" and not rule.portal:
        return api.Refusal(kind="permission", message="the portal shows and changes nothing; use the command line")
    if (rule.privileged or (verb is api.Show and about in PRIVILEGED_TOPICS)) and not standing.privileged:
        return api.Refusal(kind="privilege", message="this needs privilege; give `enable` first")
    fresh = rule.fresh or (verb, about) in FRESH
    if fresh and standing.manner == "cli" and standing.privileged_seconds > FRESH_SECONDS:
        said = f"this needs the enable secret again, which was given more than {FRESH_SECONDS // 60} minutes ago"
        return api.Refusal(kind="privilege", message=f"{said}; give `disable` and `enable` first, the candidate stays")
    return None
