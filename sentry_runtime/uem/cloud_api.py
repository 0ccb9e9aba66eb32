"""The messages of the Cloud manner, in which a Sentry only calls (see docs/uem-api.md, "Cloud").

| who calls | request | answer |
|---|---|---|
| Sentry | `POST /v1/candidates` with `Contact` | `Candidates` |
| Sentry | `GET /v1/settings` | `CloudSettings` |
| Sentry | `GET /v1/compliance?after=N&limit=M` | `DecisionPage` |
| Sentry | `GET /v1/actions?after=N&limit=M` | `DecisionPage` |
| Sentry | `POST /v1/inventory` with `Inventory` | 204 |
"""

from typing import Literal

import msgspec

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import Decision

CANDIDATES = 100  # of each kind; a person has a few devices, and a device a few spellings
INVENTORY_PER_PAGE = 200  # each may be news to the UEM, and news costs it some milliseconds: a second or two for a page

INVENTORY_BYTES = 61_440  # of what is in it: with the message around it at most 64 KiB; one entry is 15 KiB at most


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, and nothing unknown is taken."""


class CloudSettings(_Message, frozen=True, kw_only=True):
    """What an administrator of the Cloud has set for its Sentrys: what a new device gets while the Cloud is out of reach, whether
    a device that matches none may pass, and the licence level."""

    fail_mode: Literal["allow", "block"]
    allow_unmanaged: bool
    licence: Literal["gold", "platinum"]


class Unidentified(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """A registered device of the contact's user whose ActiveSync id the UEM does not know yet. It is allowed or blocked: nobody
    can have it wiped."""

    principal: str
    state: State
    reasons: tuple[Reason, ...] = ()
    device_type: str = ""
    note: str = ""
    policy: Policy | None = None
    tunnels: tuple[AppTunnel, ...] = ()


class Candidates(_Message, frozen=True, kw_only=True):
    """All that a device of a contact might be: registered devices, and devices that nobody registered but another Sentry has in
    its inventory. `version` is a change number of its own, under which the Sentry keeps what it makes of them."""

    version: int
    registered: tuple[Decision, ...] = ()
    unregistered: tuple[Decision, ...] = ()
    unidentified: tuple[Unidentified, ...] = ()
    settings: CloudSettings


class Tunnel(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a Sentry's device list: an ActiveSync tunnel, with the names of the app tunnels of the same device.
    `version` is the one under which the Sentry has it."""

    device_id: str
    principal: str
    state: State
    version: int
    device_type: str = ""
    registered: bool = False
    apps: tuple[str, ...] = ()


class Inventory(_Message, frozen=True, kw_only=True):
    """What is new in a Sentry's list since the inventory `after`; 0: since nothing, the first page of all. `number` is this
    one's; `gone` are devices that the list has no more."""

    after: int
    number: int
    tunnels: tuple[Tunnel, ...] = ()
    gone: tuple[DeviceKey, ...] = ()
