"""What to do with a request: one pure function of all that is known when it comes. The way of a request, the running
exchanges when something changes, and `explain` ask this table, and nothing else.

The first row that applies decides:

| row | what is known | verdict |
|---|---|---|
| `no_device` | the request names no device (a bare OPTIONS) | allow |
| `wipe_too_old` | one of the next two, and the request's version has no such wipe as is ordered | wipe (a block is all it gets) |
| `wipe_pending` | the UEM wants it wiped | wipe |
| `wipe_unverified` | its wipe was acknowledged, but nobody vouched for who said so | wipe (`wiped`) |
| `wiped` | it has been wiped | block (`wiped`) |
| `excess` | the device asks too much, or the same again and again | throttle |
| `denied_by_rule` | a rule of the site's denies it | block (`local_rule`) |
| `unreadable` | its entry cannot be read now | wait |
| `unknown` | there is no entry of exactly this device and principal | ask |
| `allowed` | the UEM allows it | allow, or provision where it lacks our policy, or wait where nobody can say whether it does |
| `blocked_by_hand` | an administrator has blocked it by hand | block |
| `allowed_by_rule` | a rule of the site's allows it, and all its reasons are posture or registration | as if the UEM allowed it |
| `observed` | the site only observes, and all its reasons are posture or registration | as if the UEM allowed it |
| `blocked` | everything else, also a state that is yet to be invented | block |

`TABLE` is this table: `decide` goes down it, and `explain` goes down it and writes down what it saw, so the two cannot differ.

A wipe stands above everything: a device that is lost must get the order whatever else is wrong with it, and it lets nobody
pass.
"""

import enum
from collections.abc import Callable
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
    """Why a device is to provision, where the gateway has a policy for it."""

    POLICY_KEY_MISSING = "policy_key_missing"
    POLICY_CHANGED = "policy_changed"
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


class Row(enum.StrEnum):
    """The rows of the table, by the word that the audit trail and `explain` have for them."""

    NO_DEVICE = "no_device"
    WIPE_TOO_OLD = "wipe_too_old"
    WIPE_PENDING = "wipe_pending"
    WIPE_UNVERIFIED = "wipe_unverified"
    WIPED = "wiped"
    EXCESS = "excess"
    DENIED_BY_RULE = "denied_by_rule"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"
    ALLOWED = "allowed"
    BLOCKED_BY_HAND = "blocked_by_hand"
    ALLOWED_BY_RULE = "allowed_by_rule"
    OBSERVED = "observed"
    BLOCKED = "blocked"


SOFT = frozenset(Reason) - {Reason.MANUAL, Reason.UEM_UNREACHABLE, Reason.LOCAL_RULE, Reason.WIPED}
"""The reasons that are only of posture or registration; nothing softens the others."""


class Case:
    """What one request is judged by. `key` is the device it names, `record` what the device list has under that key.

    `need` is what the device lacks of our policy; unreadable where that cannot be said now. `rule` is what the site's rules say,
    `rule_name` which of them says it.
    `observe`: blocks for posture and registration are written down only. `too_old`: the request's version has no such wipe as
    is ordered.

    One is made for each request: a plain class, which is cheap where it is compiled.
    """

    def __init__(
        self,
        key: DeviceKey | None,
        record: Record | Unreadable | None,
        need: Need | Unreadable | None = None,
        rule: Rule | None = None,
        excess: Excess | None = None,
        *,
        observe: bool = False,
        rule_name: str = "",
        too_old: bool = False,
    ) -> None:
        self.key = key
        self.record = record
        self.need = need
        self.rule = rule
        self.excess = excess
        self.observe = observe
        self.rule_name = rule_name
        self.too_old = too_old


class Verdict:
    """An action and the reasons for it: BLOCK has those of the entry or the rule, PROVISION its one `Need`, THROTTLE its
    `Excess`, the others none. `softened` are the reasons that would have blocked a device that may pass all the same.
    WIPE has the order, and the reason `wiped` where a stranger may have acknowledged it.

    `row` of the table decided, by the site's rule called `rule` where it was one; both say how, not what, and make no
    difference between two verdicts. Not to be changed; a plain class, as `Case`.
    """

    def __init__(
        self,
        action: Action,
        reasons: tuple[Reason | Need | Excess, ...] = (),
        softened: tuple[Reason, ...] = (),
        wipe: Wipe | None = None,
        row: Row | None = None,
        rule: str = "",
    ) -> None:
        self.action = action
        self.reasons = reasons
        self.softened = softened
        self.wipe = wipe
        self.row = row
        self.rule = rule

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Verdict):
            return NotImplemented
        return (
            self.action is other.action
            and self.reasons == other.reasons
            and self.softened == other.softened
            and self.wipe == other.wipe
        )

    def __hash__(self) -> int:
        return hash((self.action, self.reasons, self.softened, self.wipe))

    def __repr__(self) -> str:
        return (
            f"Verdict({self.action!r}, {self.reasons!r}, {self.softened!r}, {self.wipe!r}, {self.row!r}, {self.rule!r})"
        )

    def told_like(self, other: "Verdict") -> bool:
        """Whether both say the same, and how."""
        return self is other or (self.row is other.row and self.rule == other.rule and self == other)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table: its word, what it asks, what it saw of a case, and its verdict where it applies."""

    row: Row
    asks: str
    saw: Callable[[Case], str]
    judge: Callable[[Case], Verdict | None]


@dataclass(frozen=True, slots=True)
class Step:
    """A row that was looked at: what it asked and saw, and its verdict where it applied."""

    row: Row
    asks: str
    saw: str
    verdict: Verdict | None


ALLOW = Verdict(Action.ALLOW)
ASK = Verdict(Action.ASK, row=Row.UNKNOWN)
WAIT = Verdict(Action.WAIT, row=Row.UNREADABLE)
WIPE = Verdict(Action.WIPE, row=Row.WIPE_PENDING)
_NO_DEVICE = Verdict(Action.ALLOW, row=Row.NO_DEVICE)
_ALLOWED = Verdict(Action.ALLOW, row=Row.ALLOWED)
_WIPED = Verdict(Action.BLOCK, (Reason.WIPED,), row=Row.WIPED)


def decide(case: Case) -> Verdict:
    """Judge one request; see the module's table.

    Only an entry of exactly this key counts: one found under another name is as good as none. Where the list cannot be read
    the agent is asked, who has it, too; with an entry that cannot be read the agent fares no better, and the device comes
    back later. A policy is handed to nobody but a device that may pass.
    """
    for judge in _JUDGES:
        verdict = judge(case)
        if verdict is not None:
            return verdict
    raise AssertionError("the table's last row always applies")


def explain(case: Case) -> tuple[Step, ...]:
    """The rows of the table in their order, down to the one that applies; the last step's verdict is that of `decide`."""
    steps: list[Step] = []
    for entry in TABLE:
        verdict = entry.judge(case)
        steps.append(Step(entry.row, entry.asks, entry.saw(case), verdict))
        if verdict is not None:
            break
    return tuple(steps)


# The rows. One behind `unknown` is only reached by a case with an entry of exactly its key.


def _no_device(case: Case) -> Verdict | None:
    return _NO_DEVICE if case.key is None else None


def _wipe_too_old(case: Case) -> Verdict | None:
    record = _to_wipe(case) if case.too_old else None
    return None if record is None else _wipe(record, Row.WIPE_TOO_OLD)


def _wipe_pending(case: Case) -> Verdict | None:
    record = _to_wipe(case)
    return None if record is None or record.state is State.WIPED else _wipe(record, Row.WIPE_PENDING)


def _wipe_unverified(case: Case) -> Verdict | None:
    record = _to_wipe(case)
    return None if record is None else _wipe(record, Row.WIPE_UNVERIFIED)


def _wiped(case: Case) -> Verdict | None:
    return None if _wiping(case) is None else _WIPED


def _excess(case: Case) -> Verdict | None:
    return None if case.excess is None else Verdict(Action.THROTTLE, (case.excess,), row=Row.EXCESS)


def _denied_by_rule(case: Case) -> Verdict | None:
    if case.rule is not Rule.DENY:
        return None
    return Verdict(Action.BLOCK, (Reason.LOCAL_RULE,), row=Row.DENIED_BY_RULE, rule=case.rule_name)


def _unreadable(case: Case) -> Verdict | None:
    return WAIT if case.record is Unreadable.ENTRY else None


def _unknown(case: Case) -> Verdict | None:
    return None if isinstance(case.record, Record) and case.record.key == case.key else ASK


def _allowed(case: Case) -> Verdict | None:
    if _record(case).state is not State.ALLOWED:
        return None
    return _ALLOWED if case.need is None else _lacking(case.need, Row.ALLOWED)


def _blocked_by_hand(case: Case) -> Verdict | None:
    reasons = _record(case).reasons
    return Verdict(Action.BLOCK, reasons, row=Row.BLOCKED_BY_HAND) if Reason.MANUAL in reasons else None


def _allowed_by_rule(case: Case) -> Verdict | None:
    if case.rule is Rule.ALLOW and _is_soft(case):
        return _softened(case, Row.ALLOWED_BY_RULE, case.rule_name)
    return None


def _observed(case: Case) -> Verdict | None:
    return _softened(case, Row.OBSERVED) if case.observe and _is_soft(case) else None


def _blocked(case: Case) -> Verdict | None:
    return Verdict(Action.BLOCK, _record(case).reasons, row=Row.BLOCKED)


def _wiping(case: Case) -> Record | None:
    """Its entry, of exactly this key, where that says that the device is to be wiped or has been."""
    record = case.record
    if not isinstance(record, Record):
        return None
    state = record.state
    wipes = state is State.WIPE_PENDING or state is State.WIPED  # no set: an enumeration's members are slow to hash
    return record if wipes and record.key == case.key else None


def _to_wipe(case: Case) -> Record | None:
    """Its entry, where nobody who was vouched for has said that the device is wiped."""
    record = _wiping(case)
    if record is None or record.state is State.WIPE_PENDING:
        return record
    return None if record.wipe is None or record.wipe.verified else record


def _wipe(record: Record, row: Row) -> Verdict:
    reasons = (Reason.WIPED,) if record.state is State.WIPED else ()
    return Verdict(Action.WIPE, reasons, wipe=record.wipe, row=row)


def _record(case: Case) -> Record:
    if not isinstance(case.record, Record):
        raise AssertionError("a row behind `unknown` has an entry")
    return case.record


def _is_soft(case: Case) -> bool:
    record = _record(case)
    return record.state is State.BLOCKED and bool(record.reasons) and SOFT.issuperset(record.reasons)


def _softened(case: Case, row: Row, rule: str = "") -> Verdict:
    reasons = _record(case).reasons
    if case.need is not None:
        return _lacking(case.need, row, reasons, rule)
    return Verdict(Action.ALLOW, (), reasons, row=row, rule=rule)


def _lacking(need: Need | Unreadable, row: Row, softened: tuple[Reason, ...] = (), rule: str = "") -> Verdict:
    """Of a device that may pass but for this."""
    if isinstance(need, Unreadable):
        return Verdict(Action.WAIT, row=row, rule=rule)
    return Verdict(Action.PROVISION, (need,), softened, row=row, rule=rule)


# What each row saw, in words.


def _saw_key(case: Case) -> str:
    return "no device" if case.key is None else f"{case.key.device_id} of {case.key.principal}"


def _saw_wipe(case: Case) -> str:
    record = case.record
    if not isinstance(record, Record) or record.key != case.key:
        return _saw_list(case)
    if record.wipe is None:
        return _saw_state(case)
    come = ", ".join(record.wipe.marks) or "waits for the device"
    too_old = "; the version has none" if case.too_old else ""
    return f"{_saw_state(case)}; wipe of the {record.wipe.kind}: {come}{too_old}"


def _saw_excess(case: Case) -> str:
    return "no" if case.excess is None else case.excess.value


def _saw_rule(case: Case) -> str:
    return "no rule matches" if case.rule is None else f"rule {case.rule_name or '(unnamed)'}: {case.rule.value}"


def _saw_list(case: Case) -> str:
    if isinstance(case.record, Unreadable):
        return f"the {case.record.value} cannot be read"
    return (
        "no entry" if case.record is None else "an entry" if case.record.key == case.key else "another device's entry"
    )


def _saw_state(case: Case) -> str:
    record = _record(case)
    words = [record.state.value, *(["provisional"] if record.provisional else [])]
    return ", ".join(words + [reason.value for reason in record.reasons])


def _saw_state_and_need(case: Case) -> str:
    if isinstance(case.need, Unreadable):
        return f"{_saw_state(case)}; the {case.need.value} cannot be read for what it lacks"
    need = "" if case.need is None else f"; lacks our policy: {case.need.value}"
    return _saw_state(case) + need


def _saw_softness(case: Case) -> str:
    hard = sorted(reason.value for reason in set(_record(case).reasons) - SOFT)
    return f"not of posture or registration: {', '.join(hard)}" if hard else _saw_state_and_need(case)


def _saw_rule_and_softness(case: Case) -> str:
    return f"{_saw_rule(case)}; {_saw_softness(case)}"


def _saw_observing(case: Case) -> str:
    return f"{'observing' if case.observe else 'not observing'}; {_saw_softness(case)}"


TABLE: tuple[Entry, ...] = (
    Entry(Row.NO_DEVICE, "does the request name no device?", _saw_key, _no_device),
    Entry(Row.WIPE_TOO_OLD, "is it to be wiped in a way that the version does not have?", _saw_wipe, _wipe_too_old),
    Entry(Row.WIPE_PENDING, "is it to be wiped?", _saw_wipe, _wipe_pending),
    Entry(Row.WIPE_UNVERIFIED, "did somebody say it was wiped whom nobody vouched for?", _saw_wipe, _wipe_unverified),
    Entry(Row.WIPED, "has it been wiped?", _saw_wipe, _wiped),
    Entry(Row.EXCESS, "does the device ask too much, or the same again and again?", _saw_excess, _excess),
    Entry(Row.DENIED_BY_RULE, "does a rule of the site's deny it?", _saw_rule, _denied_by_rule),
    Entry(Row.UNREADABLE, "is its entry in the device list unreadable?", _saw_list, _unreadable),
    Entry(Row.UNKNOWN, "is there no entry of exactly this device and user?", _saw_list, _unknown),
    Entry(Row.ALLOWED, "does the UEM allow it?", _saw_state_and_need, _allowed),
    Entry(Row.BLOCKED_BY_HAND, "has an administrator blocked it by hand?", _saw_state, _blocked_by_hand),
    Entry(Row.ALLOWED_BY_RULE, "does a rule of the site's let it pass?", _saw_rule_and_softness, _allowed_by_rule),
    Entry(Row.OBSERVED, "are such blocks only written down at present?", _saw_observing, _observed),
    Entry(Row.BLOCKED, "nothing lets it pass", _saw_state, _blocked),
)
_JUDGES = tuple(entry.judge for entry in TABLE)
