"""Numbers in Prometheus' text format (0.0.4). The names are frozen: dashboards and alarms of sites are made of them."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.configd.api import Health, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GATEWAY_COUNTERS = (
    "connections", "connections_refused", "connections_silent", "handshakes_failed", "certificates_refused", "requests",
    "allowed", "blocked", "denied", "malformed", "first_contacts", "undecided", "logons_refused", "logons_rested",
    "backend_failures", "redirected", "revoked", "softened", "throttled", "unprovisioned", "provisioned",
    "backend_provisions", "backend_wipes", "backend_wipes_acknowledged", "cut", "wipes_handed_out", "wipes_acknowledged",
    "bytes_in", "bytes_out", "audit_lines", "audit_dropped",
)  # fmt: skip
"""Those of the gateway that only grow until it is started again."""
GATEWAY_GAUGES = {"connections_now": "connections_open", "exchanges_now": "exchanges_open", "workers": "workers"}
AGENT_COUNTERS = ("rounds", "repaired", "pushes", "push_peers_refused", "questions", "by_fail_mode", "wipe_reports")
AGENT_GAUGES = {
    "devices": "devices",
    "provisional": "devices_provisional",
    "list_bytes": "device_list_bytes",
    "questions_open": "questions_open",
    "wipes_unreported": "wipes_unreported",
    "link_seconds": "link_seconds",
}

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it is, and its samples by their labels."""

    name: str
    kind: Kind
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def _one(name: str, kind: Kind, text: str, value: float) -> Family:
    return Family(name, kind, text, (({}, float(value)),))


def families(found: Metrics) -> tuple[Family, ...]:
    """All of them; what is not known now has no sample."""
    health = found.health
    return (*_machine(found), *_units(health), *_gateway(health.gateway), *_agent(health.agent))


def _machine(found: Metrics) -> Iterator[Family]:
    health = found.health
    yield _one("sentry_config_revision", "gauge", "Number of the running revision; 0 before the first.", found.revision)
    yield _one("sentry_commit_waiting", "gauge", "1 while a commit waits for confirmation.", found.waiting)
    yield Family(
        "sentry_clock_synchronised", "gauge", "1 while the clock follows a time server.", _known(health.synchronised)
    )
    yield Family("sentry_fips_mode", "gauge", "1 while cryptography runs in FIPS 140 mode.", _known(health.fips))
    disks = tuple(({"mount": place}, percent / 100) for place, percent in sorted(health.disks.items()))
    yield Family("sentry_disk_used_ratio", "gauge", "How full a disk is, from 0 to 1.", disks)
    yield Family(
        "sentry_certificate_expiry_timestamp_seconds",
        "gauge",
        "When a certificate of the appliance ends, in seconds since the epoch.",
        tuple(_ends(health.certificates)),
    )
    yield Family("sentry_sessions", "gauge", "How many administrators are logged in.", _known(health.sessions))
    yield _one("sentry_device_list_capacity", "gauge", "How many devices the list may hold.", health.device_cache_size)


def _known(value: float | None) -> tuple[tuple[Mapping[str, str], float], ...]:
    return () if value is None else (({}, float(value)),)


def _ends(certificates: Mapping[str, str]) -> Iterator[tuple[Mapping[str, str], float]]:
    for name, end in sorted(certificates.items()):
        try:
            moment = datetime.datetime.fromisoformat(end)
        except ValueError:
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        yield {"certificate": name}, moment.timestamp()


def _units(health: Health) -> Iterator[Family]:
    named = [({"unit": unit.name}, unit) for unit in health.units if unit.name]
    active = tuple((labels, float(unit.active == "active")) for labels, unit in named)
    wanted = tuple((labels, float(unit.wanted)) for labels, unit in named)
    restarts = tuple((labels, float(unit.restarts)) for labels, unit in named)
    yield Family("sentry_unit_active", "gauge", "1 while a service runs.", active)
    yield Family("sentry_unit_wanted", "gauge", "1 where it should.", wanted)
    yield Family("sentry_unit_restarts_total", "counter", "How often it was started again after a fault.", restarts)


def _gateway(said: Mapping[str, str | int]) -> Iterator[Family]:
    yield _one("sentry_gateway_up", "gauge", "1 while the gateway answers for itself.", bool(said))
    yield from _numbers("sentry_gateway", said, GATEWAY_COUNTERS, GATEWAY_GAUGES, "of the gateway, see docs/rest.md")


def _agent(said: Mapping[str, str | int]) -> Iterator[Family]:
    yield _one("sentry_agent_up", "gauge", "1 while the agent answers for itself.", bool(said))
    up = said["link"] == "up" if "link" in said else None
    yield Family("sentry_agent_uem_link_up", "gauge", "1 while the link to the UEM stands.", _known(up))
    yield from _numbers("sentry_agent", said, AGENT_COUNTERS, AGENT_GAUGES, "of the agent, see docs/rest.md")


def _numbers(
    prefix: str, said: Mapping[str, str | int], counters: Iterable[str], gauges: Mapping[str, str], text: str
) -> Iterator[Family]:
    kinds: list[tuple[str, str, Kind]] = [(name, f"{prefix}_{name}_total", "counter") for name in counters]
    kinds += [(name, f"{prefix}_{shown}", "gauge") for name, shown in gauges.items()]
    for name, shown, kind in kinds:
        value = said.get(name)
        number = value if isinstance(value, int) else None
        yield Family(shown, kind, f"`{name}` {text}.", _known(number))


def page(found: Metrics) -> str:
    """The text that Prometheus reads."""
    return "".join(line for family in families(found) for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        words = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family.name}{{{words}}} {value!r}\n" if words else f"{family.name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
