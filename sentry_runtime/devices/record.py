"""One entry of the device list.

The key is (device id, principal): the same phone with two mailboxes is two entries. The agent writes entries, the gateway's
workers read them. Entries of unknown state are never kept, so `State` has no such member.
"""

import enum

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
