"""Versions of the product, and which of two is newer: 1.2.3-rc1 comes before 1.2.3, and 1.2.3 before 1.2.10."""

import re

VERSION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9}){1,3})(?:[-~]([0-9a-z.]{1,24}))?")
_PARTS = re.compile(r"[0-9]+|[a-z]+")
_LENGTH = 4  # numbers; those that are not written are 0


class VersionError(ValueError):
    """What is no version; the message says what is one."""


def newer(one: str, other: str) -> bool:
    """Whether version `one` comes after `other`. Raises `VersionError`."""
    return _key(one) > _key(other)


def _key(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
    found = VERSION.fullmatch(version)
    if found is None:
        raise VersionError(f"found the version {version[:64]!r}; allowed: numbers with dots, as 1.2.3, or 1.2.3-rc1")
    numbers = [int(part) for part in found[1].split(".")]
    before = found[2] or ""
    # In what comes before a release, numbers count as numbers and stand before letters.
    parts = tuple(
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, "" if part.isdecimal() else part)
        for part in _PARTS.findall(before)
    )
    return tuple(numbers + [0] * (_LENGTH - len(numbers))), not before, parts
