"""Who may do what: every verb with the roles that may use it, and whether `enable` must have been given."""

from dataclasses import dataclass
from typing import Final

from appliance.configd import api

ADMINISTRATOR: Final[api.Role] = "administrator"
OPERATOR: Final[api.Role] = "operator"
AUDITOR: Final[api.Role] = "auditor"
EVERYBODY: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR, AUDITOR})
OPERATORS: Final = frozenset[api.Role]({ADMINISTRATOR, OPERATOR})
ADMINISTRATORS: Final = frozenset[api.Role]({ADMINISTRATOR})


@dataclass(frozen=True, slots=True)
class Rule:
    """The roles a verb is open to. `privileged`: only after `enable` (a portal or automation session has it from the start)."""

    roles: frozenset[api.Role]
    privileged: bool = False


RULES: Final[dict[type, Rule]] = {
    api.Enable: Rule(EVERYBODY),
    api.Disable: Rule(EVERYBODY),
    api.Touch: Rule(EVERYBODY),
    api.CloseSession: Rule(EVERYBODY),
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
    api.Show: Rule(EVERYBODY),
    api.ControlService: Rule(OPERATORS, privileged=True),
    api.DeviceAction: Rule(OPERATORS, privileged=True),
    api.Ping: Rule(OPERATORS),
    api.Lookup: Rule(OPERATORS),
    api.SetPassword: Rule(ADMINISTRATORS, privileged=True),
    api.SetEnableSecret: Rule(ADMINISTRATORS, privileged=True),
    api.Power: Rule(ADMINISTRATORS, privileged=True),
}
"""Every verb but the two that open a session; a test holds it against `api.Verb`."""

PRIVILEGED_TOPICS: Final = frozenset({"log", "processes", "sessions", "firewall", "users"})
"""`show` topics that tell who is here and what is let through: only after `enable`."""


def refusal(verb: type, role: api.Role, *, privileged: bool, topic: str = "") -> api.Refusal | None:
    """Why a session with `role` may not use `verb`; None when it may. A verb that is not in the table is refused."""
    rule = RULES.get(verb)
    if rule is None or role not in rule.roles:
        allowed = ", ".join(sorted(rule.roles)) if rule else "nobody"
        return api.Refusal(kind="permission", message=f"the role {role} may not do this; allowed: {allowed}")
    if (rule.privileged or topic in PRIVILEGED_TOPICS) and not privileged:
        return api.Refusal(kind="privilege", message="this needs privilege; give `enable` first")
    return None
