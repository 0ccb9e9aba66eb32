"""What holds, from what configd says of the machine."""

from datetime import UTC, datetime

import msgspec
import pytest

from appliance.alerts.conditions import LASTING, looked, silent
from appliance.alerts.happening import Looked
from appliance.configd.api import Health, UnitHealth

from .conftest import NOON, health_of, settings_of

SETTINGS = settings_of(disk_percent=90, audit_disk_percent=75)
DAY = 86_400


def look(health: Health, counters: dict[str, int] | None = None) -> Looked:
    """One look."""
    return looked(health, SETTINGS, {} if counters is None else counters, NOON)


def held(health: Health) -> list[tuple[str, str]]:
    """Alerts and subjects."""
    return [(one.alert, one.subject) for one in look(health).conditions]


def test_a_machine_that_is_well_raises_nothing_and_everything_was_judged() -> None:
    found = look(health_of())
    assert found.conditions == ()
    assert found.events == ()
    assert found.judged == LASTING
    assert len(LASTING) > 8


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (UnitHealth(name="sentry-agent.service", active="failed", wanted=True), "service_down"),
        (UnitHealth(name="sentry-agent.service", active="activating", wanted=True), "service_down"),
        (UnitHealth(name="rsyslog.service", active="inactive", wanted=True), "audit_log_stopped"),
        (UnitHealth(name="auditd.service", active="failed", wanted=True), "audit_log_stopped"),
        (UnitHealth(name="sentry-uem.service", active="inactive", wanted=False), ""),
        (UnitHealth(name="sentry-agent.service", active="reloading", wanted=True), ""),
    ],
)
def test_units_that_should_run(unit: UnitHealth, expected: str) -> None:
    assert held(health_of(units=(unit,))) == ([(expected, unit.name)] if expected else [])


def test_the_audit_trails_disks_have_a_limit_of_their_own() -> None:
    disks = {"/": 89, "/var": 90, "/var/log": 75, "/var/log/audit": 74}
    assert held(health_of(disks=disks)) == [("disk_full", "/var"), ("audit_disk_full", "/var/log")]


@pytest.mark.parametrize("state", ["quiesced", "draining", "drained"])
def test_a_gateway_out_of_service(state: str) -> None:
    assert held(health_of(gateway={"state": state})) == [("gateway_out_of_service", "gateway")]


def test_a_backend_is_down_when_no_worker_has_it_up() -> None:
    said = {"state": "running", "backend.a.up": 0, "backend.a.down": 2, "backend.a.reason": "connect_failed"}
    said |= {"backend.b.up": 1, "backend.b.down": 1, "backend.c.up": 0, "backend.c.down": 0}
    (one,) = look(health_of(gateway=said)).conditions
    assert (one.alert, one.subject) == ("backend_down", "a")
    assert one.words.endswith("connect_failed")


def test_the_link_and_the_device_list() -> None:
    agent = {"link": "down", "link_problem": "refused\x1b[0m", "devices": 900}
    found = look(health_of(agent=agent)).conditions
    assert [one.alert for one in found] == ["uem_link_down", "device_list_full"]
    assert found[0].words == "The UEM cannot be reached: refused?[0m"
    assert held(health_of(agent={"link": "untried", "devices": 899})) == []


def test_the_clock_and_fips() -> None:
    assert held(health_of(synchronised=False, fips=False)) == [
        ("clock_not_synchronised", "clock"),
        ("fips_failed", "fips"),
    ]


@pytest.mark.parametrize(
    ("seconds", "level"),
    [
        (31 * DAY, ""),
        (30 * DAY, "30"),
        (14 * DAY + 1, "30"),
        (7 * DAY, "7"),
        (3_600, "1"),
        (0, "ended"),
        (-DAY, "ended"),
    ],
)
def test_a_certificate_that_ends(seconds: int, level: str) -> None:
    end = datetime.fromtimestamp(NOON + seconds, UTC).isoformat().replace("+00:00", "Z")
    found = look(health_of(certificates={"gateway": end})).conditions
    assert [one.level for one in found] == ([level] if level else [])


@pytest.mark.parametrize(("seconds", "level"), [(8 * DAY, ""), (7 * DAY, "7"), (-1, "ended")])
def test_the_certificate_of_the_enrolment(seconds: int, level: str) -> None:
    """The agent renews it by itself: only what is late is told."""
    found = look(health_of(agent={"link": "up", "enrolment_ends": int(NOON) + seconds})).conditions
    assert [(one.subject, one.level) for one in found] == ([("of the enrolment", level)] if level else [])


def test_a_certificate_that_an_acme_server_does_not_give() -> None:
    found = look(health_of(not_obtained={"portal": "refused\x1b[0m"})).conditions
    assert [(one.alert, one.subject) for one in found] == [("certificate_not_obtained", "portal")]
    assert found[0].words.endswith("it is tried again: refused?[0m")


def test_a_rule_of_the_stigs_that_has_become_open() -> None:
    found = look(health_of(stig_opened={"V-250984": "Idle sessions end."})).conditions
    assert [(one.alert, one.subject) for one in found] == [("stig_rule_open", "V-250984")]
    assert found[0].words == "The rule V-250984 is open and was not before: Idle sessions end."


def test_a_backup_that_could_not_be_sent() -> None:
    found = look(health_of(not_sent={"vault": "Connection refused\x1b[0m"})).conditions
    assert [(one.alert, one.subject) for one in found] == [("backup_not_sent", "vault")]
    assert found[0].words == "No backup could be sent to vault: Connection refused?[0m"


def test_a_directory_of_which_no_server_can_be_asked() -> None:
    found = look(health_of(directory="dc1:636: Connection refused\x1b[0m")).conditions
    assert [(one.alert, one.subject) for one in found] == [("directory_down", "directory")]
    assert found[0].words == "No server of the directory can be asked: dc1:636: Connection refused?[0m"
    assert look(health_of(directory="")).conditions == ()


def test_who_does_not_answer_is_not_judged() -> None:
    """So what stood goes on standing: a gateway that does not answer has not mended its backends."""
    silent_ones = dict.fromkeys(("not_obtained", "not_sent", "synchronised", "fips", "stig_opened", "directory"))
    found = look(health_of(gateway={}, agent={}, thorough=False, **silent_ones))
    away = {"backend_down", "gateway_out_of_service", "uem_link_down", "device_list_full", "stig_rule_open"}
    away |= {"clock_not_synchronised", "certificate_ends", "certificate_not_obtained", "fips_failed", "backup_not_sent"}
    away |= {"directory_down"}
    assert LASTING - found.judged == away
    assert found.conditions == ()


def test_configd_itself_is_a_service() -> None:
    found = silent("no such file")
    assert [(one.alert, one.subject) for one in found.conditions] == [("service_down", "sentry-configd.service")]
    assert found.judged == frozenset()


def test_counters_tell_by_how_much_they_rose_and_survive_a_restart_of_their_process() -> None:
    counters: dict[str, int] = {}
    well = health_of()
    lost = msgspec.structs.replace(well, gateway={**well.gateway, "audit_dropped": 5})
    assert look(lost, counters).events == ()  # what was before the first look is not known
    more = msgspec.structs.replace(well, gateway={**well.gateway, "audit_dropped": 12})
    (event,) = look(more, counters).events
    assert (event.alert, event.words) == ("audit_records_lost", "The gateway lost 7 lines of its audit trail")
    anew = msgspec.structs.replace(well, gateway={**well.gateway, "audit_dropped": 2})
    (event,) = look(anew, counters).events
    assert event.words == "The gateway lost 2 lines of its audit trail"
    assert look(anew, counters).events == ()


def test_a_service_that_was_started_again_is_told() -> None:
    counters: dict[str, int] = {}
    unit = UnitHealth(name="sentry-agent.service", active="active", wanted=True)
    look(health_of(units=(unit,)), counters)
    (event,) = look(health_of(units=(msgspec.structs.replace(unit, restarts=1),)), counters).events
    assert (event.alert, event.subject) == ("service_restarted", "sentry-agent.service")
