"""The messages between a Sentry and a UEM (JSON over mutual TLS; see docs/uem-api.md).

| who calls | request | answer |
|---|---|---|
| Sentry | `POST /v1/contacts` with `Contact` | `Decision` |
| Sentry | `GET /v1/decisions?after=N&limit=M` | `DecisionPage` |
| Sentry | `GET /v1/digests?root=R` | `Digests` |
| Sentry | `GET /v1/buckets/B?after=N&limit=M` | `BucketPage` |
| Sentry | `POST /v1/information` with `Information` | 204 |
| Sentry | `POST /v1/wipes` with `WipeReport` | `Decision` |
| UEM | `POST /v1/decisions` (on Sentry's port 9090) with `Push` | 204 |

Every message may be repeated and may arrive late: a decision with a version no newer than the one known has no effect.
"""

import msgspec

from sentry_runtime.devices.record import Reason, State, Wipe
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy

DECISIONS_PER_PAGE = 1_000  # about 200 KiB of JSON, policies 400 KiB more: decoded in some ten milliseconds


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, and nothing unknown is taken."""


class Contact(_Message, frozen=True, kw_only=True):
    """A device was seen for the first time; the backend has accepted the principal's credentials."""

    device_id: str
    device_aliases: tuple[str, ...] = ()
    principal: str
    device_type: str
    user_agent: str = ""
    protocol: str = ""
    seen: int


class Decision(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """What the UEM says of one (device, principal). `removed` means: forget it, ask again on the next contact.

    `policy` is the ActiveSync policy that the device must apply; None: the Sentry's own, if it has one. `wipe` is the order of
    a device that is to be wiped or has been, and of no other. `tunnels` are the servers that its apps may reach.
    """

    device_id: str
    principal: str
    state: State
    version: int
    reasons: tuple[Reason, ...] = ()
    device_type: str = ""
    registered: bool = False
    removed: bool = False
    note: str = ""
    policy: Policy | None = None
    wipe: Wipe | None = None
    tunnels: tuple[AppTunnel, ...] = ()


class Information(_Message, frozen=True, kw_only=True):
    """What an allowed device says of itself; the backend has accepted the principal's credentials."""

    device_id: str
    principal: str
    information: DeviceInformation


class WipeReport(_Message, frozen=True, kw_only=True):
    """What has come of an order to wipe, as far as this Sentry knows. Answered with the UEM's word in knowledge of it."""

    device_id: str
    principal: str
    wipe: Wipe


class DecisionPage(_Message, frozen=True, kw_only=True):
    """Decisions in the order of their versions; `next` is the cursor for the following page, `more` says there is one."""

    decisions: tuple[Decision, ...]
    next: int
    more: bool


class Digests(_Message, frozen=True, kw_only=True):
    """What the UEM knows at `version`, its last one: one digest of all, and where the question's `root` is another, those of the
    buckets (see `sentry_runtime.uem.digests`)."""

    version: int
    root: str
    buckets: tuple[str, ...] = ()


class BucketPage(_Message, frozen=True, kw_only=True):
    """Decisions on the devices of one bucket in the order of their versions, without the removed ones. When there are no `more`,
    the pages together are all that the UEM knows of the bucket at `version`."""

    version: int
    decisions: tuple[Decision, ...]
    more: bool


class Push(_Message, frozen=True, kw_only=True):
    """Changes the UEM sends at once."""

    decisions: tuple[Decision, ...]


class Problem(_Message, frozen=True, kw_only=True):
    """An error answer (RFC 9457, shortened)."""

    title: str
    detail: str = ""
