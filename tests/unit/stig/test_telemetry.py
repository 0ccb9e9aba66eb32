"""The audit trail's way off the machine, what its records say, and SNMP: good when all is, open for each way to break it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from stig.judge import telemetry
from stig.judge.upkeep import Logging
from stig.parse import rsyslog
from stig.probe.snmp import LEVELS, Answer

GOOD, OPEN = "not_a_finding", "open"
CONFIGURATION = """
ruleset(name="sentryAudit") {
    action(type="omfile" file="/var/log/x")
call to_siem
}
input(type="imptcp" path="/run/sentry-audit/audit.sock" ruleset="sentryAudit")
ruleset(name="to_siem") {
    action(type="omfwd" name="siem" target="192.0.2.9" port="6514" protocol="tcp")
}
if $.kind == "audit" then call to_siem
"""
ROW = {
    "server": "siem", "address": "192.0.2.9:6514", "protocol": "tls", "facility types": "audit, auth", "level": "info",
    "admin state": "enabled", "state": "connected", "waiting": "0", "on disk": "0", "lost": "0", "last problem": "",
}  # fmt: skip
REQUEST: dict[str, Any] = {
    "time": "2026-11-26T22:00:00.001Z", "id": "1", "event": "request", "source": "192.0.2.1", "listener": "192.0.2.2:443",
}  # fmt: skip
OUTCOME = {**REQUEST, "event": "outcome", "action": "allow", "device_id": "d", "principal": "p"}


def logging_of(text: str, *, active: bool = True) -> Logging:
    return Logging(active, rsyslog.forwards(text), rsyslog.inputs(text), ())


def offload(*, text: str = CONFIGURATION, active: Any = True, **changed: str) -> telemetry.Offload:
    shown = msgspec.json.decode(json.dumps({"rows": [{**ROW, **changed}]}), type=telemetry.Shown)
    return telemetry.Offload(shown.rows, logging_of(text, active=active))


def test_a_ruleset_that_is_called_forwards_for_its_caller() -> None:
    found = {(one.ruleset, one.selector) for one in rsyslog.forwards(CONFIGURATION)}
    assert found == {("to_siem", "*.*"), ("sentryAudit", "*.*"), ("", 'if $.kind == "audit" then')}


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        (r"MinProtocol=TLSv1.2\nMaxProtocol=TLSv1.2", ("1.2", "1.2")),
        (r"MinProtocol=TLSv1.2\nMaxProtocol=TLSv1.3", ("1.2", "1.3")),
        ("", ("", "")),
    ],
)
def test_the_versions_of_a_way_with_tls_are_read(versions: str, found: tuple[str, str]) -> None:
    text = f'action(type="omfwd" target="a" port="1" StreamDriverMode="1" gnutlsPriorityString="{versions}")'
    (one,) = rsyslog.secured(text)
    assert (one.target, one.minimum, one.maximum) == ("a:1", *found)
    assert rsyslog.secured(CONFIGURATION) == ()


def test_what_rsyslog_itself_resolves_is_read(recorded: Callable[[str], str]) -> None:
    """The rules of the trail stand in a file of their own, which rsyslog shows where it reads it."""
    text = recorded("rsyslog_forwarding")
    assert {one.ruleset for one in rsyslog.forwards(text)} == {"to_siem", "sentryAudit", "sentryAuditRecords", ""}
    assert rsyslog.secured(text) == (rsyslog.Secured("10.98.2.1:6514", "1.2", "1.2"),)
    assert telemetry.gateway(offload(text=text)).status == GOOD
    assert telemetry.administrators(offload(text=text)).status == GOOD


JUDGES = (telemetry.administrators, telemetry.gateway, telemetry.real_time)


@pytest.mark.parametrize("judge", JUDGES)
def test_a_trail_that_arrives_is_no_finding(judge: Callable[[telemetry.Offload], Any]) -> None:
    assert judge(offload()).status == GOOD


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    "changed",
    [
        {"facility types": "auth, system"},
        {"admin state": "disabled"},
        {"state": "away"},
        {"state": "sent unseen"},
        {"lost": "3"},
        {"address": "127.0.0.1:6514"},
    ],
)
def test_a_server_that_does_not_get_it_is_open(
    judge: Callable[[telemetry.Offload], Any], changed: dict[str, str]
) -> None:
    assert judge(offload(**changed)).status == OPEN


@pytest.mark.parametrize("judge", JUDGES)
def test_without_a_server_or_a_daemon_it_is_open(judge: Callable[[telemetry.Offload], Any]) -> None:
    assert judge(replace(offload(), servers=())).status == OPEN
    assert judge(offload(active=False)).status == OPEN


def test_what_waits_is_late_but_not_lost() -> None:
    assert telemetry.real_time(offload(waiting="1")).status == OPEN
    assert telemetry.real_time(offload(state="catching up")).status == OPEN
    assert telemetry.gateway(offload(state="catching up", waiting="9")).status == GOOD


def test_each_trail_must_be_sent_by_the_daemons_own_configuration() -> None:
    alone = CONFIGURATION.replace("\ncall to_siem", "")
    assert (telemetry.gateway(offload(text=alone)).status, telemetry.administrators(offload(text=alone)).status) == (
        OPEN,
        GOOD,
    )
    other = CONFIGURATION.replace('if $.kind == "audit" then call to_siem', "")
    assert (telemetry.gateway(offload(text=other)).status, telemetry.administrators(offload(text=other)).status) == (
        GOOD,
        OPEN,
    )


@pytest.mark.parametrize("rule", sorted(telemetry.WANTED))
def test_records_that_say_all_are_no_finding(rule: str) -> None:
    found = telemetry.records([json.dumps(REQUEST), json.dumps(OUTCOME)])
    assert telemetry.content(rule, offload(), found).status == GOOD
    assert telemetry.content(rule, offload(state="away"), found).status == OPEN


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ("V-251015", "event"),
        ("V-251016", "time"),
        ("V-251017", "listener"),
        ("V-251018", "source"),
        ("V-251019", "action"),
        ("V-251020", "principal"),
    ],
)
def test_a_record_without_it_is_open(rule: str, field: str) -> None:
    without = {name: value for name, value in OUTCOME.items() if name != field}
    found = telemetry.records([json.dumps(OUTCOME), json.dumps(without)])
    assert telemetry.content(rule, offload(), found).status == OPEN


def test_a_line_that_is_no_record_says_nothing() -> None:
    assert telemetry.content("V-251015", offload(), telemetry.records(["no JSON"])).status == OPEN
    assert telemetry.records(["[1]", "{}"]) == ({}, {})


ANSWERS = {level: Answer(level == "authPriv", "gateway.lab.test") for level in LEVELS}
SILENCE = {version: Answer(answered=False, said="Timeout") for version in ("1", "2c")}
SNMP = telemetry.Snmp("FIPS 140 mode is enabled\nmodule: x", ("192.0.2.7:162 as monitor",), ANSWERS, SILENCE)


def test_snmp_for_authenticated_users_alone_is_no_finding() -> None:
    assert telemetry.snmp(SNMP).status == GOOD


@pytest.mark.parametrize(
    "broken",
    [
        replace(SNMP, shown="FIPS 140 mode is disabled"),
        replace(SNMP, receivers=()),
        replace(SNMP, levels={**ANSWERS, "authPriv": Answer(answered=False, said="Timeout")}),
        replace(SNMP, levels={**ANSWERS, "authNoPriv": Answer(answered=True, said="x")}),
        replace(SNMP, levels={**ANSWERS, "noAuthNoPriv": Answer(answered=True, said="x")}),
        replace(SNMP, versions={**SILENCE, "2c": Answer(answered=True, said="x")}),
        replace(SNMP, versions={**SILENCE, "1": Answer(answered=True, said="x")}),
    ],
)
def test_snmp_that_is_off_or_answers_anybody_else_is_open(broken: telemetry.Snmp) -> None:
    assert telemetry.snmp(broken).status == OPEN


def test_receivers_are_read_from_show_snmp() -> None:
    shown = telemetry.SnmpFacts({"SNMP": "enabled", "traps to noc": "192.0.2.7:162 as monitor"})
    assert telemetry.receivers(shown) == ("192.0.2.7:162 as monitor",)
