"""The log's way to a server over TLS, on the running appliance: it arrives, it waits while the server is away, and a server that
cannot prove who it is gets nothing."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.paths import Layout
from tests.appliance.log_sink import Identity, Sink, authority, issued
from tests.lab import Lab

pytestmark = pytest.mark.appliance

NAME, PORT = "siem.lab.test", 6_514
ARRIVES_SECONDS = (
    240.0  # rsyslog tries a server that was away every minute; what a whole run of tests left waiting comes first
)
SEEN_SECONDS = 240.0  # the figures come every few seconds
LINES = 300


@pytest.fixture
def sink(lab: Lab, layout: Layout, tmp_path: Path) -> Sink:
    """Where sites/lab.yml sends the log, with the certificate it names."""
    peer = lab.addresses.management.rsplit(".", 1)[0] + ".1"
    lab_authority = Identity(layout.lab / "backend-ca.pem", layout.lab / "backend-ca.key")
    return Sink(peer, PORT).shows(issued(tmp_path, lab_authority, NAME))


@pytest.fixture
def word() -> str:
    """A word that stands in no line but this test's."""
    return f"word-{secrets.token_hex(8)}"


def siem(lab: Lab) -> dict[str, str]:
    """The log server's row in `show syslog`."""
    (row,) = json.loads(lab.cli("show syslog | json").stdout)["rows"]
    return dict(row)


def shown(lab: Lab, true: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The row once `true` of it, or the last one when the time is up."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not true(row := siem(lab)) and time.monotonic() < deadline:
        time.sleep(1)
    return row


def write(lab: Lab, lines: Iterator[str] | list[str]) -> None:
    """Lines of a program on the appliance, one after the other."""
    lab.root("logger", "--tag", "sentry-test", stdin="".join(f"{line}\n" for line in lines))


def test_the_daemon_is_not_root_and_has_the_rendered_ways(lab: Lab) -> None:
    """Its own resolved configuration, and who it is."""
    assert lab.root("ps", "-o", "user:32=", "-C", "rsyslogd").stdout.split() == ["sentry-log"]
    resolved = lab.root("rsyslogd", "-N1", "-o", "/dev/stdout").stdout
    assert 'ruleset(name="to_siem")' in resolved
    assert resolved.count("call to_siem") >= 3
    for path in ("/var/log/syslog", "/var/log/auth.log", "/var/log/sentry/audit.log"):
        assert lab.root("stat", "-c", "%U:%G %a", path).stdout.strip() == "sentry-log:adm 640"


def test_what_is_audited_arrives(lab: Lab, sink: Sink) -> None:
    """The administrators' trail and the gateway's, in RFC 5424 with the machine's own name; and the server is shown connected."""
    with sink:
        lab.cli("show version")
        lab.http().get(f"{lab.gateway_url}/health", timeout=10)
        sink.wait_for([" sentry-configd ", " sentry-audit "], seconds=ARRIVES_SECONDS)
        assert all(message.startswith("<") and ">1 " in message[:7] for message in sink.messages)
        audited = next(message for message in sink.messages if " sentry-audit " in message)
        assert audited.split()[2] == lab.root("hostname", "-f").stdout.strip()
        assert json.loads(audited[audited.index("{") :])["event"]
        row = shown(lab, lambda row: row["state"] == "connected" and row["waiting"] == "0")
        assert (row["state"], row["waiting"], row["lost"], row["last problem"]) == ("connected", "0", "0", "")


def test_what_is_written_while_the_server_is_away_arrives_when_it_is_back(lab: Lab, sink: Sink, word: str) -> None:
    """From the disk, over a restart of rsyslog, each line; meanwhile it is shown as away, with what waits."""
    with sink:
        write(lab, [f"{word}-before"])
        sink.wait_for([f"{word}-before"], seconds=ARRIVES_SECONDS)
        row = shown(lab, lambda row: row["state"] == "connected")  # or what is seen next might be from before
        assert row["state"] == "connected", row
    lines = [f"{word}-{number:04}." for number in range(LINES)]
    write(lab, [f"{word}-noticed"])  # TCP may lose what is on its way when a connection breaks
    row = shown(lab, lambda row: row["state"] == "away")
    assert row["state"] == "away", row
    write(lab, lines)
    row = shown(lab, lambda row: int(row["waiting"]) >= LINES)
    assert int(row["waiting"]) >= LINES
    lab.root("systemctl", "restart", "rsyslog.service")
    assert lab.root("find", "/var/spool/rsyslog", "-name", "to_siem*").stdout.strip()
    with sink:
        sink.wait_for(lines, seconds=ARRIVES_SECONDS)
        row = shown(lab, lambda row: row["waiting"] == "0")
        assert (row["state"], row["waiting"], row["lost"]) == ("connected", "0", "0")


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_server_with_a_wrong_certificate_gets_nothing(
    wrong: str, lab: Lab, layout: Layout, sink: Sink, word: str, tmp_path: Path
) -> None:
    """Not a line, and `show syslog` says why; with the right certificate all arrives."""
    right = sink.identity
    assert right is not None
    folder = tmp_path / "wrong"
    folder.mkdir()
    lab_authority = Identity(layout.lab / "backend-ca.pem", layout.lab / "backend-ca.key")
    made = (
        issued(folder, lab_authority, "mallory.lab.test")
        if wrong == "name"
        else issued(folder, authority(folder), NAME)
    )
    with sink.shows(made):
        write(lab, [f"{word}-first", f"{word}-second"])
        sink.wait_for_failure(seconds=ARRIVES_SECONDS)
        row = shown(lab, lambda row: row["state"] == "away" and row["last problem"] != "")
        assert row["state"] == "away"
        assert "certificate" in row["last problem"] or "name" in row["last problem"], row
    assert sink.messages == []
    with sink.shows(right):
        sink.wait_for([f"{word}-second"], seconds=ARRIVES_SECONDS)
