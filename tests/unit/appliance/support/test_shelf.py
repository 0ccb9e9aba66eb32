"""Files that wait to be fetched: whole or not at all, deleted once they were fetched, and not for long."""

from pathlib import Path

import pytest

from appliance.support.shelf import FILE_BYTES, KEPT_SECONDS, MOST_FILES, PIECE_BYTES, Shelf, ShelfError
from tests.unit.appliance.workbench import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(tmp_path: Path, clock: Clock) -> Shelf:
    return Shelf(tmp_path / "support", clock=clock)


def test_a_file_is_root_s_alone_and_named_by_its_moment(shelf: Shelf, tmp_path: Path) -> None:
    laid = shelf.put("bundle", b"x")
    assert laid.name == "bundle-20270115T080000Z.tar.gz"
    assert (tmp_path / "support").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "support" / laid.name).stat().st_mode & 0o777 == 0o600


def test_two_of_one_second_are_two(shelf: Shelf) -> None:
    names = {shelf.put("capture", b"x").name, shelf.put("capture", b"y").name}
    assert len(names) == len(shelf.all()) == 2


def test_a_file_comes_in_pieces_and_goes_with_the_empty_one(shelf: Shelf) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256) + b"the end"
    laid = shelf.put("capture", data)
    got = b""
    while piece := shelf.piece(laid.name, len(got))[1]:
        got += piece
        assert len(piece) <= PIECE_BYTES
    assert got == data
    assert shelf.all() == ()


def test_a_download_that_breaks_off_begins_anew(shelf: Shelf) -> None:
    laid = shelf.put("bundle", b"abc")
    assert shelf.piece(laid.name, 0)[1] == shelf.piece(laid.name, 0)[1] == b"abc"


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_deletes_nothing(shelf: Shelf, offset: int) -> None:
    laid = shelf.put("bundle", b"abc")
    with pytest.raises(ShelfError, match="allowed: 0 to 3"):
        shelf.piece(laid.name, offset)
    assert len(shelf.all()) == 1


@pytest.mark.parametrize("name", ["", "..", "../config/running.json", "/etc/shadow", "bundle-20270115T080000Z.tar.gz"])
def test_a_name_is_looked_up_and_no_path(shelf: Shelf, tmp_path: Path, name: str) -> None:
    (tmp_path / "support" / "stranger").write_text("x")
    for ask in (lambda: shelf.piece(name, 0), lambda: shelf.drop(name)):
        with pytest.raises(ShelfError, match="allowed: none"):
            ask()


def test_when_it_is_full_nothing_is_thrown_away(shelf: Shelf) -> None:
    names = [shelf.put("bundle", b"x").name for _ in range(MOST_FILES)]
    with pytest.raises(ShelfError, match=f"allowed: {MOST_FILES}"):
        shelf.put("bundle", b"x")
    assert {one.name for one in shelf.all()} == set(names)
    shelf.drop(names[0])
    shelf.put("bundle", b"x")


def test_one_that_is_too_large_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ShelfError, match=str(FILE_BYTES)):
        shelf.put("capture", b"\0" * (FILE_BYTES + 1))
    assert shelf.all() == ()


def test_what_has_lain_for_a_day_or_is_from_a_time_to_come_goes(shelf: Shelf, clock: Clock) -> None:
    old = shelf.put("bundle", b"x").name
    clock.now += KEPT_SECONDS - 1
    assert shelf.sweep() == ()
    clock.now += 1
    new = shelf.put("bundle", b"x").name
    assert shelf.sweep() == (old,)
    clock.now -= 7 * KEPT_SECONDS
    assert shelf.sweep() == (new,)


def test_what_a_crash_left_half_written_goes_with_the_next_start(shelf: Shelf, tmp_path: Path, clock: Clock) -> None:
    left = tmp_path / "support" / "bundle-20270115T080000Z.tar.gz.new"
    left.write_bytes(b"half")
    assert Shelf(tmp_path / "support", clock=clock).all() == ()
    assert not left.exists()
