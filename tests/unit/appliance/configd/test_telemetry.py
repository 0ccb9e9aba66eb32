"""What `show syslog` and `show snmp` say, from rsyslog's own counters and the kernel's connections."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.store import Kept
from appliance.configd import facts
from appliance.configd.api import Facts, Table
from appliance.configd.facts import telemetry
from appliance.configd.facts.context import Context
from appliance.configd.facts.telemetry import Queue
from appliance.features import snmp_users, syslog
from appliance.process import Finished
from tests.unit.appliance.workbench import ACCOUNTS, Daemon

SIEM = {
    "address": "192.0.2.9", "port": 6514, "protocol": "tls", "zone": "management", "facilities": ["audit", "auth"],
    "level": "info", "enabled": True, "queue_mib": 64, "peer_name": "siem.example.com",
}  # fmt: skip
SNMP = {
    "enabled": True, "protocol": "v3", "managers": ["192.0.2.0/24"], "link_traps": True,
    "users": {"monitor": {"auth": "sha-256", "privacy": "aes-256", "auth_passphrase": "secret:x"}},
    "traps": {"noc": {"address": "192.0.2.7", "port": 162, "user": "monitor"}},
}  # fmt: skip
INTERNAL = "bc" * 32
DATE = "Thu Nov 26 22:00:00 2026: "
CONNECTED = '0 0 198.51.100.2:45678 192.0.2.9:6514 users:(("rsyslogd",pid=7,fd=9))\n'


REFUSED = """\
2026-11-26T21:00:00Z Warning: Key file is not set [v8.2504.0 try x ]
2026-11-26T21:00:00Z cannot connect to 192.0.2.9:6514 (took 0.0 s): Connection refused [v8.2504.0 try x ]
2026-11-26T21:00:00Z action 'siem' suspended (module 'builtin:omfwd'), retry 0. There should be messages before [v8.2504.0]
"""
WRONG_NAME = """\
2026-11-26T21:00:05Z nsd_ossl: TLS Connection initiated with remote syslog server '192.0.2.9'. [v8.2504.0]
2026-11-26T21:00:05Z nsd_ossl: Information, no shared curve between syslog client '192.0.2.9' and server [v8.2504.0]
2026-11-26T21:00:05Z net_ossl:TLS session terminated: peer name not authorized, not permitted to talk to \
name: /CN=mallory.lab.test;  [v8.2504.0 try x ]
"""
WRONG_AUTHORITY = """\
2026-11-26T21:00:06Z Certificate error at depth: 0   issuer  = /CN=Stranger  err 20:unable to get - peer '192.0.2.10' [v8.2504.0]
2026-11-26T21:00:06Z SSL_ERROR_SSL Error in 'osslHandshakeCheck Client': 'error:00000001' [v8.2504.0]
2026-11-26T21:00:06Z net_ossl:remote '192.0.2.10' Error Stack: SSL routines::certificate verify failed [v8.2504.0]
2026-11-26T21:00:06Z nsd_ossl:TLS session terminated with .192.0.2.10.:Handshake failed [v8.2504.0]
"""


def record(name: str, origin: str = "core.queue", **counters: int) -> str:
    """A line of impstats."""
    said = {key.replace("_", "."): value for key, value in counters.items()}
    return f"{DATE}{json.dumps({'name': name, 'origin': origin, **said})}\n"


def whole(*records: str) -> str:
    """A complete set."""
    return f"{DATE}BEGIN\n{''.join(records)}{DATE}END\n"


@dataclass
class Box:
    """A machine whose commands print what the test says, by their first word and their last."""

    prints: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def attempt(self, argv: list[str]) -> Finished:
        found = self.prints.get(argv[-1], self.prints.get(argv[0]))
        return Finished(1, "", "") if found is None else Finished(0, found, "")

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        raise AssertionError(argv)

    def secret(self, reference: str) -> str:
        raise AssertionError(reference)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def context(box: Box, tmp_path: Path) -> Context:
    daemon = Daemon(tmp_path)
    daemon.commit({"name": "box", "users": {"accounts": ACCOUNTS}})
    return replace(daemon.context(), system=box, attempt=box.attempt)


def running(context: Context, tree: dict[str, Any]) -> Context:
    """The same machine with another configuration."""
    return replace(context, running=Kept(number=7, when="", user="", comment="", tree=tree, files=()))


def servers(context: Context, **named: Any) -> list[dict[str, str]]:
    """`show syslog` with these log servers."""
    shown = facts.show("syslog", "", running(context, {"syslog": {"servers": named}}))
    assert isinstance(shown, Table)
    return [dict(zip(shown.columns, row, strict=True)) for row in shown.rows]


def test_a_machine_without_a_configuration_has_no_log_servers(context: Context) -> None:
    assert servers(context) == []
    shown = facts.show("syslog", "", replace(context, running=None))
    assert isinstance(shown, Table)
    assert shown.rows == ()


def test_a_server_that_is_connected_says_so(context: Context, box: Box) -> None:
    box.prints = {
        syslog.STATISTICS: whole(record("siem", "core.action", processed=9), record("siem queue", size=0)),
        "ss": CONNECTED,
        syslog.PROBLEMS: "2026-11-26T21:00:00Z action 'siem' suspended (module 'builtin:omfwd')\n",
        "established": CONNECTED,
    }
    (row,) = servers(context, siem=SIEM)
    assert (row["server"], row["address"], row["protocol"]) == ("siem", "192.0.2.9:6514", "tls")
    assert (row["facility types"], row["level"], row["admin state"]) == ("audit, auth", "info", "enabled")
    assert (row["state"], row["waiting"], row["lost"], row["last problem"]) == ("connected", "0", "0", "")


def test_a_server_that_is_away_has_a_queue_and_a_reason(context: Context, box: Box) -> None:
    box.prints = {
        syslog.STATISTICS: whole(
            record("siem queue", size=40, discarded_full=3), record("siem queue[DA]", size=60, discarded_full=4)
        ),
        syslog.PROBLEMS: REFUSED,
    }
    (row,) = servers(context, siem=SIEM)
    assert (row["state"], row["waiting"], row["on disk"], row["lost"]) == ("away", "100", "60", "7")
    assert (
        row["last problem"] == "2026-11-26T21:00:00Z cannot connect to 192.0.2.9:6514 (took 0.0 s): Connection refused"
    )


def test_a_reason_that_names_nobody_is_about_whom_was_named_last(context: Context, box: Box) -> None:
    """As rsyslog says it of a certificate with another name, and of another server's authority."""
    box.prints = {syslog.PROBLEMS: REFUSED + WRONG_NAME + WRONG_AUTHORITY}
    first, second = servers(context, other={**SIEM, "address": "192.0.2.10"}, siem=SIEM)
    assert "certificate verify failed" in first["last problem"]
    assert "not permitted to talk to name: /CN=mallory.lab.test" in second["last problem"]


@pytest.mark.parametrize(
    ("changed", "held", "connected", "said"),
    [
        ({"enabled": False}, Queue(5, 5), True, "disabled"),
        ({}, None, True, "not known yet"),
        ({"protocol": "udp"}, Queue(), False, "sent unseen"),
        ({}, Queue(), False, "nothing sent yet"),
        ({}, Queue(1), False, "away"),
        ({}, Queue(9, 8), True, "catching up"),
        ({}, Queue(1), True, "connected"),
    ],
)
def test_the_state_is_what_becomes_of_the_next_line(
    changed: dict[str, Any], held: Queue | None, connected: Any, said: str
) -> None:
    (server,) = syslog.servers({"syslog": {"servers": {"siem": {**SIEM, **changed}}}})
    assert telemetry.state(server, held, connected=connected) == said


def test_only_the_newest_complete_set_of_counters_counts() -> None:
    """A set that is being written, a line that was cut, and what is older are left out."""
    old, new = whole(record("a queue", size=1)), whole(record("a queue", size=2), f'{DATE}{{"name": "cut\n')
    begun = f"{DATE}BEGIN\n{record('a queue', size=3)}"
    assert telemetry.queue("a", telemetry.counters(old + new + begun)) == Queue(waiting=2)
    assert telemetry.counters(begun) == ()
    assert telemetry.queue("b", telemetry.counters(new)) is None


def test_other_programs_connections_are_not_rsyslogs() -> None:
    assert telemetry.connections(CONNECTED) == {6514}
    assert telemetry.connections(CONNECTED.replace("rsyslogd", "python3")) == frozenset()


def test_snmp_says_who_is_answered_and_never_a_key(context: Context, box: Box) -> None:
    box.prints = {
        "snmpd.service": "active\n",
        "ss": 'UNCONN 0 0 10.98.2.2:161 0.0.0.0:* users:(("snmpd",pid=9,fd=6))\n',
    }
    box.files = {snmp_users.ENGINE: f"{'0a' * 16} {INTERNAL}"}
    shown = facts.show("snmp", "", running(context, {"snmp": SNMP}))
    assert isinstance(shown, Facts)
    said = dict(shown.facts)
    assert (said["SNMP"], said["service"], said["listens on"]) == ("enabled", "active", "10.98.2.2:161")
    assert (said["user monitor"], said["traps to noc"]) == ("authPriv, sha-256, aes-256", "192.0.2.7:162 as monitor")
    assert said["engine id"] == f"80001f8805{'0a' * 16}"
    assert "secret" not in str(shown)
    assert INTERNAL not in str(shown)


def test_snmp_that_is_off_listens_nowhere(context: Context) -> None:
    shown = facts.show("snmp", "", running(context, {"snmp": {**SNMP, "enabled": False}}))
    assert isinstance(shown, Facts)
    assert (dict(shown.facts)["SNMP"], dict(shown.facts)["listens on"]) == ("disabled", "nothing")
