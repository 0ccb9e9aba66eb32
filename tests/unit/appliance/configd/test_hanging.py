"""A service that hung: what it wrote last is kept once, and nobody but systemd can say that one did."""

import faulthandler
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.configd import facts
from appliance.configd.api import Table
from appliance.configd.gathering import gather
from appliance.configd.hanging import BACK_SECONDS, EVERY_SECONDS, SETTLED_SECONDS, Hanging
from appliance.process import CommandError, Finished
from tests.unit.appliance.configd.people import TREE
from tests.unit.appliance.workbench import Daemon

LAUNCHER = Path(__file__).parents[4] / "roles/sentry/templates/launcher.j2"
STACK = 'Fatal Python error: Aborted\n  File "gateway.py", line 7 in wait\n'


def entry(when: float, message: object = "sentry-gateway.service: Watchdog timeout (limit 30s)!") -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": str(int(when * 1_000_000)), "MESSAGE": message})


class Box:
    """configd with a journal."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.systemd: list[str] = []
        self.asked: list[list[str]] = []
        self.fails = False
        daemon.commit(TREE)
        self.hanging = Hanging(daemon.records, daemon.gate, self.attempt, clock=daemon.ticks, wall_clock=daemon.clock)

    def attempt(self, argv: list[str]) -> Finished:
        self.asked.append(argv)
        if self.fails:
            raise CommandError(argv, 127, "no such program")
        if argv[0] == "systemctl":
            return Finished(0, "NRestarts=1\n", "")
        return Finished(0, "\n".join(self.systemd) if "json" in argv else STACK, "")

    def look(self) -> None:
        self.hanging.tick()
        self.daemon.ticks.now += EVERY_SECONDS
        self.daemon.clock.now += EVERY_SECONDS

    def notes(self) -> list[tuple[str, str]]:
        return [(one.event, one.detail) for one in self.daemon.ledger.entries if one.event == "service.hung"]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(Daemon(tmp_path))


def test_its_stacks_and_last_lines_are_kept_once_and_told(box: Box) -> None:
    box.systemd = [entry(box.daemon.clock.now - 60)]
    for _ in range(3):
        box.look()
    (one,) = box.daemon.records.all()
    text = box.daemon.records.read(one.name)
    assert "sentry-gateway.service hung and was ended by its watchdog at 2027-01-15" in text
    assert STACK in text
    assert "NRestarts=1" in text
    assert box.notes() == [("service.hung", f"sentry-gateway.service: kept as {one.name}")]
    shown = facts.show("watchdog", "", box.daemon.context())
    assert isinstance(shown, Table)
    assert shown.rows == (("sentry-gateway.service", "2027-01-15T07:59:00Z", one.name),)
    assert STACK in gather(box.daemon.context(), "alice", clock=box.daemon.ticks)[f"hung/{one.name}"]


def test_configd_s_own_is_kept_by_its_successor_and_not_twice(box: Box) -> None:
    box.systemd = [entry(box.daemon.clock.now - 60, "sentry-configd.service: Watchdog timeout (limit 1min)!")]
    box.look()
    again = Hanging(
        box.daemon.records, box.daemon.gate, box.attempt, clock=box.daemon.ticks, wall_clock=box.daemon.clock
    )
    again.tick()
    assert [one.service for one in box.daemon.records.all()] == ["sentry-configd"]
    assert len(box.notes()) == 1


def test_only_systemd_s_own_word_is_asked_for_and_only_where_it_is_over(box: Box) -> None:
    box.look()
    (argv,) = box.asked
    assert argv[-2:] == ["_PID=1", "SYSLOG_IDENTIFIER=systemd"]
    now = box.daemon.clock.now - EVERY_SECONDS
    assert f"--since=@{int(now - BACK_SECONDS)}" in argv
    assert f"--until=@{int(now - SETTLED_SECONDS)}" in argv


@pytest.mark.parametrize(
    "message",
    [
        "../../etc/x.service: Watchdog timeout (limit 30s)!",
        "sentry-gateway.service: Watchdog timeout (limit 30s)! and more",
        "ssh.service: Watchdog timeout (limit 30s)!",
        "sentry-gateway.service: Failed with result 'watchdog'.",
        [115, 101],
        None,
    ],
)
def test_what_else_stands_there_is_nothing(box: Box, message: object) -> None:
    box.systemd = [entry(box.daemon.clock.now - 60, message), "no JSON", "{}"]
    box.look()
    assert box.daemon.records.all() == ()
    assert box.notes() == []


def test_a_journal_that_cannot_be_read_ends_nothing(box: Box) -> None:
    box.fails = True
    box.look()
    box.fails = False
    box.systemd = [entry(box.daemon.clock.now - 60)]
    box.look()
    assert len(box.daemon.records.all()) == 1


def test_a_program_of_ours_writes_its_stacks_when_it_is_ended_so(tmp_path: Path) -> None:
    """By the lines of the launcher, in a process of its own."""
    lines = LAUNCHER.read_text().splitlines()
    assert lines.index("faulthandler.enable()") < next(n for n, line in enumerate(lines) if "run_module" in line)
    program = tmp_path / "hangs.py"
    program.write_text(
        "import faulthandler, sys, threading\nfaulthandler.enable()\n"
        "def waits_for_ever(): threading.Event().wait()\n"
        "threading.Thread(target=waits_for_ever, daemon=True).start()\n"
        "print('up', flush=True)\nthreading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "up\n"
        hung.send_signal(signal.SIGABRT)
        _out, said = hung.communicate(timeout=20)
    assert hung.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in said
    assert "waits_for_ever" in said
    assert faulthandler.__name__ in lines[2]
