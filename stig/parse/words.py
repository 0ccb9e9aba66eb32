"""Small readers: `key value` lines, durations, OpenSSL's list of providers."""

import re
from collections.abc import Iterable

from stig.errors import FactError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+)([smhdw]?)", re.IGNORECASE)


def settings(lines: Iterable[str]) -> dict[str, str]:
    """`name value` lines (sshd -T); the first of a name counts, as sshd itself reads it."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.strip().partition(" ")
        found.setdefault(name.lower(), value.strip())
    return found


def assignments(lines: Iterable[str]) -> dict[str, str]:
    """`name = value` lines with `#` comments (faillock.conf); a bare name is `yes`; the last of a name counts."""
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.split("#", 1)[0].partition("=")
        if name.strip():
            found[name.strip()] = value.strip() if equals else "yes"
    return found


def seconds(text: str) -> int:
    """OpenSSH's time format (`10m`, `1h30m`, `600`) in seconds; `FactError` for anything else."""
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text, re.IGNORECASE):
        raise FactError(f"{text!r} is not a duration")
    return sum(int(number) * _UNITS[unit.lower()] for number, unit in _DURATION.findall(text))


def providers(listing: str) -> dict[str, dict[str, str]]:
    """The providers of `openssl list -providers`: id -> its fields (name, version, status)."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in listing.splitlines():
        depth = len(line) - len(line.lstrip())
        if depth == 2:
            name = line.strip()
            found[name] = {}
        elif depth == 4 and name and ":" in line:
            key, _, value = line.strip().partition(":")
            found[name][key] = value.strip()
    return found
