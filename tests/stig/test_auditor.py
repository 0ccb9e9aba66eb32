"""With nothing but an auditor's SSH key: the same rules with the same results as with sudo, and no way to anything else. Then the
appliance's scan of itself."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from images.paths import REPO, Layout
from images.run import run
from stig.commands import COMMANDS, Standpoint, argv
from stig.target import source_towards
from tests.lab import Lab, Measured
from tests.stig.conftest import AUDITOR

pytestmark = pytest.mark.appliance

SCAN_SECONDS = 180.0
OWN_SECONDS = 300.0
# What a scan with sudo knows from the lab's description and this one does not, or what only one of the two sees.
BY_THE_DESCRIPTION = {"V-251000"}  # asks SNMP as a user whose passphrases the description names
BY_THE_WAY = {"V-250982", "V-251003"}  # counts sessions, of which this scan has one open; there is one more account
OF_AN_IMAGE = {"boot_menu", "secure_boot"}  # only an image has their programs

Results = dict[str, dict[str, Any]]


def scanned(out: Path, *given: str) -> dict[str, Any]:
    """The results of one scan."""
    run([sys.executable, "-m", "stig", "scan", *given, "--out", str(out)], cwd=REPO, seconds=SCAN_SECONDS)
    tree: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return tree


def by_rule(tree: dict[str, Any]) -> Results:
    return {one["rule"]: one for one in tree["results"]}


def test_a_scan_by_the_command_line_ends_as_one_with_sudo(
    lab: Lab, auditor: Lab, layout: Layout, tmp_path: Path, measured: Measured
) -> None:
    """Rule by rule, but for those that the way itself changes; nothing is in error that is not with sudo."""
    given = ["--key", str(auditor.ssh.key), "--known-hosts", str(lab.known_hosts), "--ca-file", str(lab.ca_file)]
    given += ["--gateway-address", lab.addresses.device]
    described = json.loads(layout.appliance.read_text(encoding="utf-8"))
    for name in ("answers", "devices"):
        given += [f"--{name}", str(described[name])] if described.get(name) else []
    tree = scanned(tmp_path / "auditor", f"ssh://{AUDITOR}@{lab.address}:{lab.ssh.port}", *given)
    measured("a scan as an auditor", tree["seconds"])
    found = by_rule(tree)
    with_sudo = by_rule(scanned(tmp_path / "sudo", "--appliance", str(layout.appliance)))
    differ = {rule for rule, one in found.items() if one["status"] != with_sudo[rule]["status"]}
    told = {rule: (found[rule]["status"], with_sudo[rule]["status"], found[rule]["reason"]) for rule in differ}
    assert differ <= BY_THE_DESCRIPTION | BY_THE_WAY, told
    assert len(found) > 300
    assert found["V-251000"]["status"] == "not_reviewed"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_fact_can_be_had_and_is_the_lists(auditor: Lab, name: str) -> None:
    """In the service's sandbox each command runs and sees what it is for."""
    told = json.loads(auditor.cli(f"facts {name} | json").stdout)
    assert (told["fact"], tuple(told["listed"])) == (name, COMMANDS[name])
    assert told["status"] not in (124, 126, 127) or name in OF_AN_IMAGE, told["errors"]
    assert "Permission denied" not in told["errors"]
    assert "Operation not permitted" not in told["errors"] or name in ("sysctl", "audit_loaded", "audit_status")


@pytest.mark.parametrize(
    "name", ["sshd", "accounts", "passwords", "hashes", "mounts", "loose", "keys", "sudoers", "listening"]
)
def test_what_the_service_sees_is_what_root_sees(lab: Lab, auditor: Lab, name: str) -> None:
    """Its sandbox hides nothing."""
    told = json.loads(auditor.cli(f"facts {name} | json").stdout)
    seen_from = Standpoint(admin=AUDITOR, client=source_towards(lab.address, lab.ssh.port), address=lab.address)
    seen = lab.root("env", "LC_ALL=C.UTF-8", *argv(name, seen_from), check=False).stdout
    assert lasting(told["output"]) == lasting(seen)


def lasting(output: str) -> list[str]:
    """The lines but those of a mount at /run/user: logind makes and ends these as people come and go, one between the two looks
    perhaps, and who comes again stands behind those that stayed."""
    return [line for line in output.splitlines() if not re.match(r"\S+ /run/user/", line)]


def test_an_auditor_gets_nothing_but_the_command_line(auditor: Lab) -> None:
    """No shell, no file transfer, no setting, no fact that is not in the list."""
    lines = ("sh", "cat /etc/shadow", "facts /etc/shadow", "facts sshd; id", "configure terminal", "/usr/bin/id")
    for line in lines:
        done = auditor.cli(line, check=False)
        assert done.code != 0, line
        assert "root:" not in done.stdout
    shown = auditor.cli("show facts | json").stdout
    assert {row["fact"] for row in json.loads(shown)["rows"]} == set(COMMANDS)


def test_nobody_but_configd_reaches_the_facts_service(lab: Lab) -> None:
    dial = "import socket; socket.socket(socket.AF_UNIX).connect('/run/sentry-facts/facts.sock')"
    for account in ("sentry-stig", "sentry-portal", "sentry-alerts", "sentry-gateway", "nobody"):
        done = lab.root("setpriv", "--reuid", account, "--clear-groups", "python3", "-I", "-c", dial, check=False)
        assert "PermissionError" in done.stderr, account


def test_the_facts_service_writes_nothing(lab: Lab, auditor: Lab) -> None:
    """In its own mounts, as root and with its capabilities."""
    auditor.cli("facts zone")  # it runs now
    pid = lab.root("systemctl", "show", "--property=MainPID", "--value", "sentry-facts.service").stdout.strip()
    for place in ("/etc/x", "/var/lib/sentry/x", "/root/x", "/tmp/x", "/run/x", "/usr/x"):
        done = lab.root("nsenter", "-t", pid, "-m", "touch", place, check=False)
        assert "Read-only file system" in done.stderr, place


def test_the_facts_service_comes_again_after_it_has_ended(lab: Lab, auditor: Lab) -> None:
    """As it does when nobody asks for a while: its socket is systemd's, and stays."""
    assert "UTC" in auditor.cli("facts zone").stdout
    lab.root("systemctl", "stop", "sentry-facts.service")
    assert "UTC" in auditor.cli("facts zone").stdout


def test_the_appliance_scans_itself_and_tells_what_it_found(lab: Lab, auditor: Lab, measured: Measured) -> None:
    """Started by an auditor; the facts by which it judges are those of the other scans, and it has no answer file."""
    began = time.monotonic()
    before = json.loads(auditor.cli("show stig | json").stdout)["facts"].get("last scan")
    auditor.cli("stig scan")
    while True:
        facts = json.loads(auditor.cli("show stig | json").stdout)["facts"]
        if facts["scan now"].startswith("not running") and facts["last scan"] not in ("none yet", before):
            break
        assert "FAILED" not in facts["scan now"], lab.root("journalctl", "-u", "sentry-stig.service", "-n", "40").stdout
        assert time.monotonic() - began < OWN_SECONDS
        time.sleep(2)
    measured("a scan of the appliance by itself", time.monotonic() - began)
    assert int(facts["rules"]) > 300
    found = by_rule(json.loads(lab.root("cat", "/var/lib/sentry/stig/results.json").stdout))
    assert [one["reason"] for one in found.values() if one["status"] == "error"] == []
    assert found["V-251003"]["status"] == "not_reviewed"
    shown = json.loads(auditor.cli("show stig open | json").stdout)["rows"]
    assert {row["rule"] for row in shown} == {rule for rule, one in found.items() if one["status"] == "open"}
    assert all(row["mended by"] for row in shown)


def test_a_rule_that_becomes_open_is_told(lab: Lab, auditor: Lab) -> None:
    """Broken after a scan that found it met, and mended afterwards."""
    assert "SENTRY-OS-0115" not in json.loads(auditor.cli("show stig | json").stdout)["facts"]["open and once were not"]
    path = "/etc/login.defs"
    lab.root("cp", "-a", path, "/run/login.defs.kept")
    try:
        lab.root("sed", "-i", "s/^ENCRYPT_METHOD .*/ENCRYPT_METHOD MD5/", path)
        lab.root("systemctl", "start", "sentry-stig.service", seconds=OWN_SECONDS)  # waits until it has ended
        facts = json.loads(auditor.cli("show stig | json").stdout)["facts"]
        assert "SENTRY-OS-0115" in facts["open and once were not"]
    finally:
        lab.root("mv", "-f", "/run/login.defs.kept", path)
    lab.root("systemctl", "start", "sentry-stig.service", seconds=OWN_SECONDS)
    facts = json.loads(auditor.cli("show stig | json").stdout)["facts"]
    assert "SENTRY-OS-0115" not in facts["open and once were not"]
