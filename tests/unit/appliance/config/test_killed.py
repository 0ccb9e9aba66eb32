"""kill -9 of configd at every single step of a commit: each system call that writes, each command; the next start leaves the old
revision or the new one, whole."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import render
from appliance.config.secrets import references
from tests.unit.appliance.config.killed_program import FIRST, MARK, SECOND
from tests.unit.appliance.workbench import Bench

REPO = Path(__file__).parents[4]
PROGRAM = Path(__file__).with_name("killed_program.py")
WRITES = ("write", "fsync", "rename", "unlink", "unlinkat", "fchmod", "fallocate", "mkdir")
"""Every system call by which a commit changes the disk. That a new file is there and empty is what a kill at its first `write`
leaves."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An appliance on which `FIRST` runs."""
    folder = tmp_path_factory.mktemp("before")
    Bench(folder).commit(FIRST)
    return folder


def committing(
    before: Path, folder: Path, *command: str, trace: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """A copy of that appliance, and on it a commit in a process of its own."""
    shutil.copytree(before, folder, symlinks=True)
    argv = [*trace, sys.executable, "-B", str(PROGRAM), str(folder), *command]
    return subprocess.run(
        argv, cwd=REPO, env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True, check=False, timeout=120
    )


def whole(folder: Path) -> str:
    """Start configd anew on what the killed one left, hold everything against the running revision, and go on working; the
    name of the appliance says which revision that is."""
    shutil.rmtree(folder / MARK, ignore_errors=True)
    bench = Bench(folder)
    tree = bench.running()
    name = str(tree["name"])
    assert bench.files() == {
        path: (file.text, file.mode) for path, file in render.render_all(tree, bench.features).items()
    }
    assert bench.commands.kernel_name == name
    assert bench.store.journal() is None
    assert (bench.store.pending() is not None) == (name == "other")
    assert [one.number for one in bench.store.revisions()] == ([2, 1] if name == "other" else [1])
    assert not list(bench.root.rglob("*.sentry-new"))
    assert not (folder / "config/reserve").exists()
    for kept in bench.store.trees():
        assert all(bench.vault.reveal(reference) for reference in references(kept))
    bench.engine.return_to(1, "tester", "back")
    assert bench.commit(SECOND).changed
    secrets = {reference for kept in bench.store.trees() for reference in references(kept)}
    assert {f"secret:{place.name}" for place in (folder / "secrets").iterdir()} - {"secret:key"} == secrets
    return name


@pytest.fixture(scope="module")
def counted(before: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, range]:
    """How often a commit that nobody kills makes each of these calls: those before the mark are not the commit's."""
    folder = tmp_path_factory.mktemp("whole")
    trace = folder / "trace"
    options = ("strace", "-qq", "-f", "-o", str(trace), "-e", f"trace={','.join(WRITES)}")
    done = committing(before, folder / "box", trace=options)
    assert done.returncode == 0, done.stderr
    assert whole(folder / "box") == "other"
    early, _, late = trace.read_text().partition(f"/{MARK}")
    calls = {call: re.compile(rf"^(?:\d+ +)?{call}\(", re.MULTILINE) for call in WRITES}
    return {
        call: range(len(found.findall(early)) + 1, len(found.findall(early)) + len(found.findall(late)) + 1)
        for call, found in calls.items()
    }


def test_a_commit_writes_syncs_and_renames(counted: dict[str, range]) -> None:
    """So that the test below kills something: three files change and one goes; journal, revision, what waits and the pointer."""
    assert len(counted["rename"]) >= 8
    assert len(counted["fsync"]) >= 16
    assert sum(map(len, counted.values())) >= 55


@pytest.mark.parametrize("call", WRITES)
def test_killed_at_each_single_write_it_comes_back_with_the_old_or_the_new_revision(
    call: str, counted: dict[str, range], before: Path, tmp_path: Path
) -> None:
    assert counted[call]
    names = []
    for number in counted[call]:
        folder = tmp_path / str(number)
        kill = (
            "strace",
            "-qq",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGKILL:when={number}",
        )
        done = committing(before, folder, trace=kill)
        assert done.returncode in KILLED, (call, number, done.stderr)
        names.append(whole(folder))
        shutil.rmtree(folder)
    assert names == sorted(names)  # "box" up to one point, "other" from there


def commands(before: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """Before and after each command of a commit."""
    done = committing(before, folder)
    assert done.returncode == 0, done.stderr
    for number in range(1, int(done.stdout) + 1):
        yield from ((number, "before"), (number, "after"))


def test_killed_around_each_command_it_comes_back_with_the_old_or_the_new_revision(
    before: Path, tmp_path: Path
) -> None:
    """What systemd does, it does to its end; what comes after has not been asked for."""
    seen = list(commands(before, tmp_path / "whole"))
    assert len(seen) >= 6
    for number, when in seen:
        folder = tmp_path / f"{number}-{when}"
        done = committing(before, folder, "--command", str(number), when)
        assert done.returncode in KILLED, (number, when, done.stderr)
        assert whole(folder) == "box", (number, when)
