"""After a start that went well: the slot is good, GRUB's count begins anew, and a slot that we fell back from is bad."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.software import environment, rauc
from appliance.software.carrying import Machine
from appliance.software.spool import OTHER, Letter, Slot, Slots, Spool

UNWELL = Path("/run/sentry-software/unwell")
"""Left by a start that is not well and goes on all the same: `sentry-mark-good.service` does nothing where it stands."""
BLOCK_BYTES = 1_048_576
_ROOT_HASH = re.compile(r"(?:^| )roothash=([0-9a-f]{64})(?: |$)")
_OFFSET = re.compile(r"\bhash-offset=([0-9]{1,12})\b")


@dataclass(frozen=True, slots=True)
class Marked:
    """What was found: the slot that runs is new to us, and the version that we fell back from (empty: we did not)."""

    first: bool
    fell_back_from: str


def partition(kind: str, letter: Letter) -> Path:
    """The device of a slot's partition; `kind` is `boot` or `root`."""
    return Path(f"/dev/disk/by-partlabel/{kind}_{letter}")


def digest(device: Path, length: int = 0) -> tuple[str, int]:
    """SHA-256 over the first `length` bytes of a device (0: all), and how many there were."""
    made, read = hashlib.sha256(), 0
    with device.open("rb") as file:
        while block := file.read(min(BLOCK_BYTES, length - read) if length else BLOCK_BYTES):
            made.update(block)
            read += len(block)
            if read == length:
                break
    return made.hexdigest(), read


def on_trial(slots: Slots | None, running: Letter) -> bool:
    """Whether the slot that runs has yet to show that it runs well."""
    return slots is None or slots.of(running).state != "good"


def starts_again(slots: Slots | None, running: Letter) -> bool:
    """Whether a start that is not well is made again: the slot that runs is on trial, and the menu can fall back to one that has
    run well. Without such a one a person is needed, and needs a machine that stays up."""
    return slots is not None and on_trial(slots, running) and slots.of(OTHER[running]).state == "good"


def mark_good(
    spool: Spool, machine: Machine, command_line: str, *, boot: Path | None = None, esp: Path = environment.ESP
) -> Marked:
    """The slot that runs is good, and the next start takes it again. `boot` is its boot partition, `esp` the ESP.

    Raises `RaucError` or `OSError` when the environment cannot be written: then this start stays counted.
    """
    with spool.alone():
        return _mark_good(spool, machine, command_line, boot or partition("boot", machine.slot), esp)


def _mark_good(spool: Spool, machine: Machine, command_line: str, boot: Path, esp: Path) -> Marked:
    before = spool.slots()
    slots = before or Slots(next=machine.slot)
    other = OTHER[machine.slot]
    fell_back = slots.next != machine.slot
    environment.mend(esp, slots, machine.slot)
    rauc.mark(machine.run, "good", "booted")
    if fell_back:
        rauc.mark(machine.run, "bad", "other")
        rauc.mark(machine.run, "active", "booted")
        slots = slots.having(other, msgspec.structs.replace(slots.of(other), state="bad"))
    environment.keep_spare(esp)
    running = slots.of(machine.slot)
    if running.version != machine.version or not running.boot_digest:
        found, length = digest(boot)
        running = Slot(version=machine.version, boot_digest=found, boot_bytes=length)
    hashed, offset = _ROOT_HASH.search(command_line), _OFFSET.search(command_line)
    running = msgspec.structs.replace(
        running,
        state="good",
        root_hash=hashed[1] if hashed else running.root_hash,
        hash_offset=int(offset[1]) if offset else running.hash_offset,
    )
    first = on_trial(before, machine.slot)
    spool.note(slots.having(machine.slot, running, next=machine.slot))
    return Marked(first, slots.of(other).version if fell_back else "")
