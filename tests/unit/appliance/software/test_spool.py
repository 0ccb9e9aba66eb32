"""The folder that both sides share: what is there is whole, nobody else reads it, and what does not fit is said."""

from pathlib import Path

import pytest

from appliance.software import spool as spools
from appliance.software.spool import Order, Slot, Slots, Spool, SpoolError, Told


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "software")


def test_an_empty_folder_says_nothing(spool: Spool) -> None:
    assert (spool.order(), spool.take(), spool.told(), spool.slots(), spool.uploaded()) == (None, None, None, None, 0)


def test_messages_come_back_as_they_were_left(spool: Spool) -> None:
    order = Order(kind="update", by="alice", allow_older=True)
    told = Told(kind="update", by="alice", began="x")
    slots = Slots(next="b", a=Slot(version="1.0", state="good"), b=Slot(version="1.1", state="trial"))
    spool.leave(order)
    spool.tell(told)
    spool.note(slots)
    assert (spool.order(), spool.told(), spool.slots()) == (order, told, slots)
    assert spool.take() == order
    assert spool.order() is None


def test_nobody_else_reads_it(spool: Spool, tmp_path: Path) -> None:
    spool.leave(Order(kind="rollback", by="alice"))
    spool.begin()
    assert {place.stat().st_mode & 0o077 for place in (tmp_path / "software", *(tmp_path / "software").iterdir())} == {
        0
    }


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind":"format"}', b'{"kind":"update"}', b"[]"])
def test_what_is_no_order_is_no_order(spool: Spool, tmp_path: Path, content: bytes) -> None:
    spool.leave(Order(kind="rollback", by="alice"))
    (tmp_path / "software/order.json").write_bytes(content)
    with pytest.raises(SpoolError, match=r"order\.json: cannot be read"):
        spool.order()


def test_an_upload_larger_than_a_slot_is_refused(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "BUNDLE_BYTES", 10)
    spool.begin()
    spool.add(0, b"12345")
    with pytest.raises(SpoolError, match="found more than 10 bytes"):
        spool.add(5, b"123456")


def test_an_upload_leaves_room_on_the_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "LEFT_BYTES", 1 << 60)
    spool.begin()
    with pytest.raises(SpoolError, match="allowed: an upload that leaves"):
        spool.add(0, b"12345")


def test_nothing_is_no_upload(spool: Spool) -> None:
    spool.begin()
    with pytest.raises(SpoolError, match="found no bytes"):
        spool.finish()


def test_a_piece_without_a_beginning_is_refused(spool: Spool) -> None:
    with pytest.raises(SpoolError):
        spool.add(0, b"x")
