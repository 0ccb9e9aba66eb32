"""`python -m sentry_runtime.uem.owners`: what a UEM may say, field by field, who owns it and where it ends (docs/uem-api.md).

This is the whole of what a UEM can configure. A field of a message that has no row here, or two, is an error of a test
(`tests/unit/uem/test_owners.py`), so a new field is nothing that anybody can send before somebody has said whose it is.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from sentry_runtime.uem.api import Problem
from sentry_runtime.uem.openapi import AT_SENTRY, OPERATIONS

LIST = "the agent's device list"
NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Row:
    """What it is, who says it, where it is kept, and the fields (`Message.field`; `Message.*`: all of them) that carry it from a
    UEM; none: no UEM can say it."""

    what: str
    owner: str
    kept: str
    fields: tuple[str, ...] = ()


ROWS = (
    Row(
        *("state, reasons, note and type of a device, whether it is managed, whether it is forgotten", "the UEM", LIST),
        (
            *(f"Decision.{name}" for name in ("state", "reasons", "note", "device_type", "registered", "removed")),
            *(f"Unidentified.{name}" for name in ("state", "reasons", "note", "device_type")),
        ),
    ),
    Row(
        "ActiveSync policy of a device",
        "the UEM",
        f"{LIST}, once for all devices that have it",
        ("Decision.policy", "Unidentified.policy", "Policy.*"),
    ),
    Row(
        "app tunnels of a device",
        "the UEM",
        f"{LIST}, up to `uem.device_cache_size` devices; the gateway does not carry them yet",
        ("Decision.tunnels", "Unidentified.tunnels", "AppTunnel.*"),
    ),
    Row("an order to wipe a device", "the UEM", LIST, ("Decision.wipe", "Wipe.kind", "Wipe.order", "Wipe.by")),
    Row("marks of a wipe", "the Sentry; the UEM says which it has", f"{LIST}; only ever added", ("Wipe.marks",)),
    Row(
        "which device of whom it is",
        "the Sentry in a question, and the answer has to be about that; the UEM in a feed and a push",
        f"{LIST}, as its key",
        ("Decision.device_id", "Decision.principal", "Unidentified.principal"),
    ),
    Row(
        "which word is the newer one, how far the feed is read, what digests say",
        "the UEM",
        f"{LIST}: versions and the cursor",
        (
            "Decision.version",
            "DecisionPage.next",
            "DecisionPage.more",
            "Digests.*",
            "BucketPage.version",
            "BucketPage.more",
            "Candidates.version",
        ),
    ),
    Row(
        "what only holds the above",
        "the UEM",
        NOWHERE,
        (
            *("DecisionPage.decisions", "BucketPage.decisions", "Push.decisions"),
            *(f"Candidates.{name}" for name in ("registered", "unregistered", "unidentified", "settings")),
        ),
    ),
    Row(
        "fail mode, whether unmanaged devices pass, licence",
        "in mode `cloud` the UEM; otherwise the site's configuration alone",
        "`cloud.json` beside the device list; `runtime.json`",
        ("CloudSettings.*",),
    ),
    Row(
        "the Sentry's certificate",
        "the UEM, for a key and a name of the Sentry's",
        "the agent's folder",
        ("Enrolled.certificate",),
    ),
    Row(
        "why something is refused",
        "the UEM",
        "the audit trail and `show agent`, as plain words of bounded length",
        ("Problem.*",),
    ),
    Row("what a device says of itself", "the Sentry", f"{LIST}; reported to the UEM"),
    Row(
        "backends, listeners, authentication, TLS, rules on devices, limits",
        "the site's configuration alone",
        "`runtime.json`",
    ),
    Row(
        "which UEM, its addresses, authorities and name, cache size",
        "the site's configuration alone",
        "`runtime.json`",
    ),
    Row(
        "time, name, network, accounts, firewall of the appliance",
        "the site's configuration alone",
        "the management plane",
    ),
)


def sent() -> dict[str, tuple[str, ...]]:
    """Every message that a UEM can send, and every object in one, with its fields, as the protocol's operations have them."""
    found: dict[str, tuple[str, ...]] = {}
    for one in OPERATIONS:
        kind = one.request if one.at == AT_SENTRY else one.answer
        for told in (kind, Problem):
            if told is not None:
                found |= dict(_walked(told))
    return found


def fields() -> list[str]:
    """The fields that have an owner, `Message.*` spelt out; one that is in two rows is there twice."""
    kinds = sent()
    named = [field for row in ROWS for field in row.fields]
    return [
        f"{kind}.{name}"
        for kind, _, wanted in (field.partition(".") for field in named)
        for name in (kinds.get(kind, ()) if wanted == "*" else (wanted,))
    ]


def text() -> str:
    """The table of docs/uem-api.md."""
    lines = ["| what | who says it | where it is kept | in the fields |", "|---|---|---|---|"]
    for row in ROWS:
        held = ", ".join(f"`{field}`" for field in row.fields) or "none: no UEM can say it"
        lines.append(f"| {row.what} | {row.owner} | {row.kept} | {held} |")
    return "\n".join(lines) + "\n"


def _walked(kind: type[msgspec.Struct]) -> Iterator[tuple[str, tuple[str, ...]]]:
    held = msgspec.structs.fields(kind)
    yield kind.__name__, tuple(field.encode_name for field in held)
    for field in held:
        for inner in _structs(field.type):
            yield from _walked(inner)


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs in a type, however deep."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in get_args(kind):
        yield from _structs(inner)


if __name__ == "__main__":
    sys.stdout.write(text())
