"""One entry of the device list.

The key is (device id, principal): the same phone with two mailboxes is two entries. The agent writes entries, the gateway's
workers read them. Entries of unknown state are never kept, so `State` has no such member.
"""

import enum
from collections.abc import Iterable

import msgspec


class State(enum.StrEnum):
    """What the UEM said of a device."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    WIPE_PENDING = "wipe_pending"
    WIPED = "wiped"


class Reason(enum.StrEnum):
    """Why a device is blocked; several may hold at once (a set, as in the EPMM reason bit map)."""

    UNREGISTERED = "unregistered"
    COMPROMISED = "compromised"
    OS_VERSION = "os_version"
    NOT_ENCRYPTED = "not_encrypted"
    OUT_OF_CONTACT = "out_of_contact"
    POLICY = "policy"
    MAILBOX_LIMIT = "mailbox_limit"
    MANUAL = "manual"
    UEM_UNREACHABLE = "uem_unreachable"
    LOCAL_RULE = "local_rule"  # only the gateway says this one and the next; no entry of the list has them
    WIPED = "wiped"


class WipeKind(enum.StrEnum):
    """How much a device is to delete."""

    DEVICE = "device"  # everything: back to the state it left the factory in
    ACCOUNT = "account"  # this account's data alone; ActiveSync has that from 16.1 on


class WipeMark(enum.StrEnum):
    """What has come of an order to wipe. Marks are only ever added, so they may come twice, late and in any order.

    None but `VERIFIED` needs more than knowing a device id and a user name, and `VERIFIED` says that whoever acknowledged
    knew the password as well. None is a proof that the data is gone.
    """

    HANDED_OUT = "handed_out"  # somebody who named this device and user has got the directive
    TOO_OLD = "too_old"  # the device came with a version that has no wipe of the account alone
    FAILED = "failed"  # it said that it could not
    UNVERIFIED = "unverified"  # it was acknowledged; nobody vouched for the credentials
    VERIFIED = "verified"  # it was acknowledged with credentials that a backend accepts


ACKNOWLEDGED = frozenset({WipeMark.UNVERIFIED, WipeMark.VERIFIED})


class Wipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An administrator's order to wipe a device.

    `order` is the UEM's change number by which it was ordered, and tells it from any order before and after. `by` is the
    administrator.
    """

    kind: WipeKind
    order: int
    marks: tuple[WipeMark, ...] = ()
    by: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the device, or whoever names it, has said that it wipes itself."""
        return not ACKNOWLEDGED.isdisjoint(self.marks)

    @property
    def verified(self) -> bool:
        """Whether it was said with credentials that hold."""
        return WipeMark.VERIFIED in self.marks

    @property
    def state(self) -> State:
        """The state of a device with this order."""
        return State.WIPED if self.acknowledged else State.WIPE_PENDING

    def marked(self, marks: Iterable[WipeMark]) -> "Wipe":
        """The order with these marks added."""
        return msgspec.structs.replace(self, marks=tuple(sorted({*self.marks, *marks})))


class DeviceKey(msgspec.Struct, frozen=True, order=True):
    """`device_id` is canonical (see `sentry_runtime.eas.query`), `principal` is case-folded `user@domain` or `user`."""

    device_id: str
    principal: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one device and principal.

    `version` is the UEM's change number: an older one never overwrites a newer one. Times are whole seconds since the epoch.
    `policy` is the digest of the ActiveSync policy that the UEM wants on the device, empty for the site's own; `policy_before`
    the one that it replaced, None where there was none.
    """

    key: DeviceKey
    state: State
    version: int
    reasons: tuple[Reason, ...] = ()
    device_type: str = ""
    registered: bool = False
    provisional: bool = False
    first_seen: int = 0
    updated: int = 0
    note: str = ""
    policy: bytes = b""
    policy_before: bytes | None = None
    wipe: Wipe | None = None
    """The order to wipe it, in the states `WIPE_PENDING` and `WIPED`."""
    tunnels: bytes = b""
    """The digest of the app tunnels of the device; empty for none."""
    unreported: bool = False
    """The order has marks here that the UEM does not know of."""
