"""The qcow2 that ships, started without a configuration: twice, and what its disk holds afterwards; slow.

All its ports are closed and nobody can log in: what it says on the serial console is heard, and its disk is read when it is off.
"""

from pathlib import Path

import pytest

from images.disk import gpt, layout
from images.disk.layout import STATE
from tests.boot.machine import Machine

pytestmark = pytest.mark.slow

ASKS = b"Press Enter to set it up here."


@pytest.fixture(scope="module")
def machine(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with a disk over the qcow2 that ships."""
    (image,) = built.glob("*.qcow2")
    return Machine.made(image, tmp_path_factory.mktemp("machine"))


def start_and_stop(machine: Machine) -> bytes:
    """Start it, wait until it asks, press its power button; what it said."""
    with machine.on() as process:
        machine.until(process, ASKS)
        return machine.off(process)


def test_it_starts_verified_makes_its_state_and_finds_it_again(machine: Machine) -> None:
    first = start_and_stop(machine)
    assert b"Secure boot enabled" in first
    assert b"slot A, try 1" in first
    assert b"This appliance is not configured and its ports are closed. No user-data was found" in first
    assert b"login:" not in first  # nobody has an account
    identity, key = machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")
    assert len(identity.strip()) == 32
    assert key.startswith("ecdsa-sha2-nistp384 ")
    with (machine.folder / "disk.raw").open("rb") as file:
        table = gpt.read(file, (machine.folder / "disk.raw").stat().st_size)
    assert [entry.name for entry in table.entries[len(layout.PARTITIONS) :]] == [state.name for state in STATE]
    assert table.entries[-1].size > layout.STATE_MIB << 20  # it took what the disk had

    second = start_and_stop(machine)
    assert b"slot A, try" in second  # the first or second one: whether the start before was said to be good in time
    assert (machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")) == (identity, key)
