"""What all tests share: the order they run in, and the running appliance for those that ask for it."""

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

# The NTLM client and server of the tests compute with RC4, of OpenSSL's legacy provider. It is loaded with the first import of
# this or never, and the data plane, whose processes the tests start, forbids it.
import cryptography.hazmat.bindings._rust  # noqa: F401
import hypothesis
import pytest

from images import guest as guests
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.run import run, stream
from tests import compiled
from tests import lab as labs
from tests.lab import Lab, Measured
from tests.side_by_side import LAB_ROOMS, Portions

if compiled.WANTED:
    compiled.use()

# How long an example takes says how busy the machine is, nothing of what is tested.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# Quick and local first; then what needs the appliance; what breaks it on purpose comes last of all.
ROOMS = ("unit", "images", "gateway", "agent", "stig", "appliance", "portal", "e2e")
LAST = ("e2e/test_faults.py", "stig/test_seen_red.py")
MEASURED = "measured"


# With several workers what takes longest begins first, so that nobody waits for it at the end: the appliance, these (the mail
# servers' guests are among the first of them), then room by room backwards.
LONG = (
    "boot/test_boot.py",
    "gateway/test_horde.py",
    "gateway/test_sogo.py",
    "unit/uem_server/test_causes.py",
    "unit/uem_server/test_registry.py",
    "unit/appliance/cli/test_commands.py",
    "unit/appliance/cli/test_dialogues.py",
    "unit/gateway/test_fuzz_targets.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    """The workers, which are started now, decide for themselves what OpenSSL may load; the data plane has forbidden it here."""
    os.environ.pop("CRYPTOGRAPHY_OPENSSL_NO_LEGACY", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring the tests into their order; within a module they keep theirs."""
    items.sort(key=_rank_side_by_side if is_worker(config) else _rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Portions:
    """How several workers share the tests."""
    return Portions(config, log)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several workers."""
    return hasattr(config, "workerinput")


def _rank(item: pytest.Item) -> tuple[int, bool, int]:
    place = item.path.relative_to(REPO / "tests")
    breaking = LAST.index(str(place)) + 1 if str(place) in LAST else 0
    return breaking, _needs_lab(item), _room(place)


def _rank_side_by_side(item: pytest.Item) -> tuple[bool, int, int, int]:
    place = str(item.path.relative_to(REPO / "tests"))
    breaking, needs_lab, room = _rank(item)
    return not needs_lab, breaking, LONG.index(place) if place in LONG else len(LONG), room if needs_lab else -room


def _room(place: Path) -> int:
    room = place.parts[0]
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def _needs_lab(item: pytest.Item) -> bool:
    """Whether it needs the appliance; all tests of certain rooms do, and no other, so that one worker has all of them."""
    needs = any(item.get_closest_marker(name) for name in ("appliance", "e2e"))
    if needs != (item.path.relative_to(REPO / "tests").parts[0] in LAB_ROOMS):
        raise pytest.UsageError(
            f"{item.nodeid}: the rooms of the tests that need the appliance are {sorted(LAB_ROOMS)}"
        )
    return needs


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """A program under test may set its umask for good; the next test starts with the ordinary one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Tells the closing summary how long something took."""
    properties = request.node.user_properties
    return lambda what, seconds: properties.append((MEASURED, f"{what}: {seconds:.2f} s"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = [
        text
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, text in report.user_properties
        if name == MEASURED
    ]
    if lines:
        terminalreporter.section("measured")
    for line in lines:
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def layout() -> Layout:
    """Where this checkout builds."""
    return Layout()


@pytest.fixture(scope="session")
def lab(layout: Layout, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The running appliance. One that runs already is used and left as it is; else it is made, and ended afterwards."""
    if layout.appliance.exists() and guests.find(GUEST, layout) is not None:
        yield labs.read(layout.appliance)
        return
    capture = request.config.pluginmanager.getplugin("capturemanager")
    up = [*driver(), "up", "--until", "describe"]
    if is_worker(request.config):  # other tests have the terminal; what it said is in the error if it fails
        run(up, cwd=REPO)
    else:
        # Minutes of work: its progress goes to the terminal and not into the report of the first test that asks.
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            stream(up, cwd=REPO)
    yield labs.read(layout.appliance)
    run([*driver(), "down", GUEST], cwd=REPO)  # and no guest of another worker's


def driver() -> list[str | Path]:
    """The command behind `make appliance` and `make down`."""
    return [sys.executable, "-m", "images.lab"]
