"""Reading both slots whole: dm-verity finds a damaged block when it is read, and the slot that does not run nobody reads."""

from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import msgspec

from appliance.process import CommandError
from appliance.software.carrying import Machine
from appliance.software.marking import digest, partition
from appliance.software.spool import Letter, Slot, Spool

VERIFY_SECONDS = 14_400.0  # a gigabyte on a busy disk, read when nobody else wants it
Place = Callable[[str, Letter], Path]


def verify(spool: Spool, machine: Machine, *, place: Place = partition) -> dict[Letter, str]:
    """Read each slot that holds something; what is wrong with each (empty: nothing), which is written down, too.

    A damaged slot that does not run is bad: nobody goes back to it.
    """
    found: dict[Letter, str] = {}
    for letter in cast("tuple[Letter, ...]", get_args(Letter)):
        slots = spool.slots()
        if slots is None:
            break
        slot = slots.of(letter)
        if not slot.root_hash:
            continue
        damage = _damage(slot, letter, machine, place)
        found[letter] = damage
        with spool.alone():
            _note(spool, letter, slot, damage, machine)
    return found


def _note(spool: Spool, letter: Letter, slot: Slot, damage: str, machine: Machine) -> None:
    now = spool.slots()  # an update may have come meanwhile: its word on the slot counts
    if now is None or now.of(letter) != slot:
        return
    state = "bad" if damage and letter != machine.slot else slot.state
    done = msgspec.structs.replace(slot, verified=machine.now(), damage=damage, state=state)
    spool.note(now.having(letter, done))


def _damage(slot: Slot, letter: Letter, machine: Machine, place: Place) -> str:
    root, boot = place("root", letter), place("boot", letter)
    argv = ["veritysetup", "verify", f"--hash-offset={slot.hash_offset}", str(root), str(root), slot.root_hash]
    try:
        machine.run(argv, seconds=VERIFY_SECONDS)
    except CommandError as error:
        last = error.output.strip().splitlines()[-1:] or ["it said nothing"]
        return f"the root is not what its hash says: {last[0]}"
    try:
        made, length = digest(boot, slot.boot_bytes)
    except OSError as error:
        return f"the boot partition cannot be read: {error.strerror}"
    if slot.boot_digest and (made, length) != (slot.boot_digest, slot.boot_bytes):
        return "the boot partition is not what was written there"
    return ""
