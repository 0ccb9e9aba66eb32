"""A program that was forked is to a test what one that was started is."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from images.guest import wait_for
from tests import programs

GATEWAY = "sentry_runtime.gateway"


def test_it_ends_with_its_exit_code_and_says_why_where_it_is_told_to(tmp_path: Path) -> None:
    """Its arguments, its folder and its standard error are its own."""
    with (tmp_path / "log").open("w") as log:
        started = programs.start(GATEWAY, ["--settings", "no.json"], env=os.environ, cwd=tmp_path, stderr=log.fileno())
        assert started.wait(programs.START_SECONDS) == 78
    assert started.poll() == 78
    assert (tmp_path / "log").read_text() == "sentry-gateway: no.json: cannot be read: No such file or directory\n"


def test_what_it_says_is_on_the_tests_own_outputs(capfd: pytest.CaptureFixture[str]) -> None:
    """A failed test shows it."""
    assert programs.start(GATEWAY, ["--help"], env=os.environ).wait(programs.START_SECONDS) == 0
    assert capfd.readouterr().out.startswith("usage: sentry-gateway ")


def test_wrong_arguments_are_exit_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    """As argparse leaves."""
    assert programs.start(GATEWAY, ["--settinks"], env=os.environ).wait(programs.START_SECONDS) == 2
    assert "unrecognized arguments: --settinks" in capfd.readouterr().err


def test_a_signal_is_its_end_with_a_minus(tmp_path: Path) -> None:
    """One that waits (its settings are a pipe that nobody writes to) is seen to run, and is killed."""
    pipe = tmp_path / "settings.json"
    os.mkfifo(pipe)
    started = programs.start(GATEWAY, ["--settings", pipe], env=os.environ)
    assert started.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(0.01)
    started.kill()
    assert started.wait(programs.START_SECONDS) == -signal.SIGKILL
    started.kill()  # nobody is hit any more


def test_it_has_no_descriptor_but_its_outputs(tmp_path: Path) -> None:
    """Nothing of the process that forked it, nor of its siblings, stays open in it."""
    pipe = tmp_path / "settings.json"
    os.mkfifo(pipe)
    several = [programs.start(GATEWAY, ["--settings", pipe], env=os.environ) for _ in range(3)]
    for one in several:
        wait_for(partial(has_no_others, one), "all others to be closed")
        one.kill()
        assert one.wait(programs.START_SECONDS) == -signal.SIGKILL


def has_no_others(program: programs.Program) -> bool:
    """Whether it has nothing open but standard input, output and error."""
    return sorted(path.name for path in Path(f"/proc/{program.pid}/fd").iterdir()) == ["0", "1", "2"]
