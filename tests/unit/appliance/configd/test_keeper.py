"""The backups that configd makes by itself: after a commit and by the clock, said where they fail, and each a way back."""

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.configd import api, facts
from appliance.configd.keeper import AGAIN_SECONDS, EVERY_SECONDS, Keeper
from tests.unit.appliance.configd.test_backups import Appliance, refused
from tests.unit.appliance.configd.test_certificates import SITE

PASSPHRASE = "kept under this passphrase"
ON_CHANGE: dict[str, Any] = {**SITE, "backup": {"on_change": True, "passphrase": PASSPHRASE, "keep": 2}}


class Kept(Appliance):
    """An appliance with its keeper."""

    def __init__(self, folder: Path, site: dict[str, Any]) -> None:
        super().__init__(folder, site)
        box = self.daemon
        self.keeper = Keeper(box.engine, box.gate, box.sessions, box.backups, clock=box.ticks, wall_clock=box.clock)

    def later(self, seconds: float = EVERY_SECONDS) -> list[int]:
        """The revisions of what lies there after so long."""
        self.daemon.ticks.now += seconds
        self.daemon.clock.now += seconds
        self.keeper.tick()
        return [one.revision for one in self.daemon.backups.all()]

    def change(self, text: str, **fields: Any) -> None:
        self.say(api.SetConfig, type(None), path=("banner", "text"), value=text)
        self.say(api.Commit, **fields)

    def shown(self) -> api.Table:
        found = facts.show("backups", "", self.daemon.context())
        assert isinstance(found, api.Table)
        return found


@pytest.fixture
def box(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "box", ON_CHANGE)


def test_one_is_made_after_each_commit_and_the_newest_are_kept(box: Kept) -> None:
    assert box.later() == [1]
    assert box.later() == [1]
    box.change("two")
    assert box.later() == [2, 1]
    box.change("three")
    assert box.later() == [3, 2]
    notes = [entry for entry in box.daemon.ledger.entries if entry.event == "backup.kept"]
    assert [(entry.user, entry.result) for entry in notes] == [("configd", "ok")] * 3
    assert PASSPHRASE not in str(box.daemon.ledger.entries) + str(box.shown())
    assert [row[2] for row in box.shown().rows] == ["3", "2"]
    assert box.shown().title == "backups"


def test_a_commit_that_waits_for_confirmation_is_not_kept_yet(box: Kept) -> None:
    box.later()
    box.change("two", confirm_minutes=5)
    assert box.later() == [1]
    box.say(api.Confirm, type(None))
    assert box.later() == [2, 1]


def test_one_that_lies_there_is_given_out_and_is_a_way_back(box: Kept) -> None:
    box.later()
    box.change("two")
    name = box.shown().rows[0][0]
    made = box.say(api.ExportBackup, api.Backup, name=name)
    assert made.host == "gw1.example.test"
    assert box.restore(made.backup, PASSPHRASE).changed
    assert "two" not in str(box.daemon.running()["banner"])
    for name in ("../secrets/key", "nothing"):
        assert "found no backup" in refused(partial(box.say, api.ExportBackup, name=name)).message


def test_once_a_day_at_its_hour(tmp_path: Path) -> None:
    box = Kept(tmp_path / "box", {**SITE, "backup": {"daily_at": 3, "passphrase": PASSPHRASE}})
    assert box.later() == [1]
    made = [len(box.later(3_600)) for _hour in range(72)]
    assert made[-1] == 4
    assert {one.when.hour for one in box.daemon.backups.all()[:3]} == {3}


def test_a_full_disk_is_said_loses_nothing_and_is_tried_again(box: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    box.later()
    box.change("two")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert box.later() == [1]
    assert "FAILED" in box.shown().title
    assert "No space left on device" in box.shown().title
    assert [entry.result for entry in box.daemon.ledger.entries if entry.event == "backup.kept"] == ["ok", "error"]
    assert box.later() == [1], "not at once"
    assert box.later(AGAIN_SECONDS) == [2, 1]
    assert box.shown().title == "backups"


def test_nothing_is_kept_without_a_passphrase_or_unasked(tmp_path: Path) -> None:
    box = Kept(tmp_path / "box", SITE)
    assert box.later() == []
    box.say(api.SetConfig, type(None), path=("backup", "on_change"), value="yes")
    assert "backup.passphrase: found nothing" in refused(lambda: box.say(api.Commit)).message
    box.say(api.SetConfig, type(None), path=("backup", "passphrase"), value=PASSPHRASE)
    box.say(api.Commit)
    assert box.later() == [2]
    shorter = refused(lambda: box.say(api.SetConfig, path=("backup", "passphrase"), value="short"))
    assert "15 to 512 printable characters" in shorter.message
    both = refused(lambda: box.say(api.ExportBackup, name="x", passphrase=PASSPHRASE))
    assert "allowed: one of them" in both.message
