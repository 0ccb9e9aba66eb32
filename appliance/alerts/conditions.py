"""From configd's facts of the machine to what holds now, and to what happened since they were told last (pure)."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from appliance.alerts.happening import SUBJECT_CHARACTERS, WORDS_CHARACTERS, Condition, Event, Looked, plain
from appliance.alerts.settings import Settings
from appliance.alerts.table import ALERTS
from appliance.configd.api import Health, UnitHealth

AUDIT_UNITS = ("rsyslog.service", "auditd.service")
AUDIT_DISKS = ("/var/log", "/var/log/audit")
RUNNING = ("active", "reloading", "refreshing")
CERTIFICATE_DAYS = (1, 7, 14, 30)
ENROLMENT_DAYS = (1, 7)  # the agent renews it by itself long before; what is left then is trouble
DEVICE_LIST_FULL = 0.9
DAY_SECONDS = 86_400
CONFIGD = "sentry-configd.service"

LASTING = frozenset(name for name, alert in ALERTS.items() if alert.lasts)
_OF_THE_GATEWAY = frozenset({"backend_down", "gateway_out_of_service"})
_OF_THE_AGENT = frozenset({"uem_link_down", "device_list_full"})


def silent(problem: str) -> Looked:
    """What is known when configd does not answer: that, and nothing else."""
    return Looked((_condition("service_down", CONFIGD, f"configd does not answer: {problem}"),), frozenset())


def looked(health: Health, settings: Settings, counters: dict[str, int], when: float) -> Looked:
    """What holds. `counters` is what they stood at the last time; it is brought up to date."""
    judged = LASTING
    if not health.gateway:
        judged -= _OF_THE_GATEWAY
    if not health.agent:
        judged -= _OF_THE_AGENT
    if not health.thorough:
        judged -= {"certificate_ends", "fips_failed"}
    if not health.agent:
        judged -= {"certificate_ends"}  # the one of the enrolment is the agent's
    if health.not_obtained is None:
        judged -= {"certificate_not_obtained"}
    if health.stig_opened is None:
        judged -= {"stig_rule_open"}
    if health.not_sent is None:
        judged -= {"backup_not_sent"}
    if health.directory is None:
        judged -= {"directory_down"}
    if health.synchronised is None:
        judged -= {"clock_not_synchronised"}
    conditions = (
        *_units(health.units),
        *_disks(health.disks, settings),
        *_gateway(health),
        *_agent(health),
        *_clock_and_cryptography(health),
        *_certificates(health, when),
        *_not_obtained(health),
        *_stig_opened(health),
        *_not_sent(health),
        *_directory(health),
    )
    return Looked(conditions, judged, tuple(_counted(health, counters, when)))


def _units(units: Iterable[UnitHealth]) -> Iterator[Condition]:
    for unit in units:
        if unit.wanted and unit.active not in RUNNING:
            alert = "audit_log_stopped" if unit.name in AUDIT_UNITS else "service_down"
            yield _condition(alert, unit.name, f"{unit.name} is {unit.active}")


def _disks(disks: dict[str, int], settings: Settings) -> Iterator[Condition]:
    for place, percent in sorted(disks.items()):
        audit = place in AUDIT_DISKS
        limit = settings.audit_disk_percent if audit else settings.disk_percent
        if percent >= limit:
            words = f"{place} is full to {percent} percent; the limit is {limit}"
            yield _condition("audit_disk_full" if audit else "disk_full", place, words)


def _gateway(health: Health) -> Iterator[Condition]:
    said = health.gateway
    state = said.get("state", "running")
    if state != "running":
        yield _condition("gateway_out_of_service", "gateway", f"The gateway is {state}")
    names = [name[8:-5] for name in said if name.startswith("backend.") and name.endswith(".down")]
    for name in sorted(names):
        if said[f"backend.{name}.down"] and not said.get(f"backend.{name}.up", 0):
            reason = said.get(f"backend.{name}.reason", "")
            yield _condition("backend_down", name, f"The backend {name} is down: {reason or 'no reason given'}")


def _agent(health: Health) -> Iterator[Condition]:
    said, most = health.agent, health.device_cache_size
    if said.get("link") == "down":
        problem = said.get("link_problem") or "nobody answers there"
        yield _condition("uem_link_down", "uem", f"The UEM cannot be reached: {problem}")
    devices = said.get("devices", 0)
    if most and isinstance(devices, int) and devices >= DEVICE_LIST_FULL * most:
        yield _condition("device_list_full", "devices", f"The device list has {devices} of {most} devices")


def _clock_and_cryptography(health: Health) -> Iterator[Condition]:
    if health.synchronised is False:
        yield _condition("clock_not_synchronised", "clock", "No time server keeps the clock")
    if health.fips is False:
        yield _condition("fips_failed", "fips", "OpenSSL does not answer in FIPS mode; `show fips` says more")


def _certificates(health: Health, when: float) -> Iterator[Condition]:
    for name, end in sorted(health.certificates.items()):
        yield from _ends(name, datetime.fromisoformat(end), CERTIFICATE_DAYS, when)
    enrolled = health.agent.get("enrolment_ends", 0)
    if isinstance(enrolled, int) and enrolled:
        yield from _ends("of the enrolment", datetime.fromtimestamp(enrolled, UTC), ENROLMENT_DAYS, when)


def _not_obtained(health: Health) -> Iterator[Condition]:
    for service, problem in sorted((health.not_obtained or {}).items()):
        words = f"The ACME server has given no certificate for {service}; it is tried again: {problem}"
        yield _condition("certificate_not_obtained", service, words)


def _stig_opened(health: Health) -> Iterator[Condition]:
    for rule, demands in sorted((health.stig_opened or {}).items()):
        yield _condition("stig_rule_open", rule, f"The rule {rule} is open and was not before: {demands}")


def _not_sent(health: Health) -> Iterator[Condition]:
    for destination, problem in sorted((health.not_sent or {}).items()):
        yield _condition("backup_not_sent", destination, f"No backup could be sent to {destination}: {problem}")


def _directory(health: Health) -> Iterator[Condition]:
    if health.directory:
        yield _condition("directory_down", "directory", f"No server of the directory can be asked: {health.directory}")


def _ends(name: str, end: datetime, warned: Iterable[int], when: float) -> Iterator[Condition]:
    days = (end.timestamp() - when) / DAY_SECONDS
    level = "ended" if days <= 0 else next((str(one) for one in warned if days <= one), "")
    if level:
        words = f"The certificate {name} " + ("has ended" if level == "ended" else f"ends within {level} days")
        yield _condition("certificate_ends", name, f"{words}: {end:%Y-%m-%d %H:%MZ}", level)


def _counted(health: Health, counters: dict[str, int], when: float) -> Iterator[Event]:
    """What counters have gone up by; one that is lower began anew with its process."""
    now = {f"restarts {unit.name}": unit.restarts for unit in health.units}
    dropped = health.gateway.get("audit_dropped")
    if isinstance(dropped, int):
        now["audit_dropped"] = dropped
    for name, count in now.items():
        before = counters.get(name, count)
        more = count - before if count >= before else count
        counters[name] = count
        if more and name == "audit_dropped":
            yield _event("audit_records_lost", "gateway", f"The gateway lost {more} lines of its audit trail", when)
        elif more:
            unit = name.partition(" ")[2]
            yield _event("service_restarted", unit, f"{unit} ended by a fault and was started again", when)


def _condition(alert: str, subject: str, words: str, level: str = "") -> Condition:
    return Condition(alert, plain(subject, SUBJECT_CHARACTERS), plain(words, WORDS_CHARACTERS), level)


def _event(alert: str, subject: str, words: str, when: float) -> Event:
    return Event(alert, plain(subject, SUBJECT_CHARACTERS), plain(words, WORDS_CHARACTERS), when)
