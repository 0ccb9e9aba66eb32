"""Carrying out an order: the update into the slot that does not run, or the way back to it. For the unit that has the rights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.software import rauc
from appliance.software.rauc import RaucError, Run
from appliance.software.spool import OTHER, VERSION_FILE, Letter, Order, Slot, Spool, Told
from appliance.software.versions import VersionError, newer

SLOT_WORD = "sentry.slot="
"""What the boot menu tells the kernel: the slot that runs."""


class CarryError(RuntimeError):
    """An order cannot be carried out; the message says why, and nothing was changed unless it says so."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What an order is carried out with: how a program is run, the version and slot that run, and what time it is (ISO 8601)."""

    run: Run
    version: str
    slot: Letter
    now: Callable[[], str]


def slot_of(command_line: str) -> Letter:
    """The slot that runs, of the kernel's command line. Raises `CarryError` on a machine that has none."""
    for letter in OTHER:
        if f"{SLOT_WORD}{letter}" in command_line.split():
            return letter
    raise CarryError("this machine did not start from a slot: it is no image, so there is nothing to update")


def version_of(file: Path = Path(VERSION_FILE)) -> str:
    """The version that runs. Raises `CarryError` on a machine that is no image."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CarryError(f"{file}: cannot be read ({error.strerror}): this machine is no image") from error


def carry_out(spool: Spool, machine: Machine) -> Told | None:
    """Take the order that lies there and do it; how it ended, which is written down, too. None: there was none."""
    order = spool.take()
    if order is None:
        return None
    told = Told(kind=order.kind, by=order.by, began=machine.now())
    spool.tell(told)
    problem = ""
    try:
        with spool.alone():
            (_update if order.kind == "update" else _roll_back)(order, spool, machine)
    except (CarryError, RaucError, VersionError) as error:
        problem = str(error)
    done = Told(kind=order.kind, by=order.by, began=told.began, ended=machine.now(), problem=problem)
    spool.tell(done)
    return done


def _update(order: Order, spool: Spool, machine: Machine) -> None:
    if not spool.uploaded():
        raise CarryError("there is no update here; upload one first")
    bundle = rauc.info(machine.run, spool.bundle)
    if not order.allow_older and not newer(bundle.version, machine.version):
        raise CarryError(
            f"found the version {bundle.version}; allowed: one after {machine.version}, which runs, "
            "unless an older one is asked for"
        )
    slots = spool.slots()
    if slots is None or slots.of(machine.slot).state != "good":
        raise CarryError("what runs has not yet been seen to run well, and the other slot is the only way back from it")
    target = OTHER[machine.slot]
    # From the first block on, what was in it is lost; should we be killed, nobody takes it for a slot to go back to.
    spool.note(slots.having(target, Slot(), next=machine.slot))
    rauc.install(machine.run, spool.bundle)
    written = Slot(
        version=bundle.version,
        state="trial",
        root_hash=bundle.root_hash,
        hash_offset=bundle.hash_offset,
        boot_digest=bundle.boot_digest,
        boot_bytes=bundle.boot_bytes,
    )
    spool.note(slots.having(target, written, next=target))
    spool.forget()


def _roll_back(_order: Order, spool: Spool, machine: Machine) -> None:
    slots = spool.slots()
    target = OTHER[machine.slot]
    other = slots.of(target) if slots else Slot()
    if slots is None or other.state != "good":
        raise CarryError(
            f"found slot {target} {f'with {other.version}, ' if other.version else ''}{other.state}; "
            "allowed: one that has run well"
        )
    rauc.mark(machine.run, "active", "other")
    spool.note(slots.having(target, other, next=target))
