"""What `show` says, from what the machine says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.alerts.api import Report
from appliance.configd import facts
from appliance.configd.api import Shown
from appliance.configd.errors import RefusedError
from appliance.configd.facts.context import LINES, Context
from sentry_runtime.control import ControlError, NamedPolicy, Redirected
from sentry_runtime.devices.record import Record
from tests.unit.appliance.configd.shown import Box, lines, nobody, pairs, rows
from tests.unit.appliance.workbench import Daemon

ADDRESSES = (
    '[{"ifname":"mgmt0","operstate":"UP","address":"02:00:00:00:00:01","mtu":1500,'
    '"addr_info":[{"local":"10.98.2.2","prefixlen":24}]}]'
)


def test_an_unknown_topic_names_the_known_ones(context: Context) -> None:
    with pytest.raises(RefusedError, match="found the topic 'passwords'; allowed: acl, agent, alerts, alerts-delivery"):
        facts.show("passwords", "", context)


@pytest.mark.parametrize("topic", sorted(name for name, one in facts.TOPICS.items() if not one.argument))
def test_a_topic_without_argument_takes_none(context: Context, topic: str) -> None:
    with pytest.raises(RefusedError, match=f"after {topic}; allowed: nothing"):
        facts.show(topic, "; reboot", context)


@pytest.mark.parametrize("topic", sorted(facts.TOPICS))
def test_every_topic_answers_before_the_first_commit_or_says_what_does_not(
    box: Box, tmp_path: Path, topic: str
) -> None:
    box.files["/proc/uptime"] = "10.0 20.0\n"
    context = replace(Daemon(tmp_path).context(), system=box, attempt=box.attempt, call=nobody)
    argument = "ABC" if topic == "device" else ""
    of_devices = ("device", "device-states", "devices", "policies", "redirects", "revocation")
    if topic in (*of_devices, "alerts", "alerts-delivery", "alerts-ids", "facts"):
        with pytest.raises(ControlError, match="nobody is there"):
            facts.show(topic, argument, context)
        return
    shown = facts.show(topic, argument, context)
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Shown) == shown


REPORT = Report(
    server="",
    sender="",
    recipients=(),
    per_hour=10,
    batch_minutes=5,
    actions={},
    sent_last_hour=0,
    rows=(),
    lost=0,
    answer="",
    problem="",
)


def test_no_topic_shows_a_secret(box: Box, context: Context) -> None:
    box.files["/proc/uptime"] = "10.0 20.0\n"
    answers: dict[Any, Any] = {list[Record]: [], list[NamedPolicy]: [], list[Redirected]: [], Report: REPORT}
    context = replace(context, call=lambda _path, _request, kind=Any: answers.get(kind, {}))
    for topic in facts.TOPICS:
        shown = str(facts.show(topic, "ABC" if topic == "device" else "", context))
        assert "secret:" not in shown, topic
        assert "hunter22" not in shown, topic


def test_every_topic_has_a_line_of_help() -> None:
    assert len(facts.TOPICS) >= 30
    assert all(topic.help for topic in facts.TOPICS.values())


def test_interfaces(box: Box, context: Context) -> None:
    box.prints["ip -json"] = ADDRESSES
    assert rows(facts.show("interfaces", "", context)) == (
        ("mgmt0", "", "up", "10.98.2.2/24", "02:00:00:00:00:01", "1500"),
    )


def test_ports_tell_who_listens(box: Box, context: Context) -> None:
    row = "0: 00000000:20FB 00000000:0000 0A 0"
    box.files["/proc/net/tcp"] = f"head\n {row}\n"
    assert rows(facts.show("ports", "", context)) == (("8443/tcp", "portal", "every", "yes"),)
    box.files["/proc/net/tcp"] = f"head\n {row.replace('0A', '01')}\n"
    assert rows(facts.show("ports", "", context))[0][-1] == "no"


def test_the_firewall_is_the_flows_or_the_counters(box: Box, context: Context) -> None:
    assert rows(facts.show("firewall", "", context)) == (("portal", "in", "tcp", "8443", "every", "anybody", ""),)
    box.prints["nft list"] = "table inet x {\n chain in {\n  counter packets 3 bytes 9 drop\n  accept\n }\n}\n"
    assert lines(facts.show("firewall", "counters", context)) == ("chain in {", "counter packets 3 bytes 9 drop")
    with pytest.raises(RefusedError, match="allowed: counters"):
        facts.show("firewall", "all", context)


def test_sessions_and_users(context: Context) -> None:
    assert rows(facts.show("sessions", "", context)) == (
        ("alice", "administrator", "no", "cli", "192.0.2.7", "0", "0"),
    )
    assert [row[:2] for row in rows(facts.show("users", "", context))] == [
        ("albert", "auditor"),
        ("alice", "administrator"),
        ("olga", "operator"),
    ]


def test_the_clock_is_synchronised_only_with_a_source(box: Box, context: Context) -> None:
    box.prints["chronyc -c"] = "0A620201,10.98.2.1,3,1800000000.1\n"
    assert pairs(facts.show("clock", "", context)) == {
        "time": "2027-01-15T08:00:00Z",
        "synchronised": "yes, 10.98.2.1 (stratum 3)",
    }
    box.prints["chronyc -c"] = "00000000,,0,0.0\n"
    assert pairs(facts.show("clock", "", context))["synchronised"] == "no"


def test_time_servers(box: Box, context: Context) -> None:
    box.prints["chronyc -n"] = "^,*,10.98.2.1,2,6,377,21,0.1,0.1,0.1\n^,?,10.98.3.1,0,6,0,4294967295,0,0,0\n"
    assert rows(facts.show("ntp", "", context)) == (
        ("10.98.2.1", "in use", "2", "21"),
        ("10.98.3.1", "unreachable", "0", "4294967295"),
    )


def test_the_audit_trail_is_bounded(box: Box, context: Context) -> None:
    box.prints["journalctl --no-pager"] = "\n".join(str(number) for number in range(500))
    shown = lines(facts.show("log", "", context))
    assert (len(shown), shown[-1]) == (LINES, "499")
    assert "_SYSTEMD_UNIT=sentry-configd.service" in box.ran[-1]  # anybody may claim a tag, nobody another unit
    assert box.ran[-1][-2:] == ["SYSLOG_IDENTIFIER=sentry-tally", "_UID=0"]  # and nobody to be root
    facts.show("log", "gateway", context)
    assert box.ran[-1] == ["tail", "-n", "200", "--", "/var/log/sentry/audit.log"]
