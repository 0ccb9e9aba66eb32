"""The CLI on the running appliance: one SSH command at a time, and what is refused."""

import json
import time

import paramiko
import pytest

from tests.appliance.terminal import connected
from tests.lab import Lab, Measured

pytestmark = pytest.mark.appliance

TOPICS = (
    "version", "clock", "uptime", "hostname", "banner", "interfaces", "ip route", "ip name-server", "ip arp", "ssh",
    "ports", "fips", "service", "portal", "gateway", "agent", "backends", "uem", "sentry devices", "sentry policies",
    "sentry redirects",
    "sentry emm-source-verify", "sentry emm-ips", "memory", "tcp", "timeout", "confirmation",
    "alerts delivery", "alerts ids", "backups",
)  # fmt: skip
NO_COMMANDS = (
    "/usr/lib/openssh/sftp-server", "/bin/sh", "bash -i", "scp -t /tmp", "show version; id", "show version && id",
    "show version | sh", "$(id)", "`id`", "show version > /tmp/x", "rsync --server --sender . /"
)  # fmt: skip


@pytest.mark.parametrize("topic", TOPICS)
def test_every_open_topic_is_answered_for_people_and_for_programs(lab: Lab, topic: str) -> None:
    assert lab.cli(f"show {topic}").stdout.strip()
    twin = json.loads(lab.cli(f"show {topic} | json").stdout)
    assert {"facts", "rows", "lines"} & set(twin)


def test_the_time_servers_are_shown_or_chrony_is_said_to_be_away(lab: Lab) -> None:
    """A container may not set the clock, so chrony does not run in it."""
    runs = lab.root("systemctl", "is-active", "--quiet", "chrony.service", check=False).code == 0
    done = lab.cli("show ntp", check=False)
    assert done.code == (0 if runs else 1)
    assert done.stdout if runs else "Cannot talk to daemon" in done.stderr


def test_the_version_is_the_appliances(lab: Lab) -> None:
    said = lab.cli("sh ver").stdout.split()
    assert said[0] == "Sentry"
    assert said[said.index("Debian") + 1].startswith("13")


def test_what_the_stig_has_an_assessor_type_is_answered_in_any_case(lab: Lab) -> None:
    assert lab.cli("show FIPS").stdout.splitlines()[0] == lab.cli("show fips").stdout.splitlines()[0]
    assert "FIPS 140 mode is" in lab.cli("show FIPS").stdout
    assert "true" in lab.cli("show sentry EMM-source-verify").stdout
    assert "127.0.0.1" in lab.cli("show sentry emm-ips").stdout


@pytest.mark.parametrize("line", NO_COMMANDS)
def test_nothing_but_a_command_is_done(lab: Lab, line: str) -> None:
    done = lab.cli(line, check=False)
    assert (done.code, done.stdout) == (1, "")
    assert "% " in done.stderr or "usage:" in done.stderr


def test_there_is_no_file_transfer(lab: Lab) -> None:
    with connected(lab) as client, pytest.raises((paramiko.SSHException, EOFError)):
        client.open_sftp()


def test_privilege_is_not_to_be_had_without_the_secret(lab: Lab) -> None:
    assert "give `enable` first" in lab.cli("show running-config", check=False).stderr
    assert "the enable secret is wrong" in lab.cli("enable", "not the secret", check=False).stderr


def test_a_script_runs_line_by_line_and_stops_at_the_first_error(lab: Lab) -> None:
    done = lab.cli("enable", lab.enable_secret, "show running-config", "show nothing", "show clock", check=False)
    assert done.code == 1
    assert "hostname gateway.lab.test" in done.stdout
    assert "Line 4: Unknown word" in done.stderr
    assert lab.enable_secret not in done.stdout + done.stderr
    assert "$6$" not in done.stdout


def test_the_cli_works_while_the_portal_is_stopped(lab: Lab) -> None:
    stopped = lab.cli("enable", lab.enable_secret, "service portal stop", "show version", "service portal start")
    assert "inactive" in stopped.stdout
    assert "Sentry " in stopped.stdout
    assert "active" in lab.cli("enable", lab.enable_secret, "service portal status").stdout


def test_an_open_session_answers_one_line_after_the_other(lab: Lab, measured: Measured) -> None:
    """How long each took is told at the end of the run, without the opening of the session."""
    lines = ["show version"] * 20
    started = time.monotonic()
    lab.cli("show clock", "show hostname")
    opening = time.monotonic() - started
    started = time.monotonic()
    assert lab.cli(*lines).stdout.count("Sentry ") == 20
    measured("show version over an open session", (time.monotonic() - started - opening) / len(lines))
