"""What administrators put into the UEM and get from it, as typed values.

The types say the bounds; a value that does not keep to them is refused with the place in it (`$.labels[3]`). Principals and
device ids are as people write them; the UEM makes the one name of them.
"""

from typing import Annotated

import msgspec

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.settings import PeerName, PushUrl, SentryPeer
from sentry_runtime.uem.security import OsVersion, Platform

RANK_DEFAULT = 100
LABELS = 32  # of one device, user or tunnel; real sites have a handful
VERSION_CHARS = 64

LabelName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}\Z")]
Labels = Annotated[tuple[LabelName, ...], msgspec.Meta(max_length=LABELS)]
Rank = Annotated[int, msgspec.Meta(ge=0, le=9_999)]
Words = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z", max_length=256)]
PolicyName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Principal = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
DeviceId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
SoftVersion = Annotated[OsVersion, msgspec.Meta(max_length=VERSION_CHARS)]


class _Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, and nothing unknown is taken."""


class UserEntry(_Resource, frozen=True, kw_only=True):
    """A person and their labels, which all devices under their principal have."""

    principal: Principal
    full_name: Words = ""
    labels: Labels = ()


class LabelEntry(_Resource, frozen=True, kw_only=True):
    """What the devices of a label get: the names of an ActiveSync policy and of a security policy."""

    name: LabelName
    description: Words = ""
    rank: Rank = RANK_DEFAULT
    policy: PolicyName | None = None
    security_policy: PolicyName | None = None


class TunnelEntry(AppTunnel, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An app tunnel, and the labels whose devices have it. What names and hosts may be is `uem.messages.check_tunnel`'s."""

    labels: Labels = ()


class SentryEntry(SentryPeer, frozen=True, kw_only=True):
    """A Sentry, and what has been heard of it: when it called last (epoch), and up to which version it had the feed then."""

    fixed: bool = False
    last_seen: int = 0
    cursor: int = 0


class PostureEntry(_Resource, frozen=True, kw_only=True, omit_defaults=True):
    """What is reported of a device; None, "" and 0: nothing."""

    platform: Platform | None = None
    os_version: SoftVersion | None = None
    compromised: bool | None = None
    encrypted: bool | None = None
    contact: Epoch = 0


class DeviceEntry(_Resource, frozen=True, kw_only=True, omit_defaults=True):
    """What the UEM knows of one device: its word in effect, and what that comes from. `labels` are all that it has, its user's
    too; `own_labels` those of the device alone."""

    device_id: str
    principal: str
    state: State
    version: int
    reasons: tuple[Reason, ...] = ()
    registered: bool = False
    manual: bool = False
    device_type: str = ""
    note: str = ""
    wipe: Wipe | None = None
    policy: str = ""
    labels: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    posture: PostureEntry | None = None
    linked_to: DeviceKey | None = None
    tunnels: tuple[AppTunnel, ...] = ()
    first_seen: int = 0
    last_seen: int = 0


class OnDevice(_Resource, frozen=True, kw_only=True):
    """A word on one (device, principal)."""

    device_id: DeviceId
    principal: Principal


class Noted(OnDevice, frozen=True, kw_only=True):
    """The same with an administrator's note."""

    note: Words = ""


class RegisterDevice(Noted, frozen=True, kw_only=True):
    """The device belongs to the principal and may pass."""

    device_type: Words = ""


class WipeDevice(Noted, frozen=True, kw_only=True):
    """Delete everything on the device, or this account's data alone."""

    kind: WipeKind = WipeKind.DEVICE


class LinkDevice(Noted, frozen=True, kw_only=True):
    """The device is the managed one of another id."""

    to_device_id: DeviceId
    to_principal: Principal


class AssignPolicy(OnDevice, frozen=True, kw_only=True):
    """The ActiveSync policy of this name; None: what its labels or the default say."""

    policy: PolicyName | None


class FlagDevice(OnDevice, frozen=True, kw_only=True):
    """Something is wrong with the device, or no longer."""

    cause: Reason
    holds: bool


class LabelDevice(OnDevice, frozen=True, kw_only=True):
    """The device has these labels, and no others of its own."""

    labels: Labels


class ReportDevice(OnDevice, frozen=True, kw_only=True):
    """What somebody has found the device to be like; what was reported before is forgotten."""

    posture: PostureEntry


class DevicePage(_Resource, frozen=True, kw_only=True):
    """Devices in the order of their versions; `next` is the cursor for the following page."""

    devices: tuple[DeviceEntry, ...]
    next: int
    more: bool


class Status(_Resource, frozen=True, kw_only=True):
    """The UEM at a glance: devices in all and per state, the last version, the licence."""

    devices: int
    version: int
    licence: str
    by_state: dict[str, int]


class OpenEnrolment(_Resource, frozen=True, kw_only=True):
    """A token is wanted by which this Sentry may enrol, once, within so many hours (0: as long as the settings say). Where there
    is no Sentry of the name, it is added, with where it takes pushes."""

    sentry: PeerName
    push_url: PushUrl = ""
    hours: Annotated[int, msgspec.Meta(ge=0, le=168)] = 0


class OpenedEnrolment(_Resource, frozen=True, kw_only=True):
    """The token, which is shown this once, and when it ends (epoch)."""

    sentry: str
    token: str
    ends: int


class CertificateEntry(_Resource, frozen=True, kw_only=True):
    """A certificate that a Sentry has got; times in epoch seconds. `taken`: it has called with it; `revoked` 0: it is not."""

    fingerprint: str
    issued: int
    ends: int
    taken: bool
    revoked: int


class EnrolmentEntry(_Resource, frozen=True, kw_only=True):
    """What is enrolled under one Sentry's name; `token_ends` 0: there is no token that could be redeemed."""

    sentry: str
    token_ends: int
    certificates: tuple[CertificateEntry, ...]
