"""What to do with a request: one pure function of the claim and what is known of the device."""

import enum
from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey, Reason, Record, State


class Action(enum.StrEnum):
    """What the gateway does. Provision, wipe and throttle will join."""

    ALLOW = "allow"
    BLOCK = "block"
    ASK = "ask"
    WAIT = "wait"


class Unreadable(enum.Enum):
    """Why nothing is known of an entry, not even whether it is there."""

    LIST = "list"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and the reasons for it; only BLOCK has any."""

    action: Action
    reasons: tuple[Reason, ...] = ()


ALLOW = Verdict(Action.ALLOW)
ASK = Verdict(Action.ASK)
WAIT = Verdict(Action.WAIT)


def decide(key: DeviceKey | None, record: Record | Unreadable | None) -> Verdict:
    """Judge one request of the device `key` (None: an OPTIONS that names no device) by its entry in the device list.

    Only an entry of exactly this key counts: one found under another name is as good as none. Only one state lets a device
    pass; every other, also one that is yet to be invented, blocks it. Where the list cannot be read the agent is asked, who
    has it, too; with an entry that cannot be read the agent fares no better, and the device comes back later.
    """
    if key is None:
        return ALLOW
    if record is Unreadable.ENTRY:
        return WAIT
    if not isinstance(record, Record) or record.key != key:
        return ASK
    if record.state is State.ALLOWED:
        return ALLOW
    return Verdict(Action.BLOCK, record.reasons)
