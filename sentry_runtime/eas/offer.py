"""What a server offers its clients: the protocol versions and commands it names in its response headers (MS-ASHTTP 2.2.1.1.3).

A client picks the highest version that it has in common with the list, so a gateway that has to read its requests must
not let a version through that it cannot read; nor a command.
"""

from collections.abc import Iterable
from functools import lru_cache

from sentry_runtime.eas.query import COMMANDS, VERSIONS

VERSIONS_FIELD = b"ms-asprotocolversions"
COMMANDS_FIELD = b"ms-asprotocolcommands"
CHANGED_FIELD = b"x-ms-rp"  # the versions again, sent when they have changed (MS-ASHTTP 2.2.1.1.3)
FIELDS = frozenset({VERSIONS_FIELD, COMMANDS_FIELD, CHANGED_FIELD})

_PROVISION = b"Provision"
_VERSIONS = frozenset(version.encode() for version in VERSIONS.values())
_COMMANDS = frozenset(name.upper().encode() for name in COMMANDS.values())


def versions_up_to(newest: str) -> frozenset[bytes]:
    """The versions that the gateway can read and a site lets its devices have. Raises `ValueError` for none of `VERSIONS`."""
    known = list(VERSIONS.values())  # oldest first
    return frozenset(version.encode() for version in known[: known.index(newest) + 1])


def offered(
    fields: list[tuple[bytes, bytes]], *, provisions: bool, versions: frozenset[bytes] = _VERSIONS
) -> list[tuple[bytes, bytes]]:
    """Response fields with the lists cut to `versions` and `COMMANDS`, in the server's own order and spelling.

    A field that came several times is one, at the place of the first. `provisions` adds `Provision` to a list of commands
    that lacks it: the gateway answers that command itself. What needs no change keeps its bytes; a list with nothing left
    is left out, as a server that offers nothing would; no list is made up where the server sent none.
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in FIELDS:
            values.setdefault(lower, []).append(value)
    if not values:
        return fields
    written = {name: _written(name, tuple(found), versions, provisions=provisions) for name, found in values.items()}
    kept: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        lower = name.lower()
        if lower not in FIELDS:
            kept.append((name, value))
        elif text := written.pop(lower, b""):
            kept.append((name, text))
    return kept


@lru_cache(maxsize=64)  # a server says the same in each of its answers
def _written(name: bytes, values: tuple[bytes, ...], versions: frozenset[bytes], *, provisions: bool) -> bytes:
    said = [part for value in values for one in value.split(b",") if (part := one.strip(b" \t"))]
    if name == COMMANDS_FIELD:
        left = _cut((one, one.upper()) for one in said if one.upper() in _COMMANDS)
        if provisions and _PROVISION.upper() not in {one.upper() for one in left}:
            left.append(_PROVISION)
    else:
        left = _cut((one, one) for one in said if one in versions)
    return values[0] if left == said and len(values) == 1 else b",".join(left)


def _cut(items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The items, each once: pairs of what is written and what it is known by."""
    seen: dict[bytes, bytes] = {}
    for written, known in items:
        seen.setdefault(known, written)
    return list(seen.values())
