"""What to do with a request: one pure function of all that is known when it comes. The way of a request, the running
exchanges when something changes, and `explain` ask this function, and nothing else.

The first row that applies decides:

| what is known | verdict |
|---|---|
| the request names no device (a bare OPTIONS) | allow |
| the device asks too much, or the same again and again | throttle |
| a rule of the site's denies it | block (`local_rule`) |
| its entry cannot be read now | wait |
| there is no entry of exactly this device and principal | ask |
| the UEM wants it wiped | wipe |
| its wipe was acknowledged, but nobody vouched for who said so | wipe (`wiped`) |
| it has been wiped | block (`wiped`) |
| the UEM allows it | allow, or provision where it lacks our policy |
| an administrator has blocked it by hand | block |
| a rule of the site's allows it, and all its reasons are posture or registration | as if the UEM allowed it |
| the site only observes, and all its reasons are posture or registration | as if the UEM allowed it |
| everything else, also a state that is yet to be invented | block |
"""

import enum
from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe


class Action(enum.StrEnum):
    """What the gateway does."""

    ALLOW = "allow"
    BLOCK = "block"
    ASK = "ask"
    WAIT = "wait"
    PROVISION = "provision"
    WIPE = "wipe"
    THROTTLE = "throttle"


class Unreadable(enum.Enum):
    """Why nothing is known of an entry, not even whether it is there."""

    LIST = "list"
    ENTRY = "entry"


class Need(enum.StrEnum):
    """Why a device is to provision, where the gateway has a policy of its own."""

    POLICY_KEY_MISSING = "policy_key_missing"
    POLICY_KEY_WRONG = "policy_key_wrong"
    PROVISION_ASKED = "provision_asked"


class Excess(enum.StrEnum):
    """Why a device is throttled."""

    TOO_MANY_REQUESTS = "too_many_requests"
    SYNC_LOOP = "sync_loop"


class Rule(enum.StrEnum):
    """What the site's own rules say of a request."""

    ALLOW = "allow"
    DENY = "deny"


SOFT = frozenset(Reason) - {Reason.MANUAL, Reason.UEM_UNREACHABLE, Reason.LOCAL_RULE, Reason.WIPED}
"""The reasons that are only of posture or registration; nothing softens the others."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one request is judged by. `key` is the device it names, `record` what the device list has under that key.

    `need` is what the device lacks of our policy. `observe`: blocks for posture and registration are written down only.
    """

    key: DeviceKey | None
    record: Record | Unreadable | None
    need: Need | None = None
    rule: Rule | None = None
    excess: Excess | None = None
    observe: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and the reasons for it: BLOCK has those of the entry or the rule, PROVISION its one `Need`, THROTTLE its
    `Excess`, the others none. `softened` are the reasons that would have blocked a device that may pass all the same.
    WIPE has the order, and the reason `wiped` where a stranger may have acknowledged it."""

    action: Action
    reasons: tuple[Reason | Need | Excess, ...] = ()
    softened: tuple[Reason, ...] = ()
    wipe: Wipe | None = None


ALLOW = Verdict(Action.ALLOW)
ASK = Verdict(Action.ASK)
WAIT = Verdict(Action.WAIT)
WIPE = Verdict(Action.WIPE)


def decide(case: Case) -> Verdict:
    """Judge one request; see the module's table.

    Only an entry of exactly this key counts: one found under another name is as good as none. Where the list cannot be read
    the agent is asked, who has it, too; with an entry that cannot be read the agent fares no better, and the device comes
    back later. A policy is handed to nobody but a device that may pass.
    """
    if case.key is None:
        return ALLOW
    if case.excess is not None:
        return Verdict(Action.THROTTLE, (case.excess,))
    if case.rule is Rule.DENY:
        return Verdict(Action.BLOCK, (Reason.LOCAL_RULE,))
    if case.record is Unreadable.ENTRY:
        return WAIT
    if not isinstance(case.record, Record) or case.record.key != case.key:
        return ASK
    return _by_entry(case, case.record)


def _by_entry(case: Case, record: Record) -> Verdict:
    match record.state:
        case State.WIPE_PENDING:
            return Verdict(Action.WIPE, wipe=record.wipe)
        case State.WIPED if record.wipe is not None and not record.wipe.verified:
            return Verdict(Action.WIPE, (Reason.WIPED,), wipe=record.wipe)
        case State.WIPED:
            return Verdict(Action.BLOCK, (Reason.WIPED,))
        case State.ALLOWED:
            return _pass(case, ())
        case State.BLOCKED if record.reasons and SOFT.issuperset(record.reasons):
            if case.observe or case.rule is Rule.ALLOW:
                return _pass(case, record.reasons)
    return Verdict(Action.BLOCK, record.reasons)


def _pass(case: Case, softened: tuple[Reason, ...]) -> Verdict:
    if case.need is not None:
        return Verdict(Action.PROVISION, (case.need,), softened)
    return Verdict(Action.ALLOW, (), softened) if softened else ALLOW
