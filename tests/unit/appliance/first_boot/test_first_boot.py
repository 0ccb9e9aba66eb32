"""From the user-data to the first revision, by the appliance's own configd, and to what the console says."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.configd import api, facts
from appliance.configd.client import Refused
from appliance.first_boot import __main__ as first_boot
from appliance.first_boot import console, places, statement
from appliance.first_boot.found import Found, PlaceError
from tests.unit.appliance.cli.desk import Dialogue, Running, without_effects
from tests.unit.appliance.first_boot import site
from tests.unit.appliance.workbench import Daemon

SETUP = Path(__file__).with_name("setup_program.py")
FOUND = Found("user-data of the disk vdb", site.text().encode())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A configd without a revision, for which whoever runs the tests is root."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", Path(tmp_path).stat().st_uid)
    running = Running(Daemon(tmp_path / "box", features=without_effects()), tmp_path / "socket")
    yield running
    running.stop()


def test_it_becomes_the_first_revision_and_says_from_where(server: Running) -> None:
    committed = first_boot.commit(FOUND, str(server.path))
    assert (committed.changed, committed.revision) == (True, 1)
    kept = server.daemon.store.current()
    assert kept is not None
    assert kept.comment == "first-boot: user-data of the disk vdb"
    assert kept.tree["hostname"] == "gw1.example.test"
    assert site.SECRET not in str(kept.tree)


def test_who_is_not_root_configures_nothing(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.configd.gate.ROOT", -1)
    with pytest.raises(Refused, match="only administrators"):
        first_boot.commit(FOUND, str(server.path))
    assert server.daemon.store.current() is None


@pytest.mark.parametrize("name", list(places.PLACES))
def test_the_boot_menu_says_where_to_look(name: str) -> None:
    assert places.platform(f"ro quiet sentry.platform={name} console=ttyS0\n") == name


@pytest.mark.parametrize("line", ["ro", "sentry.platform=gce", "sentry.platform=ec2 sentry.platform=azure"])
def test_a_menu_that_says_it_otherwise_is_refused(line: str) -> None:
    with pytest.raises(PlaceError, match="allowed: nocloud, ec2, azure"):
        places.platform(line)


def test_the_first_place_that_has_something_is_taken() -> None:
    def never() -> Found | None:
        raise AssertionError("asked a place behind the one that had it")

    assert places.look("vm", {"vm": (lambda: None, lambda: FOUND, never)}) is FOUND
    assert places.look("vm", {"vm": (lambda: None,)}) is None


@pytest.mark.parametrize("name", list(places.PLACES))
def test_the_statement_names_what_is_missing(name: str) -> None:
    said = statement.missing(name)
    assert said.startswith("This appliance is not configured and its ports are closed.")
    assert places.LOOKED[name] in said


def test_the_consoles_wizard_ends_where_there_is_a_configuration(tmp_path: Path) -> None:
    configured = tmp_path / "running.json"
    configured.touch()
    assert console.main(configured=configured, said=tmp_path / "said") == 0


@pytest.fixture
def person(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dialogue]:
    """Somebody at the console of a machine with one network card that found no user-data."""
    columns = ("interface", "zone", "state", "addresses", "hardware", "MTU")
    links = api.Table(title="interfaces", columns=columns, rows=(("eth0", "", "up", "", "", "1500"),))
    monkeypatch.setattr(facts, "show", lambda _topic, _argument, _context: links)
    statement.keep(statement.missing("nocloud"), tmp_path / "said")
    started = Dialogue(server.path, SETUP)
    yield started
    with contextlib.suppress(ProcessLookupError):
        os.kill(started.pid, signal.SIGKILL)


def test_whoever_sits_at_the_console_hears_what_is_missing_and_sets_it_up(server: Running, person: Dialogue) -> None:
    person.expect(r"(?s)ports are closed[.] No user-data was found.*Press Enter to set it up here[.]\s*$")
    person.send("\r")
    for question, answer in (
        (r"Administrator's account \[admin\]", ""),
        ("New password of admin", site.SECRET),
        ("Once more", site.SECRET),
        ("New enable secret", f"{site.SECRET}-Too"),
        ("Once more", f"{site.SECRET}-Too"),
        ("Full name of this appliance", "gw1.example.test"),
        ("Interface to manage from", ""),
        ("What it is for", "management,device,backend"),
        ("Addresses", "192.0.2.2/24"),
        ("Default router", "192.0.2.1"),
        ("Networks of administrators", ""),
        ("DNS servers", ""),
        ("Domains tried", ""),
        ("Time servers", "192.0.2.1,192.0.2.3"),
        ("UEM", "embedded"),
        ("Mail server", "192.0.2.10"),
        (r"Commit it[?] \[yes/no\]", "yes"),
        ("unless confirmed within", "0"),
    ):
        person.expect(rf"{question}[^\n]*$")
        person.send(f"{answer}\r")
    assert person.end() == 0
    kept = server.daemon.store.current()
    assert kept is not None
    assert (kept.number, kept.tree["hostname"]) == (1, "gw1.example.test")
