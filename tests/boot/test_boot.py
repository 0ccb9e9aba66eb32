"""The qcow2 that ships, started by QEMU with UEFI and Secure Boot: twice, and what its disk holds afterwards; slow.

It has no configuration, so all its ports are closed and nobody can log in: what it says on the serial console is heard, and its
disk is read when it is off.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.disk import assemble, gpt, layout
from images.disk.layout import STATE
from images.run import run

pytestmark = pytest.mark.slow

BOOT_SECONDS = 1_800.0  # a minute and a half on two free cores without KVM; a busy machine needs many times that
FIRMWARE = Path("/usr/share/OVMF")
LOGIN = b"login:"


@dataclass
class Machine:
    """A machine of QEMU's: its disk over the image, its firmware's variables, what it said."""

    folder: Path

    @property
    def said(self) -> bytes:
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    @contextmanager
    def on(self) -> Iterator[subprocess.Popen[bytes]]:
        (self.folder / "serial.log").unlink(missing_ok=True)
        argv = [
            "qemu-system-x86_64", "-machine", "q35,smm=on", "-m", "2048", "-smp", "2", "-nodefaults", "-display", "none",
            "-cpu", "max", "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.ms.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.folder}/vars.fd",
            "-drive", f"if=virtio,format=qcow2,file={self.folder}/disk.qcow2",
            "-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.folder}/serial.log", "-monitor", "stdio",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def start_and_stop(self) -> bytes:
        """Start it, wait until it asks who is there, press its power button; what it said."""
        with self.on() as process:
            self._until_it_asks(process)
            assert process.stdin is not None
            process.stdin.write(b"system_powerdown\n")
            process.stdin.flush()
            assert process.wait(BOOT_SECONDS) == 0
        return self.said

    def _until_it_asks(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while LOGIN not in self.said:
            assert process.poll() is None, self.said[-2000:].decode(errors="replace")
            assert time.monotonic() < deadline, self.said[-2000:].decode(errors="replace")
            time.sleep(1)

    def kept(self, name: str) -> str:
        """A file of /etc as /var keeps it."""
        raw = self.folder / "disk.raw"
        run(["qemu-img", "convert", "-O", "raw", self.folder / "disk.qcow2", raw])
        assemble.take(raw, "var", self.folder / "var.img")
        return run(["debugfs", "-R", f"cat lib/sentry/etc/{name}", self.folder / "var.img"]).stdout


@pytest.fixture(scope="module")
def machine(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with a disk over the qcow2 that ships."""
    folder = tmp_path_factory.mktemp("machine")
    (image,) = built.glob("*.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, folder / "disk.qcow2"])
    shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.ms.fd", folder / "vars.fd")
    return Machine(folder)


def test_it_starts_verified_makes_its_state_and_finds_it_again(machine: Machine) -> None:
    first = machine.start_and_stop()
    assert b"Secure boot enabled" in first
    assert b"slot A, try 1" in first
    identity, key = machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")
    assert len(identity.strip()) == 32
    assert key.startswith("ecdsa-sha2-nistp384 ")
    with (machine.folder / "disk.raw").open("rb") as file:
        table = gpt.read(file, (machine.folder / "disk.raw").stat().st_size)
    assert [entry.name for entry in table.entries[len(layout.PARTITIONS) :]] == [state.name for state in STATE]
    assert table.entries[-1].size > layout.STATE_MIB << 20  # it took what the disk had

    second = machine.start_and_stop()
    assert b"slot A, try" in second  # the first or second one: whether the start before was said to be good in time
    assert (machine.kept("machine-id"), machine.kept("ssh/ssh_host_ecdsa_key.pub")) == (identity, key)
