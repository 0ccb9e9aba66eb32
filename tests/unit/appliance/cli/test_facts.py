"""A STIG scan by the command line alone: the CLI as a program, a real configd, the real facts service, and the scanner."""

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.configd import stig_facts
from stig import written
from stig.auditor import AuditorMachine
from stig.commands import COMMANDS
from stig.door import LocalDoor
from stig.errors import FactError
from stig.facts import Facts
from stig.scan import scan
from stig.service import Service
from stig.target import Login, Target
from tests.unit.appliance.cli.desk import ENVIRONMENT, PROGRAM, REPO, WAIT_SECONDS, Configd, Run, Running, accepted
from tests.unit.stig.conftest import NOON

TARGET = Target("box", "127.0.0.1", None, Login("alice"), Path("none"), {"management": "127.0.0.1"})


class Listening:
    """The facts service in a thread, for as long as a test runs."""

    def __init__(self, place: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(place))
        self._listener.listen()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._started = threading.Event()
        self._thread.start()
        assert self._started.wait(WAIT_SECONDS)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        serving = asyncio.create_task(Service(frozenset({os.getuid()})).serve(self._listener))
        await self._stop.wait()
        serving.cancel()

    def stop(self) -> None:
        """As systemd would."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_SECONDS)
        self._listener.close()


@pytest.fixture
def facts_service(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "facts.sock"
    monkeypatch.setattr(stig_facts, "SOCKET", str(place))
    monkeypatch.setattr("appliance.configd.facts.stig.SOCKET", str(place))
    server.daemon.reached.add(str(place))
    listening = Listening(place)
    yield place
    listening.stop()


@pytest.fixture
def machine(configd: Configd, facts_service: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditorMachine]:
    """The scanner's, of whom there is nothing but a way to the command line."""
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("SSH_CONNECTION", ENVIRONMENT["SSH_CONNECTION"])
    made = AuditorMachine(TARGET, LocalDoor((sys.executable, str(PROGRAM), str(configd.path)), who="alice"))
    yield made
    made.close()


def role(server: Running, name: str) -> None:
    """From now on alice has this role; somebody else is the administrator that there must be."""
    tree = {**server.daemon.running()}
    key = tree["users"]["accounts"]["alice"]["ssh_keys"]
    others = {"bert": {"role": "administrator", "ssh_keys": key}}
    tree["users"] = {**tree["users"], "accounts": {"alice": {"role": name, "ssh_keys": key}, **others}}
    server.daemon.commit(server.daemon.schema.fill(accepted(server.daemon, tree)))


@pytest.mark.usefixtures("facts_service")
def test_a_fact_is_shown_with_its_command_and_as_json(cli: Run) -> None:
    """What an auditor types to see a piece of evidence again."""
    said = cli("-c", "facts release")
    assert said.stdout.startswith("$ cat /etc/os-release\n")
    assert said.stdout.endswith("exit status 0\n")
    told = json.loads(cli("-c", "facts release | json").stdout)
    assert told["output"] == Path("/etc/os-release").read_text()
    assert (told["fact"], told["listed"], told["status"]) == ("release", ["cat", "/etc/os-release"], 0)


@pytest.mark.usefixtures("facts_service")
def test_a_name_that_is_no_fact_is_refused_with_those_there_are(cli: Run) -> None:
    said = cli("-c", "facts /etc/shadow")
    assert (said.returncode, said.stdout) == (1, "")
    assert "found the fact '/etc/shadow'; allowed: sshd, nft" in said.stderr
    assert "more" in cli("-c", "facts sshd more").stderr  # there is nothing to say after it


@pytest.mark.parametrize(("held", "may"), [("auditor", True), ("operator", False), ("administrator", True)])
def test_facts_are_for_auditors_and_administrators(
    server: Running, cli: Run, facts_service: Path, held: str, *, may: bool
) -> None:
    """Without `enable`: who audits has a key and nothing else."""
    assert facts_service.exists()
    role(server, held)
    said = cli("-c", "facts zone")
    assert (said.returncode == 0) == may
    assert ("the role operator may not do this" in said.stderr) != may


def test_without_the_service_the_command_says_so(
    cli: Run, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.daemon.reached.add(str(tmp_path / "nobody.sock"))
    monkeypatch.setattr(stig_facts, "SOCKET", str(tmp_path / "nobody.sock"))
    said = cli("-c", "facts zone")
    assert said.returncode == 1
    assert "nobody.sock" in said.stderr


def test_the_scanner_gets_its_facts_over_one_session(machine: AuditorMachine, configd: Configd) -> None:
    """Each by its name; an exit status that is not zero is an answer."""
    facts = Facts(machine)
    assert facts.text("release") == Path("/etc/os-release").read_text()
    assert facts.answer("container").status in (0, 1)
    assert facts.answer("zone").output.strip()
    asked = configd.asked
    assert (asked.count("session.open"), asked.count("stig.fact")) == (1, 3)
    assert list(facts.asked) == ["facts release", "facts container", "facts zone"]


def test_where_somebody_comes_from_is_what_the_session_says(
    machine: AuditorMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account and the address go into the command; the scanner gives neither."""
    words = ("echo", "{admin}", "{client}", "{address}")
    monkeypatch.setitem(COMMANDS, "sshd", words)
    told = machine.look("sshd", ("echo",))
    assert told.output.split()[:2] == ["alice", "198.51.100.7"]


def test_an_appliance_with_another_command_for_a_fact_proves_nothing(
    machine: AuditorMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service runs what its own list says, and says what that is."""
    monkeypatch.setattr("stig.auditor.COMMANDS", {**COMMANDS, "zone": ("date", "+%z")})
    with pytest.raises(
        FactError, match=r"the appliance runs 'date \+%Z'.*scan with the release that the appliance has"
    ):
        Facts(machine).text("zone")


def test_who_may_not_ask_is_told_once_and_asks_no_further(
    machine: AuditorMachine, server: Running, configd: Configd
) -> None:
    """A scan of a hundred facts does not become a hundred refused sessions."""
    role(server, "operator")
    facts = Facts(machine)
    for name in ("release", "zone", "md5", "sha256", "date"):
        with pytest.raises(FactError, match="the role operator may not do this"):
            facts.answer(name)
    assert configd.asked.count("session.open") == 3


def test_a_scan_by_the_command_line_gives_every_rule_a_result(machine: AuditorMachine) -> None:
    """This machine is no appliance: what it lacks is open or in error, and says why; nothing is a pass for want of a fact."""
    catalogue = written.load()
    found = scan(machine, catalogue, None, clock=lambda: NOON, say=lambda _line: None)
    assert len(found.results) == len(catalogue.rules)
    assert all(one.evidence for one in found.results if one.status in ("not_a_finding", "open"))
    assert all(one.reason for one in found.results if one.status in ("error", "not_reviewed"))
    zone = found.by_rule["SENTRY-OS-1003"]
    assert zone.asked == ("facts zone",)
    assert zone.status in ("not_a_finding", "open")
