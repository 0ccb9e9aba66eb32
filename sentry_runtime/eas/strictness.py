"""The stricter of two policies, element by element, and the reading of numbers that another server sent.

One table over all of `Policy` says for each element which of two values binds a device more. What is not said demands
nothing, so the other side's word stands. Where two demands cannot be put in order (lists), the result forbids what either
forbids. So what the result permits is exactly what both permit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentry_runtime.eas.policy import Policy, PolicyError

NO_APPLICATION = "0" * 40
"""A hash that no application has: what a list of approved applications holds when nothing is approved. An empty list would
approve everything."""

_INT32_MAX = 0x7FFF_FFFF
_UNAPPROVED, _APPROVED = "unapproved_in_rom_application_list", "approved_application_list"

Value = bool | int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """Of two values that are both said, the one that binds more; and a number of a document as a value, None where it
    demands nothing. `read` raises `PolicyError` for what no value stands for: one that is out of the specification's
    bounds becomes the nearest that binds no less, where there is one."""

    stricter: Callable[[Any, Any], Any]
    read: Callable[[int], Value]


def _required() -> Rule:
    """A flag that demands something when it is set."""
    return Rule(lambda one, other: one or other, bool)


def _allowed() -> Rule:
    """A flag that permits something when it is set."""
    return Rule(lambda one, other: one and other, lambda number: number == 1)


def _at_least(highest: int, *, lowest: int = 1) -> Rule:
    """The more, the stricter; what is below `lowest` demands nothing."""

    def read(number: int) -> Value:
        if number > highest:
            raise PolicyError(f"{number} is demanded; at most {highest} can be")
        return number if number >= lowest else None

    return Rule(max, read)


def _at_most(lowest: int, highest: int = _INT32_MAX, *, unbounded: int | None = None) -> Rule:
    """The less, the stricter. `unbounded` is the value that sets no bound; what is below `lowest` and not above 0 does not
    either."""

    def stricter(one: int, other: int) -> int:
        if unbounded in (one, other):
            return one if other == unbounded else other
        return min(one, other)

    def read(number: int) -> Value:
        if number == unbounded:
            return number
        if number >= lowest:
            return min(number, highest)
        if number <= 0:
            return None
        raise PolicyError(f"{number} is demanded; at least {lowest} can be")

    return Rule(stricter, read)


def _one_of(*strictest_first: int) -> Rule:
    """Codes, in an order of their own."""

    def read(number: int) -> Value:
        if number not in strictest_first:
            raise PolicyError(f"the code {number}; {', '.join(map(str, sorted(strictest_first)))} are known")
        return number

    return Rule(lambda one, other: min(one, other, key=strictest_first.index), read)


RULES: dict[str, Rule] = {
    "device_password_enabled": _required(),
    "alphanumeric_device_password_required": _required(),
    "require_storage_card_encryption": _required(),
    # It has the device give its recovery password to the server: without it no password leaves the device.
    "password_recovery_enabled": _allowed(),
    "attachments_enabled": _allowed(),
    "min_device_password_length": _at_least(16),
    "max_inactivity_time_device_lock": _at_most(1),
    "max_device_password_failed_attempts": _at_most(4, 16),
    "max_attachment_size": _at_most(0),
    "allow_simple_device_password": _allowed(),
    "device_password_expiration": _at_most(1, 730, unbounded=0),
    "device_password_history": _at_least(50, lowest=0),
    "allow_storage_card": _allowed(),
    "allow_camera": _allowed(),
    "require_device_encryption": _required(),
    "allow_unsigned_applications": _allowed(),
    "allow_unsigned_installation_packages": _allowed(),
    "min_device_password_complex_characters": _at_least(4),
    "allow_wifi": _allowed(),
    "allow_text_messaging": _allowed(),
    "allow_pop_imap_email": _allowed(),
    "allow_bluetooth": _one_of(0, 1, 2),  # off, hands-free only, on
    "allow_irda": _allowed(),
    "require_manual_sync_when_roaming": _required(),
    "allow_desktop_sync": _allowed(),
    "max_calendar_age_filter": _one_of(4, 5, 6, 7, 0),  # two weeks, one, three, six months, everything
    "allow_html_email": _allowed(),
    "max_email_age_filter": _one_of(1, 2, 3, 4, 5, 0),  # one day, three days, one, two weeks, one month, everything
    "max_email_body_truncation_size": _at_most(0, unbounded=-1),
    "max_email_html_body_truncation_size": _at_most(0, unbounded=-1),
    "require_signed_smime_messages": _required(),
    "require_encrypted_smime_messages": _required(),
    "require_signed_smime_algorithm": _one_of(0, 1),  # SHA-1, MD5
    "require_encryption_smime_algorithm": _one_of(0, 2, 3, 1, 4),  # 3DES; RC2 of 128, of 64; DES of 56; RC2 of 40 bits
    "allow_smime_encryption_algorithm_negotiation": _one_of(0, 1, 2),  # none, of a strong one, of any
    "allow_smime_soft_certs": _allowed(),
    "allow_browser": _allowed(),
    "allow_consumer_email": _allowed(),
    "allow_remote_desktop": _allowed(),
    "allow_internet_sharing": _allowed(),
}
"""Every element but the two lists of applications."""


def stricter(one: Policy, other: Policy) -> Policy:
    """What binds a device to both policies. Lists come out sorted, each entry once. Raises `PolicyError` where they get longer
    than a policy's may be."""
    values: dict[str, Any] = {
        name: _stricter(rule, getattr(one, name), getattr(other, name)) for name, rule in RULES.items()
    }
    values[_UNAPPROVED] = tuple(sorted({*getattr(one, _UNAPPROVED), *getattr(other, _UNAPPROVED)}))
    values[_APPROVED] = _approved_by_both(getattr(one, _APPROVED), getattr(other, _APPROVED))
    return Policy(**values)


def _stricter(rule: Rule, one: Value, other: Value) -> Value:
    if one is None or other is None:
        return other if one is None else one
    value: Value = rule.stricter(one, other)
    return value


def _approved_by_both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if not one or not other:
        return tuple(sorted({*one, *other}))
    return tuple(sorted({*one} & {*other})) or (NO_APPLICATION,)
