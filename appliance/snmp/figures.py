"""Our MIB's objects as data, and their values from what configd says of the machine (pure). docs/SENTRY-GATEWAY-MIB.txt is for
managers; a test holds the two against each other."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from appliance.configd.api import Health

Kind = Literal["counter", "gauge", "integer", "string"]
Oid = tuple[int, ...]

ROOT: Final[Oid] = (1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 7368)
"""Below netSnmpPlaypen, which Net-SNMP keeps for such use: this product has no enterprise number of its own."""
WRAP = 2**32  # Counter32 begins again there (RFC 2578 7.1.6)
NAME_CHARACTERS = 64
ROWS = 64  # of a table; a site has a few backends, and the appliance six certificates
DAY_SECONDS = 86_400
TRUE, FALSE = 1, 2  # TruthValue (RFC 2579)
AGE: Final[Oid] = (1, 5, 0)

COUNTERS: Final[Mapping[int, str]] = {
    1: "requests", 2: "allowed", 3: "blocked", 4: "denied", 5: "unprovisioned", 6: "throttled", 7: "malformed", 8: "undecided",
}  # fmt: skip
"""Of the gateway: the number below `sentryGateway`, and the counter's name in its status."""
GAUGES: Final[Mapping[int, str]] = {9: "connections_now", 10: "exchanges_now", 11: "workers"}
UP = 12


class Figure(NamedTuple):
    """One value: where below `ROOT`, of which type, and itself as text."""

    oid: Oid
    kind: Kind
    value: str


def figures(health: Health, certificates: Mapping[str, str], when: float) -> tuple[Figure, ...]:
    """All that is known, in the order of the objects. `certificates` are names with their ends (ISO 8601), `when` is now, in
    seconds since the epoch. What is not known is not there."""
    parts = (
        _gateway(health),
        _agent(health),
        _backends(health),
        _certificates(certificates, when),
        _management(health),
    )
    made = [one for part in parts for one in part]
    return tuple(sorted(made, key=lambda one: one.oid))


def _gateway(health: Health) -> Iterator[Figure]:
    said = health.gateway
    for place, name in COUNTERS.items():
        if isinstance(count := said.get(name), int):
            yield Figure((1, 1, place, 0), "counter", str(count % WRAP))
    for place, name in GAUGES.items():
        if isinstance(count := said.get(name), int):
            yield Figure((1, 1, place, 0), "gauge", str(count))
    yield Figure((1, 1, UP, 0), "integer", _truth(said))


def _agent(health: Health) -> Iterator[Figure]:
    said = health.agent
    if isinstance(count := said.get("devices"), int):
        yield Figure((1, 2, 1, 0), "gauge", str(count))
    if "link" in said:
        yield Figure((1, 2, 2, 0), "integer", _truth(said["link"] == "up"))


def _backends(health: Health) -> Iterator[Figure]:
    said = health.gateway
    if not said:
        return
    names = sorted(name.removeprefix("backend.").removesuffix(".up") for name in said if _is_backend(name))[:ROWS]
    up = [name for name in names if said[f"backend.{name}.up"] or not said.get(f"backend.{name}.down")]
    yield Figure((1, 3, 1, 0), "gauge", str(len(up)))
    yield Figure((1, 3, 2, 0), "gauge", str(len(names) - len(up)))
    for row, name in enumerate(names, 1):
        yield Figure((1, 3, 3, 1, 2, row), "string", _plain(name))
        yield Figure((1, 3, 3, 1, 3, row), "gauge", str(said[f"backend.{name}.up"]))
        yield Figure((1, 3, 3, 1, 4, row), "gauge", str(said.get(f"backend.{name}.down", 0)))


def _is_backend(name: str) -> bool:
    return name.startswith("backend.") and name.endswith(".up")


def _certificates(certificates: Mapping[str, str], when: float) -> Iterator[Figure]:
    for row, (name, end) in enumerate(sorted(certificates.items())[:ROWS], 1):
        days = int((datetime.fromisoformat(end).timestamp() - when) // DAY_SECONDS)
        yield Figure((1, 4, 1, 1, 2, row), "string", _plain(name))
        yield Figure((1, 4, 1, 1, 3, row), "integer", str(days))


def _management(health: Health) -> Iterator[Figure]:
    if health.sessions is not None:
        yield Figure((1, 6, 1, 0), "gauge", str(health.sessions))


def _truth(value: object) -> str:
    return str(TRUE if value else FALSE)


def _plain(text: str) -> str:
    """One line of ASCII, which is what snmpd passes on."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text[:NAME_CHARACTERS])
