"""What to do with a request: one pure function of the claim, what is known of the device and what its policy key is worth."""

import enum
from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey, Reason, Record, State


class Action(enum.StrEnum):
    """What the gateway does. Wipe and throttle will join."""

    ALLOW = "allow"
    BLOCK = "block"
    ASK = "ask"
    WAIT = "wait"
    PROVISION = "provision"


class Unreadable(enum.Enum):
    """Why nothing is known of an entry, not even whether it is there."""

    LIST = "list"
    ENTRY = "entry"


class Need(enum.StrEnum):
    """Why a device is to provision, where the gateway has a policy of its own."""

    POLICY_KEY_MISSING = "policy_key_missing"
    POLICY_KEY_WRONG = "policy_key_wrong"
    PROVISION_ASKED = "provision_asked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and the reasons for it; PROVISION has its one `Need`, BLOCK its reasons, the others have none."""

    action: Action
    reasons: tuple[Reason | Need, ...] = ()


ALLOW = Verdict(Action.ALLOW)
ASK = Verdict(Action.ASK)
WAIT = Verdict(Action.WAIT)


def decide(key: DeviceKey | None, record: Record | Unreadable | None, need: Need | None = None) -> Verdict:
    """Judge one request of the device `key` (None: an OPTIONS that names no device) by its entry in the device list.

    Only an entry of exactly this key counts: one found under another name is as good as none. Only one state lets a device
    pass; every other, also one that is yet to be invented, blocks it. Where the list cannot be read the agent is asked, who
    has it, too; with an entry that cannot be read the agent fares no better, and the device comes back later. `need` is what
    such a device lacks of the gateway's policy, or None; a policy is handed to nobody else.
    """
    if key is None:
        return ALLOW
    if record is Unreadable.ENTRY:
        return WAIT
    if not isinstance(record, Record) or record.key != key:
        return ASK
    if record.state is State.ALLOWED:
        return ALLOW if need is None else Verdict(Action.PROVISION, (need,))
    return Verdict(Action.BLOCK, record.reasons)
