"""Devices: finding them, what becomes of their requests, and what is done about one."""

from typing import Literal

import msgspec

from appliance.configd.api.words import Line, SessionVerb, Word


class DeviceAction(SessionVerb, frozen=True, kw_only=True, tag="device.action"):
    """Register, allow, block, wipe or remove one (device, principal) in the embedded UEM. Result: a str that the
    administrator should read, or None."""

    action: Literal["register", "allow", "block", "remove", "wipe", "wipe-account", "cancel-wipe"]
    device_id: Word
    principal: Word
    note: Line = ""


class ClearRedirects(SessionVerb, frozen=True, kw_only=True, tag="redirects.clear"):
    """Forget where a backend has sent one (device, principal), or all of them. Result: how many were known (int)."""

    device_id: Word = ""
    principal: Word = ""


class FlagDevice(SessionVerb, frozen=True, kw_only=True, tag="device.flag"):
    """Tell the embedded UEM that something is wrong with a device (`holds`), or no longer. Result: None."""

    cause: Literal["compromised", "os_version", "not_encrypted", "out_of_contact", "policy"]
    holds: bool
    device_id: Word
    principal: Word


class Explain(SessionVerb, frozen=True, kw_only=True, tag="device.explain"):
    """What would become of a request of this device and user now, and why. Result: `sentry_runtime.control.Explanation`."""

    device_id: Word
    principal: Word
    command: Word = "Sync"
    protocol: Word = "14.1"
    device_type: Word = ""
    source: Word = ""
    policy_key: int | None = None


class DevicePolicy(SessionVerb, frozen=True, kw_only=True, tag="device.policy"):
    """Have one (device, principal) apply a policy of the embedded UEM's; `policy` None: the default one. Result: None."""

    device_id: Word
    principal: Word
    policy: Word | None


class SearchDevices(SessionVerb, frozen=True, kw_only=True, tag="devices.search"):
    """A page of the device list in key order, from behind the entry of `after_device` and `after_user` on: entries whose device
    id, user or type holds `text` (in any case) and whose state is `state`; each may be empty. Result: `DevicePage`."""

    text: Word = ""
    state: Literal["", "allowed", "blocked", "wipe_pending", "wiped"] = ""
    after_device: Word = ""
    after_user: Word = ""


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `more`: there is another page, which goes on behind the last row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: bool = False


class FindDevice(SessionVerb, frozen=True, kw_only=True, tag="device.find"):
    """The users for whom the embedded UEM knows a device id; refused as `invalid` where it knows it for nobody.
    Result: tuple[str, ...]."""

    device_id: Word
