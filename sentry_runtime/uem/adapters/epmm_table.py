"""What the values of Ivanti EPMM become: data, by the vendor's public guides (Web Service API v1, V2 API).

Its reasons are names in the V2 API, and bits of a number where the v1 API tells of them; both are here.
"""

from dataclasses import dataclass

from sentry_runtime.devices.record import Reason


@dataclass(frozen=True, slots=True)
class Listed:
    """What it means to be in one of the lists of `/api/v1/eas/devices`. `without` is the reason where nothing gives one."""

    blocked: bool
    registered: bool
    without: Reason = Reason.MANUAL


LISTS = {
    "registeredAllowedDevices": Listed(blocked=False, registered=True),
    "registeredBlockedDevices": Listed(blocked=True, registered=True),
    "unregisteredAllowedDevices": Listed(blocked=False, registered=False),
    "unregisteredBlockedDevices": Listed(blocked=True, registered=False, without=Reason.UNREGISTERED),
    # It was wiped, or is to be. No order of ours follows from that, see docs/uem-adapters.md; it stays out.
    "wipedDevices": Listed(blocked=True, registered=False),
}

BITS = {
    "COMPROMISED": 0x000001,
    "OS_VERSION": 0x000002,
    "HW_VERSION": 0x000004,
    "DATA_PROTECTION": 0x000008,
    "POLICY_OUT_OF_DATE": 0x000010,
    "DEVICE_OUT_OF_CONTACT": 0x000020,
    "APP_CONTROL": 0x000040,
    "PER_MAILBOX_LIMIT": 0x000080,
    "AUTO_BLOCK": 0x000100,
    "MANUAL": 0x000200,
    "EXCHANGE": 0x000400,
    "DEVICE_ADMIN_DEACTIVE": 0x000800,
    "DISALLOWED_APP_CONTROL": 0x001000,
    "REQUIRED_APP_CONTROL": 0x002000,
    "ALLOWED_APP_CONTROL": 0x004000,
    "LOGGED_OUT": 0x008000,
    "UNKNOWN": 0x400000,
}

# A reason that is not here, as one that EPMM does not know itself, is `manual`: what nobody can name, nothing softens.
REASONS = {
    "COMPROMISED": Reason.COMPROMISED,
    "OS_VERSION": Reason.OS_VERSION,
    "HW_VERSION": Reason.POLICY,
    "DATA_PROTECTION": Reason.NOT_ENCRYPTED,
    "POLICY_OUT_OF_DATE": Reason.POLICY,
    "DEVICE_OUT_OF_CONTACT": Reason.OUT_OF_CONTACT,
    "APP_CONTROL": Reason.POLICY,
    "PER_MAILBOX_LIMIT": Reason.MAILBOX_LIMIT,
    "AUTO_BLOCK": Reason.UNREGISTERED,
    "MANUAL": Reason.MANUAL,
    "EXCHANGE": Reason.MANUAL,
    "DEVICE_ADMIN_DEACTIVE": Reason.POLICY,
    "DISALLOWED_APP_CONTROL": Reason.POLICY,
    "REQUIRED_APP_CONTROL": Reason.POLICY,
    "ALLOWED_APP_CONTROL": Reason.POLICY,
    "LOGGED_OUT": Reason.POLICY,
}
OTHER_REASON = Reason.MANUAL

# `common.status` of a device that is in use. With any other (WIPED, LOST ...) it is blocked, whatever the list of ActiveSync
# devices says: the two calls are made one after the other.
IN_USE = frozenset({"ACTIVE"})
NOT_IN_USE = {
    "VERIFICATION_PENDING": Reason.UNREGISTERED,
    "VERIFIED": Reason.UNREGISTERED,
    "IENROLL_VERIFIED": Reason.UNREGISTERED,
    "IENROLL_INPROGRESS": Reason.UNREGISTERED,
    "IENROLL_COMPLETE": Reason.UNREGISTERED,
    "RETIRED": Reason.UNREGISTERED,
    "EXPIRED": Reason.UNREGISTERED,
    "INFECTED": Reason.COMPROMISED,
}
OTHER_STATUS = Reason.MANUAL
