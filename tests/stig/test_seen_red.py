"""Every automated rule is seen open on a machine that breaks it, and not_a_finding again once that is mended.

The breaks are independent of each other, so one scan sees them all. What is broken is what runs: files the daemons have
read, the packet filter in the kernel, accounts, and the running configuration.
"""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from images.paths import REPO, Layout
from images.run import run
from stig import written
from tests.lab import Lab, Measured

SCAN_SECONDS = 60.0  # what a whole scan may take
OPEN_IN_THE_LAB = "V-251006"  # the lab has no central log server
LOG_PORT = 6514
COPIES = "/run/stig-seen-red"
RSYSLOG = "/etc/rsyslog.conf"

pytestmark = pytest.mark.appliance

Results = dict[str, dict[str, Any]]
Scan = Callable[[], Results]


@dataclass(frozen=True, slots=True)
class Edit:
    """A file that is broken by a sed expression, and the command that makes the daemon read it."""

    rules: tuple[str, ...]
    path: str
    expression: str
    then: tuple[str, ...] = ()


EDITS = (
    Edit(("V-250986",), "/etc/security/faillock.conf", "s/^deny = .*/deny = 10/"),
    Edit(
        ("V-250989", "V-250990", "V-250991", "V-250992", "V-250993"),
        "/etc/security/pwquality.conf",
        r"s/^minlen = .*/minlen = 8/; s/^\([udlo]\)credit = .*/\1credit = 0/",
    ),
    Edit(("V-250987",), "/etc/issue.net", "s/.*/Welcome/"),
    Edit(("V-250995",), "/etc/ssl/openssl.cnf", "s/^openssl_conf/# openssl_conf/"),
    Edit(
        ("V-251013",),
        "/etc/sentry/portal.json",
        's/"maximum": "1.2"/"maximum": "1.3"/',
        ("systemctl", "restart", "sentry-portal.service"),
    ),
    Edit(
        ("V-250999",),
        "/etc/chrony/chrony.conf",
        "0,/^server /{/^server /d}",
        ("systemctl", "restart", "chrony.service"),
    ),
)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
SETTINGS = (
    "ssh max_sessions 6",
    "cli idle_minutes 30",
    "portal idle_minutes 20",
    f"gateway observe until {TOMORROW:%Y-%m-%dT%H:%MZ}",
)
BY_SETTINGS = ("V-250982", "V-250996", "V-250984")
OBSERVED = ("V-251008", "V-251010")  # what is looked at can break them, and does not prove them
FIREWALL, ACCOUNT = "V-250983", "V-251003"
BROKEN = {*BY_SETTINGS, FIREWALL, ACCOUNT, *(rule for edit in EDITS for rule in edit.rules)}


@pytest.fixture
def scan(lab: Lab, layout: Layout, tmp_path: Path, measured: Measured) -> Scan:
    """Scan the appliance; the results by rule."""

    def scanned() -> Results:
        argv = [sys.executable, "-m", "stig", "scan", "--appliance", str(layout.appliance), "--out", str(tmp_path)]
        run(argv, cwd=REPO, seconds=3 * SCAN_SECONDS)
        tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        measured("a scan of the appliance", tree["seconds"])
        assert tree["seconds"] < SCAN_SECONDS
        return {one["rule"]: one for one in tree["results"] if one["stig"] != "GPOS"}  # those are seen elsewhere

    return scanned


@contextmanager
def edited(lab: Lab, edit: Edit) -> Iterator[None]:
    """The file broken, and as it was afterwards whatever happens."""
    copy = f"{COPIES}/{edit.path.replace('/', '_')}"
    lab.root("install", "-d", "-m", "0700", COPIES)
    lab.root("cp", "-a", edit.path, copy)
    try:
        lab.root("sed", "-i", edit.expression, edit.path)
        assert lab.root("cmp", "-s", copy, edit.path, check=False).code != 0, f"{edit.path} was not changed"
        if edit.then:
            lab.root(*edit.then)
        yield
    finally:
        lab.root("mv", "-f", copy, edit.path)
        if edit.then:
            lab.root(*edit.then)


@contextmanager
def stranger(lab: Lab) -> Iterator[None]:
    """An account nobody has authorised."""
    lab.root("useradd", "--no-create-home", "--shell", "/bin/sh", "mallory")
    try:
        yield
    finally:
        lab.root("userdel", "mallory")


@contextmanager
def rule(lab: Lab, chain: str, *words: str) -> Iterator[None]:
    """One more rule at the head of a chain of the packet filter."""
    said = lab.root("nft", "-a", "-e", "insert", "rule", "inet", "sentry", chain, *words).stdout
    handle = re.findall(r"# handle (\d+)", said)[-1]
    try:
        yield
    finally:
        lab.root("nft", "delete", "rule", "inet", "sentry", chain, "handle", handle)


@contextmanager
def committed(lab: Lab, *settings: str) -> Iterator[None]:
    """Settings committed by an administrator, and the revision before them afterwards."""
    enter = ("enable", lab.enable_secret)
    kept = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept if row["current"] == "*")
    lab.cli(*enter, "configure terminal", *settings, "commit")
    try:
        yield
    finally:
        lab.cli(*enter, "configure terminal", f"rollback {number}")


@contextmanager
def forwarding(lab: Lab) -> Iterator[None]:
    """A central log server on the management side, and rsyslog sending it everything."""
    peer = lab.addresses.management.rsplit(".", 1)[0] + ".1"
    action = f'action(type="omfwd" target="{peer}" port="{LOG_PORT}" protocol="tcp")'
    expression = f's|^ruleset(name="sentryAudit".*|&\\n    {action}|; $a *.* {action}'
    edit = Edit((OPEN_IN_THE_LAB,), RSYSLOG, expression, ("systemctl", "restart", "rsyslog.service"))
    with ExitStack() as held:
        held.enter_context(socket.create_server((peer, LOG_PORT)))
        held.enter_context(rule(lab, "output", "ip", "daddr", peer, "tcp", "dport", str(LOG_PORT), "accept"))
        held.enter_context(edited(lab, edit))
        # rsyslog connects with its first message.
        lab.root("logger", "--", "a line for the central log server")
        yield


def test_broken_rules_are_open_and_mended_ones_are_not(lab: Lab, scan: Scan) -> None:
    """All rules at once: red while broken, green after; the one that is open here is green while logs are forwarded."""
    with ExitStack() as held:
        held.enter_context(committed(lab, *SETTINGS))
        for edit in EDITS:
            held.enter_context(edited(lab, edit))
        held.enter_context(stranger(lab))
        held.enter_context(rule(lab, "input", "tcp", "dport", "8443", "accept"))
        held.enter_context(forwarding(lab))
        red = scan()
    green = scan()
    automated = {name for name, one in green.items() if one["evidence"]}
    assert automated == BROKEN | {OPEN_IN_THE_LAB}
    assert {name: red[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "open")
    assert {name: green[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "not_a_finding")
    assert {name: red[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "open")
    assert {name: green[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "not_reviewed")
    assert (red[OPEN_IN_THE_LAB]["status"], green[OPEN_IN_THE_LAB]["status"]) == ("not_a_finding", "open")


def test_a_scan_with_the_wrong_key_gives_errors_and_no_verdict(layout: Layout, lab: Lab, tmp_path: Path) -> None:
    """Whoever cannot look knows nothing: neither a pass nor a finding, and the reports are written."""
    key = tmp_path / "stranger"
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(key)])
    argv = [sys.executable, "-m", "stig", "scan", "--appliance", str(layout.appliance), "--out", str(tmp_path)]
    run([*argv, "--key", str(key), "--admin-key", str(key)], cwd=REPO, seconds=3 * SCAN_SECONDS)
    tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert tree["counts"]["total"] == len(written.load().rules)
    # Only what a stranger may see is decided.
    decided = {one["rule"] for one in tree["results"] if one["status"] in ("not_a_finding", "open")}
    assert decided == {"V-250987"}
    assert tree["seconds"] < SCAN_SECONDS
    assert {one["reason"] != "" for one in tree["results"] if one["status"] == "error"} == {True}
