"""A configd for the CLI, and the CLI as a program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.configd import api, facts
from appliance.configd.passwords import hashed
from tests.unit.appliance import workbench
from tests.unit.appliance.cli.desk import (
    ENVIRONMENT,
    PROGRAM,
    SECRET,
    SITE,
    WAIT_SECONDS,
    Configd,
    Dialogue,
    Run,
    Running,
    accepted,
    public_key,
    without_effects,
)
from tests.unit.appliance.workbench import Daemon


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """configd, in which whoever runs the tests is the administrator alice."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", -1)
    monkeypatch.setitem(workbench.NAMES, os.getuid(), "alice")
    daemon = Daemon(tmp_path / "box", features=without_effects())
    key = "ecdsa-sha2-nistp256 " + public_key(tmp_path)
    tree = {**SITE, "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": [key]}}}}
    tree["cli"] = {"enable_secret_hash": hashed(SECRET)}
    daemon.commit(daemon.schema.fill(accepted(daemon, tree)))
    running = Running(daemon, tmp_path / "socket")
    yield running
    running.stop()


@pytest.fixture
def configd(server: Running, monkeypatch: pytest.MonkeyPatch) -> Configd:
    """The same, with `show` answered from a table: what stands there or, by default, the topic's name."""
    held = Configd(server.daemon, server.path)
    held.free.set()

    def show(topic: str, argument: str, _context: object) -> api.Shown:
        assert topic in facts.TOPICS
        held.busy.set()
        assert held.free.wait(WAIT_SECONDS)
        return held.topics.get(topic) or api.Facts(title=topic, facts=((topic, argument or "yes"),))

    monkeypatch.setattr(facts, "show", show)
    return held


@pytest.fixture
def cli(configd: Configd) -> Run:
    """Runs sentry-cli: `cli("-c", "show version")`, or `cli(stdin="...")` for a script."""

    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, str(PROGRAM), str(configd.path), *arguments]
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, env=ENVIRONMENT, timeout=WAIT_SECONDS, check=False
        )

    return run


@pytest.fixture
def dialogue(configd: Configd) -> Iterator[Dialogue]:
    """A person at a terminal."""
    started = Dialogue(configd.path)
    yield started
    try:
        os.kill(started.pid, 9)
        os.waitpid(started.pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return
