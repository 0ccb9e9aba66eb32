"""The files that ship, started without a configuration: whether they start verified, what their disk holds afterwards, and that
the next start finds it again; slow.

All ports are closed and nobody can log in: a machine's serial console is heard, and its disk is read when it is off.
"""

from pathlib import Path

import pytest

from images.disk import gpt, layout
from images.disk.layout import STATE
from tests.boot import unpacking
from tests.boot.machine import Machine
from tests.images_built import VERSION

pytestmark = pytest.mark.slow

ASKS = b"Press Enter to set it up here."
CLOSED = b"This appliance is not configured and its ports are closed."


def start_and_stop(machine: Machine) -> bytes:
    """Start it, wait until it asks, press its power button; what it said."""
    with machine.on() as process:
        machine.hears(process, ASKS)
        return machine.off(process)


@pytest.mark.parametrize("form", unpacking.FORMATS)
def test_it_starts_verified_makes_its_state_and_asks(built: Path, form: str, tmp_path: Path) -> None:
    machine = Machine.made(unpacking.disk(built, VERSION, form, tmp_path), tmp_path / "machine")
    first = start_and_stop(machine)
    assert b"Secure boot enabled" in first
    assert b"slot A, try 1" in first
    assert CLOSED in first
    assert b"login:" not in first  # nobody has an account
    identity, key = machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")
    assert len(identity.strip()) == 32
    assert key.startswith("ecdsa-sha2-nistp384 ")
    raw = machine.folder / "disk.raw"
    with raw.open("rb") as file:
        table = gpt.read(file, raw.stat().st_size)
    assert [entry.name for entry in table.entries[len(layout.PARTITIONS) :]] == [state.name for state in STATE]
    assert table.entries[-1].size > layout.STATE_MIB << 20  # it took what the disk had
    if form != "qcow2":
        return

    second = start_and_stop(machine)
    assert b"slot A, try" in second  # the first or second one: whether the start before was said to be good in time
    assert (machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")) == (identity, key)
