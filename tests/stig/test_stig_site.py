"""sites/stig.yml meets every rule: none is open, none is in error, and nobody has to be asked but for what no appliance can know.

The running appliance gets that configuration, its other machines are played by the lab's stand-ins, and it is the ordinary lab
again afterwards. What the ordinary lab cannot show broken is broken here.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from images import guest as guests
from images.guest import Guest
from images.lab import devices, steps
from images.lab.site import STIG, LabSite
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.run import run
from tests.lab import Lab, Measured
from tests.stig.test_seen_red import committed, rule

SCAN_SECONDS = 60.0  # what a whole scan may take
SYNC_SECONDS = (
    120.0  # rsyslog tries a server that was away at most every minute; chrony asks a new one four times at once
)
AIDE_SECONDS = 240.0  # it reads every program once, at the lowest priority
WITHOUT_ANSWERS = 14  # so many rules may need the site's word
TUNNELS = "V-251029"  # there are no app tunnels yet
# Rules of the operating system that are not met; sites/stig-answers.yml says why.
EXCEPTIONS = {"SENTRY-OS-0110", "SENTRY-OS-0112", "SENTRY-OS-0113", "SENTRY-OS-0222"}
# In the box, so nobody manages from outside.
EMBEDDED = "V-250985"
KERNEL = "This machine is a container"
STRAY_PORT = 8081

pytestmark = pytest.mark.appliance

Results = dict[str, dict[str, Any]]
Scan = Callable[..., Results]


@pytest.fixture(scope="module")
def site(lab: Lab, layout: Layout) -> Iterator[Guest]:
    """The appliance with that configuration."""
    guest = guests.find(GUEST, layout)
    assert guest is not None
    steps.start_stand_ins(layout, STIG)
    try:
        steps.playbook(layout, "configure.yml", STIG)
        devices.register(layout)
        yield guest
    finally:
        steps.playbook(layout, "configure.yml", REPO / "sites/lab.yml")
        steps.stop_stand_ins(layout)


@pytest.fixture(scope="module")
def scan(lab: Lab, layout: Layout, site: Guest, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Scan it; the results by rule. `answers` is another answer file, None: none."""
    folder = tmp_path_factory.mktemp("scan")
    authorities = folder / "ca.pem"
    authorities.write_text(layout.ca_file.read_text() + (layout.lab / "backend-ca.pem").read_text())
    described = json.loads(layout.appliance.read_text()) | {
        "ca_file": str(authorities),
        "devices": str(layout.lab / devices.FILE),
        "answers": None,
    }
    (folder / "appliance.json").write_text(json.dumps(described))

    def scanned(answers: Path | None) -> Results:
        argv = [
            sys.executable,
            "-m",
            "stig",
            "scan",
            "--appliance",
            str(folder / "appliance.json"),
            "--out",
            str(folder),
        ]
        run([*argv, *(["--answers", str(answers)] if answers else [])], cwd=REPO, seconds=3 * SCAN_SECONDS)
        tree = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return {one["rule"]: one for one in tree["results"]} | {"seconds": tree["seconds"]}

    return scanned


def sentry(found: Results) -> dict[str, str]:
    """How the rules of DISA's two STIGs ended."""
    return {name: one["status"] for name, one in found.items() if name.startswith("V-")}


def named(found: Results, status: str, start: str = "") -> dict[str, str]:
    """The rules that ended so, and why."""
    return {
        name: one["reason"]
        for name, one in found.items()
        if name != "seconds" and one["status"] == status and name.startswith(start)
    }


def wait(look: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(1)


@pytest.fixture(scope="module")
def settled(lab: Lab, site: Guest) -> None:
    """The log server has all that was written for it, the clock's servers have answered, and AIDE has read everything."""

    def sent() -> bool:
        (row,) = json.loads(lab.cli("show syslog | json").stdout)["rows"]
        return (row["state"], row["waiting"]) == ("connected", "0")

    wait(sent, "the log server has not got everything", SYNC_SECONDS)
    lab.root("chronyc", "burst", "4/4")  # nobody was there before, so it would ask again in a quarter of an hour
    wait(lambda: "^*" in lab.root("chronyc", "-n", "sources").stdout, "no time server was chosen", SYNC_SECONDS)
    wait(
        lambda: lab.root("test", "-s", "/var/lib/aide/aide.db", check=False).code == 0,
        "AIDE has kept nothing",
        AIDE_SECONDS,
    )


def test_no_rule_is_open_and_none_needs_anybody(scan: Scan, settled: None, measured: Measured) -> None:
    """With the site's answers: the 58 rules of the product and those of the operating system."""
    found = scan(LabSite(STIG).answers)
    measured("a scan of sites/stig.yml", found["seconds"])  # type: ignore[arg-type]
    assert found["seconds"] < SCAN_SECONDS  # type: ignore[operator]
    assert len(sentry(found)) == 58
    assert named(found, "error") == {}
    assert named(found, "open", "V-") == {}
    assert set(named(found, "open")) == EXCEPTIONS
    assert all(found[name]["override"] for name in EXCEPTIONS)
    assert set(named(found, "not_reviewed", "V-")) == {TUNNELS}
    assert set(named(found, "not_applicable", "V-")) == {EMBEDDED, "V-251033"}
    undecided = named(found, "not_reviewed", "SENTRY-")
    assert [name for name, why in undecided.items() if KERNEL not in why] == []


def test_without_answers_few_rules_are_left_to_the_site(scan: Scan, settled: None) -> None:
    """Each with its reason; and still none is open."""
    found = scan(None)
    undecided = named(found, "not_reviewed", "V-")
    assert len(undecided) <= WITHOUT_ANSWERS
    assert all(undecided.values())
    assert (named(found, "error", "V-"), named(found, "open", "V-")) == ({}, {})


@contextmanager
def stray_server(lab: Lab) -> Iterator[None]:
    """A program that listens and is let reach."""
    lab.root(
        "systemd-run", "--quiet", "--collect", "--unit=stig-stray", "python3", "-m", "http.server", str(STRAY_PORT)
    )
    try:
        with rule(lab, "input", "tcp", "dport", str(STRAY_PORT), "accept"):
            wait(
                lambda: f":{STRAY_PORT} " in lab.root("ss", "-Htln").stdout,
                "the stray server does not listen",
                SYNC_SECONDS,
            )
            yield
    finally:
        lab.root("systemctl", "stop", "stig-stray.service")


@contextmanager
def stray_route(lab: Lab) -> Iterator[None]:
    """A route nobody has approved."""
    words = ("203.0.113.0/24", "via", "10.98.3.9")
    lab.root("ip", "route", "add", *words)
    try:
        yield
    finally:
        lab.root("ip", "route", "del", *words)


@contextmanager
def cleared(layout: Layout) -> Iterator[None]:
    """The compromised device passes for a good one."""
    devices.register(layout, compromised=False)
    try:
        yield
    finally:
        devices.register(layout)


SETTINGS = (
    "no gateway device_authentication",
    "no gateway policy",
    "no certificates servers portal",
    "backends servers other host 10.98.3.77",
)
BROKEN = (
    "V-251005", "V-251007", "V-251008", "V-251010", "V-251022", "V-251024", "V-251025", "V-251028", "V-251031", "V-251032",
    "V-251034",
)  # fmt: skip


def test_what_the_ordinary_lab_cannot_break_is_seen_red(lab: Lab, layout: Layout, scan: Scan, tmp_path: Path) -> None:
    """Devices, certificates, routes, ports, servers and the release; that they are green without, the first test has shown."""
    answers = tmp_path / "answers.yml"
    text = (LabSite(STIG).answers or Path()).read_text(encoding="utf-8")
    text = text.replace('supported_releases: ["0.1.0"]', 'supported_releases: ["9.9.9"]')
    answers.write_text(text.replace("../build/lab/", f"{REPO}/build/lab/"), encoding="utf-8")
    with ExitStack() as held:
        held.enter_context(committed(lab, *SETTINGS))
        held.enter_context(stray_server(lab))
        held.enter_context(stray_route(lab))
        held.enter_context(cleared(layout))
        found = sentry(scan(answers))
    assert {name: found[name] for name in BROKEN} == dict.fromkeys(BROKEN, "open")
