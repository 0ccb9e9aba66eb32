"""What a device says of itself: in Provision from 14.1 on, in Settings before (MS-ASCMD 2.2.3.45), as values, from and to
WBXML."""

import msgspec

from sentry_runtime.eas.codepages import SETTINGS
from sentry_runtime.eas.wbxml import DEVICE_PARTS, Element, WbxmlError, decode, element

FIELD_CHARS = 64  # of one field that is kept; names of models, systems and mail programs are shorter
SETTINGS_BYTES = 8_192  # of a Settings request that is listened to: one with every field is below 2 KiB

_VERSIONS = frozenset({"14.1", "16.0", "16.1"})


class DeviceInformation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of DeviceInformation; "" where the device does not say. It is the device's word, and proves nothing."""

    model: str = ""
    imei: str = ""
    friendly_name: str = ""
    os: str = ""
    os_language: str = ""
    phone_number: str = ""
    user_agent: str = ""
    enable_outbound_sms: str = ""
    mobile_operator: str = ""


_NAMES = {name.lower(): name for name in SETTINGS.tokens}
_ELEMENTS = {name: _NAMES[name.replace("_", "")] for name in DeviceInformation.__struct_fields__}


def belongs_to_provision(protocol: str) -> bool:
    """Whether a client of this version must say it in Provision (MS-ASPROV 3.1.5.1.1)."""
    return protocol in _VERSIONS


def read(parent: Element) -> DeviceInformation | None:
    """What the DeviceInformation directly below `parent` says; None where there is none."""
    found = parent.child(SETTINGS, "DeviceInformation")
    if found is None:
        return None
    given = found.child(SETTINGS, "Set") or found
    said = {field: part.text for field, name in _ELEMENTS.items() if (part := given.child(SETTINGS, name)) is not None}
    return DeviceInformation(**said)


def write(device: DeviceInformation) -> Element:
    """The DeviceInformation by which a client says this."""
    said = ((name, getattr(device, field)) for field, name in _ELEMENTS.items())
    parts = (element(SETTINGS, name, value) for name, value in said if value)
    return element(SETTINGS, "DeviceInformation", element(SETTINGS, "Set", *parts))


def in_settings(body: bytes) -> DeviceInformation | None:
    """What the body of a Settings request says; None where it says nothing of this, or is no Settings."""
    try:
        root = decode(body, DEVICE_PARTS)
    except WbxmlError:
        return None
    if (root.page, root.token) != (SETTINGS.number, SETTINGS.tokens["Settings"]):
        return None
    return read(root)


def cleaned(device: DeviceInformation) -> DeviceInformation:
    """As it may be kept and shown: each field one line of at most `FIELD_CHARS` printable characters."""
    kept = {field: _line(getattr(device, field)) for field in DeviceInformation.__struct_fields__}
    return DeviceInformation(**kept)


def _line(text: str) -> str:
    printable = "".join(sign for sign in text[: 2 * FIELD_CHARS] if sign.isprintable())
    return printable.strip()[:FIELD_CHARS].rstrip()
