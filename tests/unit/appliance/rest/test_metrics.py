"""Numbers for Prometheus: their names are frozen, and their text is what Prometheus reads."""

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.configd.api import Health, Metrics, UnitHealth
from appliance.rest import metrics
from sentry_runtime import control
from sentry_runtime.metrics import Counters
from tests.unit.appliance.rest.conftest import Stand

HEALTH = Health(
    units=(
        UnitHealth(name="sentry-gateway.service", active="active", wanted=True),
        UnitHealth(name='odd"\\\n.service', active="failed", wanted=True, restarts=3),
    ),
    gateway={**msgspec.structs.asdict(Counters(requests=7, connections_now=2)), "workers": 2, "state": "serving"},
    agent={"link": "up", "devices": 5_000, "rounds": 3, "questions": 1, "link_seconds": 60},
    device_cache_size=10_000,
    disks={"/": 41, "/var": 7},
    synchronised=True,
    thorough=True,
    fips=False,
    certificates={"portal": "2026-12-31T00:00:00Z", "gateway": "not a time"},
    sessions=2,
)
FROZEN = {
    "sentry_config_revision", "sentry_commit_waiting", "sentry_clock_synchronised", "sentry_fips_mode",
    "sentry_disk_used_ratio", "sentry_certificate_expiry_timestamp_seconds", "sentry_device_list_capacity",
    "sentry_unit_active", "sentry_unit_wanted", "sentry_unit_restarts_total", "sentry_gateway_up", "sentry_agent_up",
    "sentry_agent_uem_link_up", "sentry_gateway_connections_total", "sentry_gateway_connections_refused_total",
    "sentry_gateway_connections_silent_total", "sentry_gateway_handshakes_failed_total",
    "sentry_gateway_certificates_refused_total", "sentry_gateway_requests_total", "sentry_gateway_allowed_total",
    "sentry_gateway_blocked_total", "sentry_gateway_denied_total", "sentry_gateway_malformed_total",
    "sentry_gateway_first_contacts_total", "sentry_gateway_undecided_total", "sentry_gateway_logons_refused_total",
    "sentry_gateway_logons_rested_total", "sentry_gateway_backend_failures_total", "sentry_gateway_redirected_total",
    "sentry_gateway_revoked_total", "sentry_gateway_softened_total", "sentry_gateway_throttled_total",
    "sentry_gateway_unprovisioned_total", "sentry_gateway_provisioned_total", "sentry_gateway_backend_provisions_total",
    "sentry_gateway_backend_wipes_total", "sentry_gateway_backend_wipes_acknowledged_total", "sentry_gateway_cut_total",
    "sentry_gateway_wipes_handed_out_total", "sentry_gateway_wipes_acknowledged_total", "sentry_gateway_bytes_in_total",
    "sentry_gateway_bytes_out_total", "sentry_gateway_audit_lines_total", "sentry_gateway_audit_dropped_total",
    "sentry_gateway_connections_open", "sentry_gateway_exchanges_open", "sentry_gateway_workers",
    "sentry_agent_rounds_total", "sentry_agent_repaired_total", "sentry_agent_pushes_total",
    "sentry_agent_push_peers_refused_total", "sentry_agent_questions_total", "sentry_agent_by_fail_mode_total",
    "sentry_agent_wipe_reports_total", "sentry_agent_devices", "sentry_agent_devices_provisional",
    "sentry_agent_device_list_bytes", "sentry_agent_questions_open", "sentry_agent_wipes_unreported",
    "sentry_agent_link_seconds", "sentry_sessions",
}  # fmt: skip
"""Dashboards and alarms are made of these: one that goes or is called otherwise breaks them."""


def read(text: str) -> dict[str, dict[str, float]]:
    """The samples by name and labels, as Prometheus' own parser reads them."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
    return found


def test_the_names_are_frozen() -> None:
    told = metrics.families(Metrics(health=HEALTH, revision=3, waiting=True))
    assert {family.name for family in told} == FROZEN
    assert len(told) == len(FROZEN)
    for family in told:
        assert family.name.endswith("_total") == (family.kind == "counter")


def test_every_counter_of_the_gateway_is_told() -> None:
    assert {*metrics.GATEWAY_COUNTERS, "connections_now", "exchanges_now"} == set(Counters.__struct_fields__)


def test_prometheus_reads_them() -> None:
    found = read(metrics.page(Metrics(health=HEALTH, revision=3, waiting=True)))
    assert found["sentry_gateway_requests_total"] == {"": 7.0}
    assert found["sentry_agent_devices"] == {"": 5_000.0}
    assert found["sentry_unit_restarts_total"]['odd"\\\n.service'] == 3.0
    assert found["sentry_disk_used_ratio"] == {"/": 0.41, "/var": 0.07}
    assert found["sentry_certificate_expiry_timestamp_seconds"] == {"portal": 1_798_675_200.0}
    assert (found["sentry_fips_mode"], found["sentry_commit_waiting"]) == ({"": 0.0}, {"": 1.0})


def test_what_is_not_known_has_no_sample() -> None:
    empty = Health(
        units=(),
        gateway={},
        agent={},
        device_cache_size=0,
        disks={},
        synchronised=None,
        thorough=False,
        fips=None,
        certificates={},
    )
    found = read(metrics.page(Metrics(health=empty, revision=0, waiting=False)))
    assert found["sentry_gateway_up"] == {"": 0.0}
    assert set(found) == {
        "sentry_config_revision", "sentry_commit_waiting", "sentry_device_list_capacity", "sentry_gateway_up",
        "sentry_agent_up",
    }  # fmt: skip


@pytest.fixture
def measured(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A machine on which the commands that are looked at say something."""
    commands = stand.daemon.commands
    block = "Id=sentry-gateway.service\nActiveState=active\nUnitFileState=enabled\nConditionResult=yes\nNRestarts=1\n"
    monkeypatch.setattr(commands, "_systemctl", lambda _argv, _stdin: block, raising=False)
    monkeypatch.setattr(commands, "_df", lambda _argv, _stdin: "Use% Mounted on\n 41% /\n", raising=False)
    monkeypatch.setattr(commands, "_openssl", lambda _argv, _stdin: "", raising=False)
    monkeypatch.setattr(commands, "_chronyc", lambda _argv, _stdin: "", raising=False)
    monkeypatch.setattr("appliance.configd.facts.crypto.fips", lambda _context, _argument: _Said())
    stand.daemon.told[control.Status] = dict(HEALTH.gateway)
    return stand


class _Said:
    lines = ("FIPS 140 mode is enabled",)


def test_they_are_served_to_a_token_with_their_scope(measured: Stand) -> None:
    answer = measured.ask("GET", "/api/v1/metrics", measured.token("prometheus", "auditor", scopes=("metrics",)))
    assert (answer.status, answer.headers["content-type"]) == (200, metrics.CONTENT_TYPE)
    found: dict[str, Any] = read(answer.data.decode())
    assert found["sentry_config_revision"] == {"": 1.0}
    assert found["sentry_unit_active"] == {"sentry-gateway.service": 1.0}
    assert found["sentry_gateway_requests_total"] == {"": 7.0}
    other = measured.ask("GET", "/api/v1/metrics", measured.token("reader", "auditor", scopes=("read",)))
    assert (other.status, other.kind) == (403, "permission")


def test_a_scrape_is_no_line_of_the_trail_but_the_token_s_use_is(measured: Stand) -> None:
    token = measured.token("prometheus", "auditor", scopes=("metrics",))
    measured.daemon.ledger.entries.clear()
    measured.ask("GET", "/api/v1/metrics", token)
    assert [entry.event for entry in measured.daemon.ledger.entries] == ["session.token"]
