"""Updates at configd: a file comes in piece by piece, and orders are left for the unit that may write to the slots."""

import base64
from pathlib import Path

import pytest

from appliance.configd import api
from appliance.configd.sessions import Peer
from appliance.configd.software import BEGIN_SECONDS, STALE_SECONDS, UNIT
from appliance.software.spool import Order, Slot, Slots, Told
from tests.unit.appliance.configd.people import ENABLE, TREE, privileged, refusal
from tests.unit.appliance.workbench import OLGA, ROOT, Daemon

PIECE = b"update" * 100


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """An appliance that is an image, of which slot a runs."""
    made = Daemon(tmp_path)
    made.commit(TREE)
    for name, text in (("usr/lib/sentry/image", "1.2.0\n"), ("proc/cmdline", "ro sentry.slot=a rauc.slot=A\n")):
        place = made.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    made.software.note(Slots(next="a", a=Slot(version="1.2.0", state="good"), b=Slot(version="1.1.0", state="good")))
    return made


def send(daemon: Daemon, peer: Peer, handle: str, offset: int, data: bytes = PIECE, *, last: bool = False) -> int:
    verb = api.UploadSoftware(session=handle, offset=offset, data=base64.b64encode(data).decode(), last=last)
    return int(daemon.say(peer, verb, int))


def status(daemon: Daemon) -> api.Software:
    peer, session = daemon.open(ROOT, 90)
    found: api.Software = daemon.say(peer, api.ReadSoftware(session=session.handle), api.Software)
    return found


def test_an_update_comes_in_piece_by_piece(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    assert send(daemon, peer, handle, 0) == len(PIECE)
    assert status(daemon).uploaded == 0
    assert send(daemon, peer, handle, len(PIECE), last=True) == 2 * len(PIECE)
    assert status(daemon).uploaded == 2 * len(PIECE)
    assert daemon.software.bundle.read_bytes() == 2 * PIECE
    assert daemon.software.bundle.stat().st_mode & 0o777 == 0o600


def test_an_upload_is_one_line_of_the_trail(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    for number in range(5):
        send(daemon, peer, handle, number * len(PIECE), last=number == 4)
    assert [entry.event for entry in daemon.ledger.entries].count("software.upload") == 1


def test_a_piece_that_does_not_go_on_where_the_last_one_ended_is_refused(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0)
    said = refusal(send, daemon, peer, handle, 7)
    assert (said.kind, str(len(PIECE)) in said.message) == ("invalid", True)


def test_an_upload_that_was_not_finished_takes_nothing_from_the_one_before(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0, last=True)
    send(daemon, peer, handle, 0, b"half")
    assert daemon.software.bundle.read_bytes() == PIECE


@pytest.mark.parametrize("data", ["!", "AAA"])
def test_what_is_no_base64_is_refused(daemon: Daemon, data: str) -> None:
    peer, handle = privileged(daemon)
    verb = api.UploadSoftware(session=handle, offset=0, data=data)
    assert refusal(daemon.say, peer, verb).kind == "invalid"


def test_two_do_not_upload_into_one_another(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0)
    other, theirs = privileged(daemon, connection=2)
    assert refusal(send, daemon, other, theirs, 0).kind == "conflict"
    assert refusal(send, daemon, other, theirs, len(PIECE)).kind == "conflict"
    daemon.ticks.now += STALE_SECONDS
    assert send(daemon, other, theirs, 0) == len(PIECE)
    assert refusal(send, daemon, peer, handle, len(PIECE)).kind == "conflict"


def test_an_upload_whose_session_has_ended_holds_up_nobody(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0)
    daemon.say(peer, api.CloseSession(session=handle))
    other, theirs = privileged(daemon, connection=2)
    assert send(daemon, other, theirs, 0) == len(PIECE)


def test_to_ask_whether_one_may_is_no_upload(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    assert send(daemon, peer, handle, 0, b"") == 0
    other, theirs = privileged(daemon, connection=2)
    assert send(daemon, other, theirs, 0) == len(PIECE)


def test_an_order_is_left_and_its_unit_started_and_nothing_else(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0, last=True)
    daemon.commands.log.clear()
    begun = daemon.say(peer, api.UpdateSoftware(session=handle), api.Software)
    assert daemon.software.order() == Order(kind="update", by="alice")
    assert daemon.commands.acted() == [f"--no-block start {UNIT}"]
    assert begun.order is not None
    assert (begun.order.standing, begun.order.by) == ("running", "alice")


def test_while_one_is_carried_out_there_is_no_other_and_no_upload(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0, last=True)
    daemon.say(peer, api.UpdateSoftware(session=handle))
    daemon.software.take()
    daemon.commands.units[UNIT] = "activating"
    assert refusal(daemon.say, peer, api.RollBackSoftware(session=handle)).kind == "conflict"
    assert refusal(send, daemon, peer, handle, 0).kind == "conflict"
    daemon.commands.units[UNIT] = "inactive"
    daemon.say(peer, api.RollBackSoftware(session=handle))
    assert daemon.software.order() == Order(kind="rollback", by="alice")


def test_an_order_that_was_cut_short_is_told_as_one_that_failed(daemon: Daemon) -> None:
    daemon.software.tell(Told(kind="update", by="alice", began="2026-01-31T18:00:00Z"))
    daemon.commands.units[UNIT] = "inactive"
    order = status(daemon).order
    assert order is not None
    assert (order.standing, order.problem) == ("failed", "it was cut short; give the order again")


def test_an_order_whose_unit_never_began_is_one_that_failed_once_its_time_is_over(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.say(peer, api.RollBackSoftware(session=handle))
    daemon.commands.units[UNIT] = "inactive"
    first = status(daemon).order
    daemon.ticks.now += BEGIN_SECONDS
    second = status(daemon).order
    assert first is not None
    assert second is not None
    assert (first.standing, second.standing) == ("running", "failed")


def test_an_order_that_ends_while_it_is_looked_at_was_not_cut_short(daemon: Daemon) -> None:
    """Its unit ends between the looks at what it has written and at whether it runs."""

    class Ending(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            daemon.software.tell(Told(kind="rollback", by="alice", began="a", ended="b"))
            daemon.software.note(Slots(next="b", a=Slot(state="good"), b=Slot(state="good")))
            return super().__getitem__(name)

    peer, session = daemon.open(ROOT, 90)
    daemon.software.tell(Told(kind="rollback", by="alice", began="a"))
    daemon.commands.units = Ending({UNIT: "inactive"})
    found = daemon.say(peer, api.ReadSoftware(session=session.handle), api.Software)
    assert (found.order.standing, found.order.problem, found.next) == ("done", "", "b")


def test_what_became_of_an_order_is_told(daemon: Daemon) -> None:
    told = Told(kind="update", by="alice", began="a", ended="b", problem="signature verification failed")
    daemon.software.tell(told)
    order = status(daemon).order
    assert order is not None
    assert (order.standing, order.problem) == ("failed", told.problem)
    daemon.software.tell(Told(kind="update", by="alice", began="a", ended="b"))
    done = status(daemon).order
    assert done is not None
    assert done.standing == "done"


def test_an_update_that_is_not_here_cannot_be_written(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    assert "found no update here" in refusal(daemon.say, peer, api.UpdateSoftware(session=handle)).message
    assert daemon.software.order() is None


def test_a_machine_that_is_no_image_says_so(daemon: Daemon) -> None:
    (daemon.root / "usr/lib/sentry/image").unlink()
    peer, handle = privileged(daemon)
    assert status(daemon) == api.Software(image=False)
    for verb in (api.UpdateSoftware(session=handle), api.RollBackSoftware(session=handle)):
        assert "no image" in refusal(daemon.say, peer, verb).message
    assert "no image" in refusal(send, daemon, peer, handle, 0).message


def test_operators_look_and_do_nothing(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    assert daemon.say(peer, api.ReadSoftware(session=handle), api.Software).version == "1.2.0"
    for verb in (
        api.UpdateSoftware(session=handle),
        api.RollBackSoftware(session=handle),
        api.UploadSoftware(session=handle, offset=0, data=""),
    ):
        assert refusal(daemon.say, peer, verb).kind == "permission"


def test_an_enable_of_long_ago_is_not_enough(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    send(daemon, peer, handle, 0, last=True)
    daemon.ticks.now += 301
    assert refusal(daemon.say, peer, api.UpdateSoftware(session=handle)).kind == "privilege"
    daemon.say(peer, api.Disable(session=handle))
    daemon.say(peer, api.Enable(session=handle, secret=ENABLE))
    daemon.say(peer, api.UpdateSoftware(session=handle))


def test_the_slots_are_told_as_they_are(daemon: Daemon) -> None:
    found = status(daemon)
    assert (found.version, found.running, found.next) == ("1.2.0", "a", "a")
    assert [(slot.name, slot.version, slot.state) for slot in found.slots] == [
        ("a", "1.2.0", "good"),
        ("b", "1.1.0", "good"),
    ]
