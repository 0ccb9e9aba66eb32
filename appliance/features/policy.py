"""An ActiveSync policy as a group of settings: types and bounds are those of the data plane's own `Policy`, what people read
stands here. Not a feature: `gateway` and `uem` have such groups."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from appliance.features import values
from appliance.features.base import Problem
from sentry_runtime.settings import Gateway

NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter or digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
NAME_KIND: values.Rules = {
    "type": "string",
    "check_with": values.check(_NAME.fullmatch, NAME),
    "meta": {"allowed": NAME},
}

# Label and help of each field, by its name in `Policy`.
TEXTS: dict[str, tuple[str, str]] = {
    "device_password_enabled": ("Password", "The device must have a password."),
    "alphanumeric_device_password_required": ("Letters and digits", "The password must have letters and digits."),
    "require_storage_card_encryption": ("Encrypted card", "What lies on a storage card must be encrypted."),
    "password_recovery_enabled": ("Recovery password", "The device may leave a recovery password with the server."),
    "attachments_enabled": ("Attachments", "Attachments may be fetched."),
    "min_device_password_length": ("Password length", "At least so many characters."),
    "max_inactivity_time_device_lock": ("Lock (seconds)", "The device locks after so long; 9999 and more: never."),
    "max_device_password_failed_attempts": ("Failed attempts", "After so many the device wipes itself."),
    "max_attachment_size": ("Attachment size (bytes)", "The largest attachment that may be fetched."),
    "allow_simple_device_password": ("Simple password", "A password such as 1234 or 1111 will do."),
    "device_password_expiration": ("Password age (days)", "It must be changed after so long; 0: never."),
    "device_password_history": ("Password history", "So many earlier passwords may not come again."),
    "allow_storage_card": ("Storage card", "A storage card may be used."),
    "allow_camera": ("Camera", "The camera may be used."),
    "require_device_encryption": ("Encrypted device", "What lies on the device must be encrypted."),
    "allow_unsigned_applications": ("Unsigned applications", "Unsigned applications may run."),
    "allow_unsigned_installation_packages": ("Unsigned packages", "Unsigned packages may be installed."),
    "min_device_password_complex_characters": ("Kinds of characters", "At least so many kinds in the password."),
    "allow_wifi": ("Wi-Fi", "Wi-Fi may be used."),
    "allow_text_messaging": ("Text messages", "Text messages may be sent."),
    "allow_pop_imap_email": ("POP and IMAP", "Other mail accounts by POP or IMAP may be used."),
    "allow_bluetooth": ("Bluetooth", "0: not at all, 1: for hands-free sets, 2: for everything."),
    "allow_irda": ("Infrared", "Infrared may be used."),
    "require_manual_sync_when_roaming": ("Roaming", "In other networks the device syncs by hand only."),
    "allow_desktop_sync": ("Desktop sync", "The device may sync with a computer."),
    "max_calendar_age_filter": ("Calendar age", "0: all, 4: two weeks, 5: one month, 6: three months, 7: six months."),
    "allow_html_email": ("HTML mail", "Mail may be fetched as HTML."),
    "max_email_age_filter": ("Mail age", "0: all, 1: a day, 2: three days, 3: a week, 4: two weeks, 5: a month."),
    "max_email_body_truncation_size": ("Mail size", "At most so much of a text body; -1: all of it."),
    "max_email_html_body_truncation_size": ("HTML mail size", "At most so much of an HTML body; -1: all of it."),
    "require_signed_smime_messages": ("Signed mail", "Mail must be signed (S/MIME)."),
    "require_encrypted_smime_messages": ("Encrypted mail", "Mail must be encrypted (S/MIME)."),
    "require_signed_smime_algorithm": ("Signing algorithm", "0: SHA-1, 1: MD5."),
    "require_encryption_smime_algorithm": (
        "Encryption algorithm",
        "0: TripleDES, 1: DES, 2: RC2 with 128 bits, 3: with 64, 4: with 40.",
    ),
    "allow_smime_encryption_algorithm_negotiation": (
        "Negotiation",
        "Of S/MIME algorithms. 0: none, 1: of strong ones, 2: of any.",
    ),
    "allow_smime_soft_certs": ("Soft certificates", "S/MIME certificates may lie outside of a smart card."),
    "allow_browser": ("Browser", "The device's own browser may be used."),
    "allow_consumer_email": ("Private mail", "Private mail accounts may be used."),
    "allow_remote_desktop": ("Remote desktop", "Remote desktops may be used."),
    "allow_internet_sharing": ("Internet sharing", "The device may share its connection."),
    "unapproved_in_rom_application_list": ("Forbidden applications", "Built-in applications that may not run."),
    "approved_application_list": ("Approved applications", "SHA-1 of each application that may run."),
}
_ITEMS = {
    "unapproved_in_rom_application_list": "a name of 1 to 256 characters",
    "approved_application_list": "40 hex digits in lower case",
}


def _type() -> inspect.StructType:
    """The data plane's own type."""
    whole = inspect.type_info(Gateway)
    if isinstance(whole, inspect.StructType):
        policy = next(field.type for field in whole.fields if field.name == "policy")
        for one in policy.types if isinstance(policy, inspect.UnionType) else ():
            if isinstance(one, inspect.StructType):
                return one
    raise TypeError("the gateway's settings have no policy")


_POLICY = _type()


def group(label: str, text: str, **rules: Any) -> values.Rules:
    """The group of settings that make a policy; what is not set is not said to devices."""
    fields = {field.name: values.described(_kind(field), *TEXTS[field.name]) for field in _POLICY.fields}
    return {**values.group(label, text, **fields), **rules}


def _kind(field: inspect.Field) -> values.Rules:
    """Cerberus's rules for the type of a field."""
    options = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    kind = next(one for one in options if not isinstance(one, inspect.NoneType))
    match kind:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", "min": kind.ge, "max": kind.le}
        case inspect.VarTupleType(item_type=inspect.StrType(pattern=str(pattern))):
            said = _ITEMS[field.name]
            item = {"type": "string", "check_with": values.check(re.compile(pattern).fullmatch, said)}
            return values.several({**item, "meta": {"allowed": said}}, "", "", most=kind.max_length or 0)
        case _:
            raise TypeError(f"{field.name} has a type that no setting has: {kind}")


def made(tree: Mapping[str, Any]) -> Any:
    """The data plane's `Policy` of such a group. Raises `msgspec.ValidationError`."""
    return msgspec.convert(dict(tree), _POLICY.cls)


def verify(path: str, tree: Mapping[str, Any]) -> Iterable[Problem]:
    """What the type itself refuses beyond each field's bounds, in its own words."""
    try:
        made(tree)
    except msgspec.ValidationError as error:
        found, _, allowed = str(error).partition("; ")
        yield Problem(path, found, allowed)
