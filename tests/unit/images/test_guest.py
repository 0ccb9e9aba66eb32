"""What runs is known by process id and start time, so that nobody else's process is ever touched."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from images import guest as guests
from images.guest import Guest, GuestError, find, stop, wait_for
from images.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A build folder of this test's own."""
    return Layout(tmp_path)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands in for systemd-nspawn."""
    with subprocess.Popen(["sleep", "600"]) as started:
        yield started
        started.kill()


def written(layout: Layout, process: subprocess.Popen[bytes]) -> Guest:
    """A guest whose process is `process`, with its file in place."""
    started = guests.start_time(process.pid)
    assert started is not None
    guest = Guest("one", process.pid, started, process.pid, started, layout.guests / "one/root", "digest")
    save(layout, guest)
    return guest


def save(layout: Layout, guest: Guest) -> None:
    """Write the guest's file."""
    layout.run.mkdir(exist_ok=True)
    (layout.run / f"{guest.name}.json").write_text(json.dumps(guests._described(guest)))


def test_a_running_guest_is_found(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """What was written down comes back as it was."""
    guest = written(layout, process)
    assert find("one", layout) == guest


def test_a_guest_that_never_was_is_not_found(layout: Layout) -> None:
    """No file, no guest."""
    assert find("one", layout) is None


def test_a_reused_process_id_is_not_our_guest(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """Another start time means another process: the stale file goes, the process stays."""
    save(layout, replace(written(layout, process), started=1))
    assert find("one", layout) is None
    assert not (layout.run / "one.json").exists()
    assert process.poll() is None


def test_stopping_a_stale_guest_kills_nobody(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """The process that has the id now is not ours."""
    stop(replace(written(layout, process), started=1, leader_started=1), layout)
    assert process.poll() is None


def test_stopping_ends_the_guests_process(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM first; the file goes with the process."""
    stop(written(layout, process), layout)
    assert process.wait() == -15
    assert not (layout.run / "one.json").exists()


def test_a_guest_that_ignores_sigterm_is_killed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline there is no asking any more."""
    monkeypatch.setattr(guests, "STOP_SECONDS", 0.3)
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == b"deaf\n"
        stop(written(layout, deaf), layout)
        assert deaf.wait() == -9


def test_a_file_that_is_no_description_is_an_error(layout: Layout) -> None:
    """It is not taken for "nothing runs": that would boot a second guest beside a running one."""
    layout.run.mkdir()
    (layout.run / "one.json").write_text("{}")
    with pytest.raises(GuestError, match=r"one\.json"):
        find("one", layout)


def test_waiting_in_vain_says_for_what() -> None:
    """The message has the seconds and the thing."""
    with pytest.raises(GuestError, match=r"waited 0\.2 s for the moon"):
        wait_for(lambda: None, "the moon", 0.2)
