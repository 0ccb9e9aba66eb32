"""Backups on the appliance's own disk: when one is due, and that what lies there is whole, the newest ones, and nobody else's."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.backup.bounds import BackupError
from appliance.backup.keeping import Copy, Folder, due

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def copy(when: datetime, revision: int = 3) -> Copy:
    return Copy("x", when, revision, 1)


@pytest.mark.parametrize(
    ("settings", "newest", "wanted"),
    [
        ({}, None, False),
        ({"on_change": False}, copy(NOON, 2), False),
        ({"on_change": True}, None, True),
        ({"on_change": True}, copy(NOON, 2), True),
        ({"on_change": True}, copy(NOON - 99 * HOUR), False),
        ({"daily_at": 11}, None, True),
        ({"daily_at": 11}, copy(NOON - HOUR), False),
        ({"daily_at": 11}, copy(NOON - 1.01 * HOUR), True),
        ({"daily_at": 12}, copy(NOON - HOUR), True),
        ({"daily_at": 13}, copy(NOON - 22 * HOUR), False),
        ({"daily_at": 13}, copy(NOON - 24 * HOUR), True),
        ({"daily_at": 0, "on_change": True}, copy(NOON), False),
    ],
)
def test_when_one_is_due(settings: dict[str, Any], newest: Copy | None, *, wanted: bool) -> None:
    assert due(settings, newest, 3, NOON) is wanted


def test_the_oldest_go_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "backups")
    for number in range(1, 6):
        assert folder.put(f"file {number}".encode(), NOON + number * HOUR, number, keep=3) == (
            f"20260131T{12 + number}0000Z-{number}.backup"
        )
    assert [(one.revision, one.when, one.size) for one in folder.all()] == [
        (number, NOON + number * HOUR, 6) for number in (5, 4, 3)
    ]
    assert folder.read("20260131T160000Z-4.backup") == b"file 4"
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
    assert {place.stat().st_mode & 0o777 for place in (tmp_path / "backups").iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["", "../secrets/key", "/etc/shadow", "20260131T170000Z-9.backup", "x.backup"])
def test_only_what_is_listed_is_given_out(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / "backups")
    folder.put(b"file", NOON, 1, keep=1)
    (tmp_path / "backups/x.backup").write_text("a stranger's")
    with pytest.raises(BackupError, match=r"allowed: 20260131T120000Z-1\.backup"):
        folder.read(name)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "backups")
    folder.put(b"file", NOON, 1, keep=1)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            folder.put(b"other", NOON + HOUR, 2, keep=1)
    assert [place.name for place in (tmp_path / "backups").iterdir()] == ["20260131T120000Z-1.backup"]
    assert folder.read("20260131T120000Z-1.backup") == b"file"


def test_what_a_crash_left_half_written_is_swept(tmp_path: Path) -> None:
    Folder(tmp_path / "backups")
    (tmp_path / "backups/20260131T120000Z-1.backup.new").write_text("ha")
    assert Folder(tmp_path / "backups").all() == ()
    assert list((tmp_path / "backups").iterdir()) == []
