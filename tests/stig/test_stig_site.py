"""sites/stig.yml meets every rule: none is open, none is in error, and nobody has to be asked but for what no appliance can know.

The running appliance gets that configuration, its other machines are played by the lab's stand-ins, and it is the ordinary lab
again afterwards. Since all is met here, each rule of the operating system is seen open here when it is broken, and met again once
that is mended: in batches (`platform_breaks`), of which CI runs one, by its commit. What the ordinary lab cannot show broken is
broken here, too.
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
from images.lab import cards, devices, people, steps
from images.lab.site import STIG, LabSite
from images.lab.stand_ins import ASKED
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.run import Done, run
from tests.appliance.card_holder import SECONDS, browser, enter, enter_by_password
from tests.lab import Lab, Measured
from tests.stig.breaks import committed, filtered, running
from tests.stig.platform_breaks import BATCHES, Batch, turn
from tests.stig.product_breaks import BROKEN_ON_THE_SITE, SETTINGS_OF_THE_SITE, UEM_ELSEWHERE

SCAN_SECONDS = 60.0  # what a whole scan may take
CORE_ADDRESS, STRANGER_ADDRESS = "10.98.2.50", "10.98.2.66"  # of a UEM on another machine, which nobody plays
# rsyslog tries a server that was away at most every minute; chrony asks a new one four times at once
SYNC_SECONDS = 120.0
AIDE_SECONDS = 240.0  # it reads every program once, at the lowest priority
WITHOUT_ANSWERS = 14  # so many rules may need the site's word
TUNNELS = "V-251029"  # there are no app tunnels yet
# The rule of the operating system that is not met; sites/stig-answers.yml says why.
EXCEPTIONS = {"SENTRY-OS-0222"}
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
def authorities(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whose certificates it shows: its own authority's, and the lab's."""
    path = tmp_path_factory.mktemp("authorities") / "ca.pem"
    path.write_text(layout.ca_file.read_text() + (layout.lab / "backend-ca.pem").read_text())
    return path


@pytest.fixture(scope="module")
def scan(layout: Layout, site: Guest, authorities: Path, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Scan it; the results by rule. `answers` is another answer file, None: none."""
    folder = tmp_path_factory.mktemp("scan")
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
    assert set(named(found, "not_applicable", "V-")) == {UEM_ELSEWHERE, "V-251033"}
    undecided = named(found, "not_reviewed", "SENTRY-")
    assert [name for name, why in undecided.items() if KERNEL not in why] == []


def test_without_answers_few_rules_are_left_to_the_site(scan: Scan, settled: None) -> None:
    """Each with its reason; and still none is open."""
    found = scan(None)
    undecided = named(found, "not_reviewed", "V-")
    assert len(undecided) <= WITHOUT_ANSWERS
    assert all(undecided.values())
    assert (named(found, "error", "V-"), named(found, "open", "V-")) == ({}, {})


def test_a_card_is_taken_or_refused_as_the_authoritys_responder_says(
    lab: Lab, layout: Layout, site: Guest, authorities: Path
) -> None:
    """No list of cards is on the appliance: it asks (OCSP), and who asked was the appliance."""
    said = []
    for card in (cards.CARD, cards.REVOKED, cards.CARD):  # the last one forgets the failure
        with browser(lab, layout, card) as session:
            session.verify = str(authorities)
            said.append(enter(lab, session))
    assert [status for status, _ in said] == [303, 401, 303]
    assert "has been revoked" in said[1][1]
    asked = layout.stand_ins.with_suffix(".log").read_text(encoding="utf-8").splitlines()
    assert asked.count(f"{ASKED} {lab.addresses.management}") == 2  # once for each card: answers are remembered


@pytest.mark.parametrize(("user", "role"), [(user, group.removesuffix("s")) for group, user in people.MEMBERS.items()])
def test_people_of_the_directory_log_in_with_the_role_of_their_group(
    lab: Lab, layout: Layout, site: Guest, authorities: Path, user: str, role: str
) -> None:
    """At the portal, over LDAPS of the lab's authority. The first test has scanned this configuration: no rule is open by it."""
    password = (layout.secrets / people.PERSON_FILE).read_text(encoding="utf-8").strip()
    with browser(lab, layout) as session:
        session.verify = str(authorities)
        assert enter_by_password(lab, session, user, "not the password")[0] == 401
        assert enter_by_password(lab, session, user, password) == (303, "")
        assert f"{user} ({role})" in session.get(f"{lab.portal_url}/", timeout=SECONDS).text


def test_nobody_of_the_directory_has_an_account_on_the_machine(lab: Lab, site: Guest) -> None:
    """So what the rules ask of accounts asks nothing of them."""
    for user in people.MEMBERS.values():
        assert lab.root("getent", "passwd", user, check=False).code != 0


@contextmanager
def stray_server(lab: Lab) -> Iterator[None]:
    """A program that listens and is let reach."""
    server = ("python3", "-m", "http.server", str(STRAY_PORT))
    with (
        running(lab.root, "stig-stray.service", *server),
        filtered(lab.root, "input", "tcp", "dport", str(STRAY_PORT), "accept"),
    ):
        listens = f":{STRAY_PORT} "
        wait(lambda: listens in lab.root("ss", "-Htln").stdout, "the stray server does not listen", SYNC_SECONDS)
        yield


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


def test_what_the_ordinary_lab_cannot_break_is_seen_red(lab: Lab, layout: Layout, scan: Scan, tmp_path: Path) -> None:
    """Devices, certificates, routes, ports, servers and the release; that they are green without, the first test has shown."""
    answers = tmp_path / "answers.yml"
    text = (LabSite(STIG).answers or Path()).read_text(encoding="utf-8")
    text = text.replace('supported_releases: ["0.1.0"]', 'supported_releases: ["9.9.9"]')
    answers.write_text(text.replace("../build/lab/", f"{REPO}/build/lab/"), encoding="utf-8")
    with ExitStack() as held:
        held.enter_context(committed(lab, *SETTINGS_OF_THE_SITE))
        held.enter_context(stray_server(lab))
        held.enter_context(stray_route(lab))
        held.enter_context(cleared(layout))
        found = sentry(scan(answers))
    assert {name: found[name] for name in BROKEN_ON_THE_SITE} == dict.fromkeys(BROKEN_ON_THE_SITE, "open")


def test_a_uem_elsewhere_pushes_from_the_addresses_that_the_site_knows(
    lab: Lab, layout: Layout, scan: Scan, tmp_path: Path
) -> None:
    """V-250985 applies where the UEM is another machine: met by the site's address, open by another one. Nobody answers there,
    which the rule does not ask."""
    answers = tmp_path / "answers.yml"
    text = (LabSite(STIG).answers or Path()).read_text(encoding="utf-8").replace("../build/lab/", f"{REPO}/build/lab/")
    answers.write_text(f"{text}\nuem_addresses: [{CORE_ADDRESS}/32]\n", encoding="utf-8")
    authority = (layout.lab / "backend-ca.pem").read_text(encoding="utf-8").splitlines()
    core = (
        "uem mode core",
        f"uem url https://{CORE_ADDRESS}:9443",
        'uem push_subject "CN=core.lab.test"',
        "uem authorities",
        *authority,
        ".",
    )
    try:
        with committed(lab, *core, f"uem addresses {CORE_ADDRESS}/32"):
            green = scan(answers)[UEM_ELSEWHERE]
            with committed(lab, f"no uem addresses {CORE_ADDRESS}/32", f"uem addresses {STRANGER_ADDRESS}/32"):
                red = scan(answers)[UEM_ELSEWHERE]
    finally:
        devices.register(layout)
    assert (green["status"], red["status"]) == ("not_a_finding", "open")


def commit() -> str:
    """The commit that is tested; 0 where this is no checkout."""
    done = run(["git", "-c", f"safe.directory={REPO}", "rev-parse", "HEAD"], cwd=REPO, check=False)
    return done.stdout.strip() or "0"


NOW = turn(commit())


# All but the one whose turn it is are left to `make test-all`.
@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(batch, id=batch.name, marks=() if place == NOW else pytest.mark.slow)
        for place, batch in enumerate(BATCHES)
    ],
)
def test_broken_rules_of_the_system_are_open_and_mended_ones_are_met(
    batch: Batch, scan: Scan, site: Guest, settled: None
) -> None:
    """One scan sees all of the batch open, and the next all of it met; neither keeps the scan from looking at the rest."""

    def root(*argv: str, stdin: str | None = None, check: bool = True) -> Done:
        return site.execute(list(argv), stdin=stdin, check=check)

    answers = LabSite(STIG).answers
    with ExitStack() as held:
        for one in batch.breaks:
            held.enter_context(one.how(root))
        red = scan(answers)
    green = scan(answers)
    assert {name: red[name]["status"] for name in batch.rules} == dict.fromkeys(batch.rules, "open")
    assert {name: green[name]["status"] for name in batch.rules} == dict.fromkeys(batch.rules, "not_a_finding")
    assert named(red, "error", "SENTRY-").keys() == batch.blinds
    assert named(green, "error") == {}
