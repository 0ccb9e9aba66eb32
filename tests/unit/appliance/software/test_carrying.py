"""An order is carried out as a whole, and what it leaves is never a slot that nobody knows about."""

import pytest

from appliance.software.carrying import CarryError, carry_out, slot_of
from appliance.software.rauc import RaucError, parsed
from appliance.software.spool import Order, Slot, Slots, Told
from tests.unit.appliance.software.bench import HASH, NOW, Bench, info


def update(bench: Bench, *, allow_older: bool = False) -> Told:
    bench.spool.leave(Order(kind="update", by="alice", allow_older=allow_older))
    done = carry_out(bench.spool, bench.machine())
    assert done is not None
    assert bench.spool.told() == done
    return done


def roll_back(bench: Bench) -> Told:
    bench.spool.leave(Order(kind="rollback", by="alice"))
    done = carry_out(bench.spool, bench.machine())
    assert done is not None
    return done


def test_an_update_is_written_into_the_other_slot_which_is_next_and_on_trial(bench: Bench) -> None:
    bench.bring()
    assert update(bench) == Told(kind="update", by="alice", began=NOW, ended=NOW)
    assert bench.slots.next == "b"
    assert bench.slots.b == Slot(
        version="1.3.0",
        state="trial",
        root_hash=HASH["b"],
        hash_offset=8192,
        boot_digest="d" * 64,
        boot_bytes=1_048_576,
    )
    assert bench.slots.a.state == "good"
    assert [line.split()[1] for line in bench.programs.log] == ["info", "install"]
    assert bench.spool.uploaded() == 0  # its room is free again


def test_there_is_nothing_to_do_without_an_order_and_one_is_done_once(bench: Bench) -> None:
    bench.bring()
    update(bench)
    assert carry_out(bench.spool, bench.machine()) is None


@pytest.mark.parametrize("version", ["1.2.0", "1.1.9", "1.2.0-rc1"])
def test_what_is_no_newer_is_refused_and_nothing_is_written(bench: Bench, version: str) -> None:
    bench.bring()
    bench.programs.answers["rauc info"] = info(version)
    before = bench.slots
    assert f"found the version {version}; allowed: one after 1.2.0" in update(bench).problem
    assert bench.slots == before
    assert not [line for line in bench.programs.log if "install" in line]
    assert bench.spool.uploaded()


def test_an_older_one_is_written_when_it_is_asked_for(bench: Bench) -> None:
    bench.bring()
    bench.programs.answers["rauc info"] = info("1.1.0")
    assert update(bench, allow_older=True).problem == ""
    assert bench.slots.b.version == "1.1.0"


def test_a_wrong_signature_is_refused_before_anything_else_is_looked_at(bench: Bench) -> None:
    bench.bring()
    said = "rauc-Message: Reading bundle\nsignature verification failed: self-signed certificate\n"
    bench.programs.failing["rauc info"] = said
    before = bench.slots
    assert update(bench).problem == "the update is refused: signature verification failed: self-signed certificate"
    assert bench.slots == before


@pytest.mark.parametrize(
    "said", ["", "{}", "[]", info("1.3.0", meta={}), info("1.3.0", images=[]), info("1.3.0", meta=None)]
)
def test_a_signed_bundle_of_something_else_is_refused(bench: Bench, said: str) -> None:
    with pytest.raises(RaucError, match="is none of this product"):
        parsed(said)
    bench.bring()
    bench.programs.answers["rauc info"] = said
    assert "refused" in update(bench).problem


def test_a_version_that_is_none_is_refused(bench: Bench) -> None:
    bench.bring()
    bench.programs.answers["rauc info"] = info("latest")
    assert "found the version 'latest'" in update(bench).problem


def test_while_it_is_written_the_slot_is_nothing_to_go_back_to(bench: Bench) -> None:
    """The writing fails in the middle, or the machine is switched off: what was there is lost."""
    bench.bring()
    bench.programs.failing["rauc install"] = "LastError: Failed updating slot rootfs.1: No space left on device"
    assert "No space left" in update(bench).problem
    assert bench.slots.b == Slot()
    assert bench.slots.next == "a"
    assert "allowed: one that has run well" in roll_back(bench).problem


def test_what_has_not_yet_run_well_does_not_write_over_the_only_way_back(bench: Bench) -> None:
    bench.bring()
    slots = bench.slots
    bench.spool.note(Slots(next="a", a=Slot(version="1.2.0", state="trial"), b=slots.b))
    assert "has not yet been seen to run well" in update(bench).problem
    assert bench.slots.b == slots.b


def test_the_way_back_is_the_other_slot_from_the_next_start_on(bench: Bench) -> None:
    assert roll_back(bench).problem == ""
    assert bench.programs.log == ["rauc status mark-active other"]
    assert bench.slots.next == "b"
    assert bench.slots.b.state == "good"


@pytest.mark.parametrize("slot", [Slot(), Slot(version="1.3.0", state="trial"), Slot(version="1.3.0", state="bad")])
def test_there_is_no_way_back_to_what_never_ran_well(bench: Bench, slot: Slot) -> None:
    bench.spool.note(Slots(next="a", a=bench.slots.a, b=slot))
    assert f"{slot.state}; allowed: one that has run well" in roll_back(bench).problem
    assert bench.programs.log == []


def test_the_slot_that_runs_is_what_the_boot_menu_said() -> None:
    assert slot_of("ro sentry.slot=b rauc.slot=B quiet") == "b"
    for words in ("ro quiet", "sentry.slot=c", "xsentry.slot=a"):
        with pytest.raises(CarryError, match="no image"):
            slot_of(words)
