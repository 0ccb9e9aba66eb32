"""After a start that went well: what is good, what is bad, and from what we fell back."""

import hashlib
from pathlib import Path

import pytest

from appliance.process import CommandError
from appliance.software import environment
from appliance.software.marking import Marked, digest, mark_good, on_trial, starts_again
from appliance.software.rauc import RaucError
from appliance.software.spool import Slot, Slots, Spool, State
from appliance.software.verifying import verify
from tests.unit.appliance.software.bench import COMMAND_LINE, HASH, NOW, Bench

BOOT = b"kernel and initramfs" * 1000


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """A boot partition."""
    place = tmp_path / "boot"
    place.write_bytes(BOOT)
    (tmp_path / "grubenv").write_bytes(b"# GRUB Environment Block\n".ljust(environment.BYTES, b"#"))
    return place


def test_the_first_start_of_an_image_is_remembered_with_what_it_is_verified_by(
    bench: Bench, tmp_path: Path, boot: Path
) -> None:
    spool = Spool(tmp_path / "new")
    assert on_trial(spool.slots(), "a")
    assert mark_good(spool, bench.machine(), COMMAND_LINE, boot=boot, esp=boot.parent) == Marked(
        first=True, fell_back_from=""
    )
    slots = spool.slots()
    assert slots == Slots(
        next="a",
        a=Slot(
            version="1.2.0",
            state="good",
            root_hash=HASH["a"],
            hash_offset=4096,
            boot_digest=hashlib.sha256(BOOT).hexdigest(),
            boot_bytes=len(BOOT),
        ),
    )
    assert bench.programs.log == ["rauc status mark-good booted"]
    assert not on_trial(slots, "a")


@pytest.mark.parametrize(
    ("here", "there", "again"),
    [
        ("trial", "good", True),
        ("bad", "good", True),
        ("good", "good", False),
        ("good", "bad", False),
        ("trial", "bad", False),
        ("trial", "trial", False),
        ("empty", "empty", False),
    ],
)
def test_a_start_that_is_not_well_is_made_again_only_where_there_is_a_way_back(
    *, here: State, there: State, again: bool
) -> None:
    assert starts_again(Slots(next="b", b=Slot(state=here), a=Slot(state=there)), "b") is again
    assert not starts_again(None, "b")


def test_each_start_sets_the_count_back_and_says_nothing_new(bench: Bench, boot: Path) -> None:
    for _start in range(2):
        assert mark_good(bench.spool, bench.machine(), COMMAND_LINE, boot=boot, esp=boot.parent) == Marked(
            first=False, fell_back_from=""
        )
    assert bench.programs.log == ["rauc status mark-good booted"] * 2


def test_an_update_that_runs_well_is_good(bench: Bench, boot: Path) -> None:
    trial = Slot(version="1.3.0", state="trial", root_hash=HASH["b"], boot_digest="d" * 64, boot_bytes=7)
    bench.spool.note(Slots(next="b", a=bench.slots.a, b=trial))
    machine = bench.machine(version="1.3.0", slot="b")
    assert mark_good(bench.spool, machine, "sentry.slot=b", boot=boot, esp=boot.parent) == Marked(
        first=True, fell_back_from=""
    )
    assert (bench.slots.b.state, bench.slots.b.boot_digest, bench.slots.next) == ("good", "d" * 64, "b")
    assert bench.slots.a.state == "good"


def test_an_update_that_did_not_come_up_is_bad_and_this_slot_is_next_again(bench: Bench, boot: Path) -> None:
    bench.spool.note(Slots(next="b", a=bench.slots.a, b=Slot(version="1.3.0", state="trial")))
    marked = mark_good(bench.spool, bench.machine(), COMMAND_LINE, boot=boot, esp=boot.parent)
    assert marked == Marked(first=False, fell_back_from="1.3.0")
    assert bench.programs.log == [
        "rauc status mark-good booted", "rauc status mark-bad other", "rauc status mark-active booted",
    ]  # fmt: skip
    assert (bench.slots.b.state, bench.slots.next) == ("bad", "a")


def test_an_environment_that_cannot_be_written_leaves_the_start_counted(bench: Bench, boot: Path) -> None:
    bench.programs.failing["rauc status"] = "failed to run grub-editenv: Read-only file system"
    before = bench.slots
    with pytest.raises(RaucError, match="Read-only"):
        mark_good(bench.spool, bench.machine(), COMMAND_LINE, boot=boot, esp=boot.parent)
    assert bench.slots == before


# --- GRUB's environment ----------------------------------------------------------------------------------------------


def test_an_environment_that_a_power_cut_caught_is_mended_and_the_slot_that_runs_is_first(
    bench: Bench, tmp_path: Path, boot: Path
) -> None:
    (tmp_path / "grubenv").write_bytes(b"")
    mark_good(bench.spool, bench.machine(version="1.1.0", slot="b"), "", boot=boot, esp=tmp_path)
    made = (tmp_path / "grubenv").read_bytes()
    assert len(made) == environment.BYTES
    assert made.startswith(b"# GRUB Environment Block\nORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n#")
    assert (tmp_path / "grubenv2").read_bytes() == made


def test_a_slot_that_never_ran_well_is_not_good_in_a_mended_one(bench: Bench, tmp_path: Path) -> None:
    slots = Slots(next="a", a=bench.slots.a, b=Slot(version="1.3.0", state="bad"))
    assert environment.mend(tmp_path, slots, "a")
    assert b"\nB_OK=0\n" in (tmp_path / "grubenv").read_bytes()


def test_a_whole_environment_is_left_as_it_is_and_copied(bench: Bench, tmp_path: Path) -> None:
    whole = b"# GRUB Environment Block\nORDER=A B\n".ljust(environment.BYTES, b"#")
    (tmp_path / "grubenv").write_bytes(whole)
    assert not environment.mend(tmp_path, bench.slots, "a")
    environment.keep_spare(tmp_path)
    assert (tmp_path / "grubenv").read_bytes() == (tmp_path / "grubenv2").read_bytes() == whole


# --- reading both slots ----------------------------------------------------------------------------------------------


def partitions(bench: Bench, folder: Path) -> None:
    """Boot partitions that are what is remembered of them."""
    slots = bench.slots
    for letter in ("a", "b"):
        (folder / f"boot_{letter}").write_bytes(BOOT)
    found, length = digest(folder / "boot_a")
    a, b = (
        Slot(version=one.version, state=one.state, root_hash=one.root_hash, hash_offset=one.hash_offset,
             boot_digest=found, boot_bytes=length)
        for one in (slots.a, slots.b)
    )  # fmt: skip
    bench.spool.note(Slots(next="a", a=a, b=b))


def test_both_slots_are_read_whole(bench: Bench, tmp_path: Path) -> None:
    partitions(bench, tmp_path)
    assert verify(bench.spool, bench.machine(), place=lambda kind, letter: tmp_path / f"{kind}_{letter}") == {
        "a": "",
        "b": "",
    }
    root = f"{tmp_path}/root_b"
    assert f"veritysetup verify --hash-offset=4096 {root} {root} {HASH['b']}" in bench.programs.log
    assert {bench.slots.a.verified, bench.slots.b.verified} == {NOW}


def test_a_damaged_root_of_the_other_slot_is_found_and_nobody_goes_back_to_it(bench: Bench, tmp_path: Path) -> None:
    partitions(bench, tmp_path)
    bench.programs.failing[f"veritysetup verify --hash-offset=4096 {tmp_path}/root_b"] = (
        "Verification failed at position 4096."
    )
    found = verify(bench.spool, bench.machine(), place=lambda kind, letter: tmp_path / f"{kind}_{letter}")
    assert found == {"a": "", "b": "the root is not what its hash says: Verification failed at position 4096."}
    assert (bench.slots.b.state, bench.slots.b.damage) == ("bad", found["b"])
    assert bench.slots.a.state == "good"


def test_a_damaged_boot_partition_is_found(bench: Bench, tmp_path: Path) -> None:
    partitions(bench, tmp_path)
    (tmp_path / "boot_a").write_bytes(b"!" + BOOT[1:])
    found = verify(bench.spool, bench.machine(), place=lambda kind, letter: tmp_path / f"{kind}_{letter}")
    assert found == {"a": "the boot partition is not what was written there", "b": ""}
    assert bench.slots.a.state == "good"  # it runs: an administrator decides


def test_an_empty_slot_is_not_read(bench: Bench, tmp_path: Path) -> None:
    partitions(bench, tmp_path)
    bench.spool.note(Slots(next="a", a=bench.slots.a))
    assert verify(bench.spool, bench.machine(), place=lambda kind, letter: tmp_path / f"{kind}_{letter}") == {"a": ""}


def test_an_update_that_begins_meanwhile_has_the_last_word(bench: Bench, tmp_path: Path) -> None:
    partitions(bench, tmp_path)
    written = Slot(version="1.3.0", state="trial", root_hash=HASH["b"])

    def run(argv: list[str], *, seconds: float) -> str:
        if "root_b" in " ".join(argv):
            bench.spool.note(Slots(next="b", a=bench.slots.a, b=written))
            raise CommandError(argv, 1, f"Verification failed ({seconds})")
        return ""

    machine = bench.machine()
    verify(bench.spool, type(machine)(run, machine.version, machine.slot, machine.now),
           place=lambda kind, letter: tmp_path / f"{kind}_{letter}")  # fmt: skip
    assert bench.slots.b == written
