"""The compiler runs beside the lab's other steps, and never longer than they."""

import sys
from pathlib import Path

import pytest

from images.guest import wait_for
from images.lab import compiling
from images.lab.up import STEPS
from images.paths import Layout
from images.run import CommandError


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """This instead of the compiler."""
    monkeypatch.setattr(compiling, "ARGV", (sys.executable, "-c", text))


def test_what_it_said_is_there_once_it_has_ended_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "print('32 files')")
    with compiling.begun(Layout(tmp_path)) as begun:
        assert begun.wait() == "32 files\n"


def test_its_failure_is_an_error_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "import sys; sys.exit('front.py:1: error: wrong')")
    with compiling.begun(Layout(tmp_path)) as begun, pytest.raises(CommandError, match=r"front\.py:1: error: wrong"):
        begun.wait()


def test_nothing_of_it_is_left_when_the_steps_have_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own children neither: those are what takes the time."""
    text = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""
    program(monkeypatch, text)
    with compiling.begun(Layout(tmp_path)) as begun:
        while not (child := begun.log.read_text().strip()):
            assert begun.process.poll() is None
    assert begun.process.poll() is not None
    wait_for(lambda: _gone(int(child)), "the compiler's child to end")


def test_it_is_waited_for_before_anything_is_deployed() -> None:
    names = [step.name for step in STEPS]
    assert names.index("guest") < names.index("compile") < names.index("provision")


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
