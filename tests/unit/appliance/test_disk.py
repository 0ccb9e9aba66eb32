"""Files that outlive a loss of power: whole, or as they were."""

import os
from pathlib import Path

import pytest

from appliance.disk import put


def test_a_file_is_this_accounts_alone_and_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("before")
    place.chmod(0o644)
    put(place, b"after")
    assert (place.read_bytes(), place.stat().st_mode & 0o7777) == (b"after", 0o600)
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_predecessor_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Not even where it is a link to a file that nobody may write."""
    other = tmp_path / "other"
    other.write_text("another's")
    (tmp_path / ".file.new").symlink_to(other)
    put(tmp_path / "file", b"ours")
    assert ((tmp_path / "file").read_bytes(), other.read_text()) == (b"ours", "another's")


def test_a_disk_that_takes_nothing_leaves_what_lay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    place = tmp_path / "file"
    put(place, b"before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        put(place, b"after")
    assert place.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [place]
