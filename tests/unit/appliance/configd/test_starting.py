"""A sealed image starts with an empty /etc: what the running revision renders is put there anew."""

from pathlib import Path

import pytest

from appliance.configd import starting
from tests.unit.appliance.workbench import WEB, Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """A configd with a revision, on a machine that has lost its /etc."""
    made = Daemon(tmp_path / "box")
    made.commit({"name": "box", "web": {"port": 80}})
    for path in sorted((made.root / "etc").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    made.commands.log.clear()
    (tmp_path / "image").write_text("1.0.0\n")
    return made


def start(daemon: Daemon, folder: Path) -> None:
    starting.lay_out(daemon.engine, daemon.gate, daemon.sessions, sealed=folder / "image", done=folder / "done")


def events(daemon: Daemon) -> list[tuple[str, str]]:
    return [(entry.event, entry.result) for entry in daemon.ledger.entries if entry.event == "config.laid_out"]


def test_files_come_back_and_their_units_take_notice(daemon: Daemon, tmp_path: Path) -> None:
    start(daemon, tmp_path)
    assert (daemon.machine.read(WEB) or "").startswith("port 80\n")
    assert daemon.commands.acted() == ["reload-or-restart -- web.service"]
    assert events(daemon) == [("config.laid_out", "ok")]


def test_it_is_done_once_for_each_start(daemon: Daemon, tmp_path: Path) -> None:
    start(daemon, tmp_path)
    daemon.machine.place(WEB).unlink()
    start(daemon, tmp_path)
    assert daemon.machine.read(WEB) is None  # drift, of which the one who restarted configd is told
    (tmp_path / "done").unlink()
    start(daemon, tmp_path)
    assert daemon.machine.read(WEB) is not None


def test_a_host_that_is_no_image_is_left_alone(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "image").unlink()
    start(daemon, tmp_path)
    assert daemon.machine.read(WEB) is None


def test_a_unit_that_fails_keeps_nothing_from_the_rest(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.dies_after.add("web.service")
    start(daemon, tmp_path)
    assert daemon.machine.read(WEB) is not None
    assert events(daemon) == [("config.laid_out", "partly")]


def test_a_commit_that_waits_for_confirmation_goes_on_waiting(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "box")
    (tmp_path / "image").write_text("1.0.0\n")
    daemon.commit({"name": "box"})
    daemon.engine.commit(daemon.order({"name": "other"}, confirm_minutes=5))
    start(daemon, tmp_path)
    assert daemon.store.pending() is not None


def test_before_the_first_commit_there_is_nothing_to_do(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "box")
    (tmp_path / "image").write_text("1.0.0\n")
    start(daemon, tmp_path)
    assert events(daemon) == []
