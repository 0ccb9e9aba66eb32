"""A security policy as a group of settings: what a registered device must be like. Not a feature: `uem` has such groups."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from appliance.features import values
from appliance.features.base import Problem
from sentry_runtime.settings import UemServer

CONTACT_DAYS = 365
VERSION = 'one to four numbers in quotes, such as "17.5.1"'
PLATFORMS = {"android": "Android", "ios": "iOS and iPadOS", "macos": "macOS", "windows": "Windows"}

_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
_WORD = {"type": "string", "allowed": ["block", "pass"]}


def _type() -> Any:
    """The data plane's own type."""
    whole = inspect.type_info(UemServer)
    for one in whole.fields if isinstance(whole, inspect.StructType) else ():
        kind = one.type
        if (
            one.name == "security_policies"
            and isinstance(kind, inspect.DictType)
            and isinstance(kind.value_type, inspect.StructType)
        ):
            return kind.value_type.cls
    raise TypeError("the UEM's settings have no security policies")


_POLICY = _type()


def _text(value: Any) -> Any:
    """YAML reads an unquoted 17 as a number. It reads 17.10 as 17.1, so what has a point is not put right."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _version(label: str) -> values.Rules:
    kind = {
        "type": "string",
        "coerce": _text,
        "check_with": values.check(_VERSION.fullmatch, VERSION),
        "meta": {"allowed": VERSION},
    }
    return values.described(kind, label, f"The oldest version of {label} that may pass.")


def group(label: str, text: str) -> values.Rules:
    """The group of settings that make a security policy."""
    return values.group(
        label,
        text,
        minimum_os=values.group(
            "Oldest versions",
            "Of the platforms that are named; of others nothing is asked.",
            **{name: _version(said) for name, said in PLATFORMS.items()},
        ),
        compromised=values.described(
            _WORD, "Compromised devices", "What becomes of a jailbroken or rooted device.", default="block"
        ),
        require_encryption=values.switch("Encryption", "What lies on the device must be encrypted.", default=False),
        contact_days=values.number(
            "Contact (days)",
            "A device that was not heard of for longer is blocked; 0: never.",
            low=0,
            high=CONTACT_DAYS,
            default=0,
        ),
        unknown=values.described(
            _WORD, "Unknown", "What becomes of a device of which nobody has reported what is asked.", default="block"
        ),
    )


def made(tree: Mapping[str, Any]) -> Any:
    """The data plane's `SecurityPolicy` of such a group. Raises `msgspec.ValidationError`."""
    return msgspec.convert(dict(tree), _POLICY)


def verify(path: str, tree: Mapping[str, Any]) -> Iterable[Problem]:
    """The data plane takes it."""
    try:
        made(tree)
    except msgspec.ValidationError as error:
        yield Problem(path, str(error), "what the settings above say")
