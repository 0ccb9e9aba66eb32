"""Every automated rule is seen open on a machine that breaks it, and not_a_finding again once that is mended.

The breaks are independent of each other, so one scan sees them all. What is broken is what runs: files the daemons have
read, the packet filter in the kernel, accounts, and the running configuration.
"""

import json
import re
import sys
import time
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
from tests.appliance.log_sink import Identity, Sink, issued
from tests.lab import Lab, Measured

SCAN_SECONDS = 60.0  # what a whole scan may take
# Nobody stands where the lab sends its log, unless a test does.
OPEN_IN_THE_LAB = {f"V-{number}" for number in (251002, 251006, *range(251015, 251021), 251030, 251039)}
SOMEBODY = "V-251020"  # asks who was let through, and in a lab that may be nobody yet
LOG_SERVER, LOG_PORT = "siem.lab.test", 6514
LOG_SECONDS = 90.0  # rsyslog tries a server that was away at most every minute
COPIES = "/run/stig-seen-red"

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


BY_FIPS = ("V-250995", "V-250997", "V-251001", "V-251011", "V-251012", "V-251014", "V-251036", "V-251037", "V-251038")
EDITS = (
    Edit(("V-250986",), "/etc/security/faillock.conf", "s/^deny = .*/deny = 10/"),
    Edit(
        ("V-250989", "V-250990", "V-250991", "V-250992", "V-250993"),
        "/etc/security/pwquality.conf",
        r"s/^minlen = .*/minlen = 8/; s/^\([udlo]\)credit = .*/\1credit = 0/",
    ),
    Edit(("V-250987",), "/etc/issue.net", "s/.*/Welcome/"),
    Edit(BY_FIPS, "/etc/ssl/openssl.cnf", "s/^openssl_conf/# openssl_conf/"),
    Edit(
        ("V-251013", "V-251026", "V-251027"),
        "/etc/sentry/tls-proxy.json",
        r's/"\(minimum\|maximum\)": "1.2"/"\1": "1.3"/',
        ("systemctl", "restart", "sentry-tls-proxy.service"),
    ),
    Edit(
        ("V-250999",),
        "/etc/chrony/chrony.conf",
        "0,/^server /{/^server /d}",
        ("systemctl", "restart", "chrony.service"),
    ),
    Edit(
        ("V-251000",),
        "/etc/snmp/sentry/snmpd.conf",
        r"s/^\[snmp\] disableSNMPv2c yes/rocommunity public/",
        ("systemctl", "restart", "snmpd.service"),
    ),
)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
SETTINGS = (
    "ssh max_sessions 6",
    "cli idle_minutes 30",
    "portal idle_minutes 20",
    "portal certificate_login mode off",
    "alerts actions audit_records_lost syslog",
    "alerts recipients somebody@lab.test",
    f"gateway observe until {TOMORROW:%Y-%m-%dT%H:%MZ}",
)
BY_SETTINGS = ("V-250982", "V-250988", "V-250994", "V-250996", "V-250984", "V-250998", "V-251021", "V-251035")
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
def log_server(lab: Lab, layout: Layout, folder: Path) -> Iterator[None]:
    """The log server of sites/lab.yml, which has all that was written for it, and a record of the gateway's among that."""
    peer = lab.addresses.management.rsplit(".", 1)[0] + ".1"
    authority = Identity(layout.lab / "backend-ca.pem", layout.lab / "backend-ca.key")
    with Sink(peer, LOG_PORT).shows(issued(folder, authority, LOG_SERVER)) as sink:
        lab.http().get(f"{lab.gateway_url}/health", timeout=10)
        sink.wait_for([" sentry-audit "], seconds=LOG_SECONDS)
        deadline = time.monotonic() + LOG_SECONDS
        while _log_state(lab) != ("connected", "0"):
            assert time.monotonic() < deadline, _log_state(lab)
            time.sleep(1)
        yield


def _log_state(lab: Lab) -> tuple[str, str]:
    (row,) = json.loads(lab.cli("show syslog | json").stdout)["rows"]
    return row["state"], row["waiting"]


def test_broken_rules_are_open_and_mended_ones_are_not(lab: Lab, layout: Layout, scan: Scan, tmp_path: Path) -> None:
    """All rules at once: red while broken, green after; those that are open here are green while there is a log server."""
    with ExitStack() as held:
        held.enter_context(committed(lab, *SETTINGS))
        for edit in EDITS:
            held.enter_context(edited(lab, edit))
        held.enter_context(stranger(lab))
        held.enter_context(rule(lab, "input", "tcp", "dport", "8443", "accept"))
        held.enter_context(log_server(lab, layout, tmp_path))
        red = scan()
    green = scan()
    automated = {name for name, one in green.items() if one["evidence"]}
    assert automated == BROKEN | OPEN_IN_THE_LAB
    assert {name: red[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "open")
    assert {name: green[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "not_a_finding")
    assert {name: red[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "open")
    assert {name: green[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "not_reviewed")
    sent = OPEN_IN_THE_LAB - {SOMEBODY}
    assert {name: red[name]["status"] for name in sent} == dict.fromkeys(sent, "not_a_finding")
    assert {name: green[name]["status"] for name in OPEN_IN_THE_LAB} == dict.fromkeys(OPEN_IN_THE_LAB, "open")
    assert red[SOMEBODY]["status"] in ("not_a_finding", "not_reviewed")


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
