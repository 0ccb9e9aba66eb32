"""A machine of QEMU's with UEFI and Secure Boot, started from a file that ships, in the lab's network; its serial console is
heard, its disk can be read when it is off, and its power can be cut."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from images.disk import assemble, gpt
from images.run import run
from tests.boot import network
from tests.boot.network import CARDS

# A start takes a minute and a half on two free cores without KVM, four times that on a busy machine; a slot that does not come up
# is started three times, and then the other one.
BOOT_SECONDS = 3_600.0
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 60.0
DISK_GIB = 16
FIRMWARE = Path("/usr/share/OVMF")
# Software emulation makes a fast "rep stosb" a loop over bytes, and a hardened kernel clears every page that it takes or frees.
PROCESSOR = "max,-erms,-fsrm"
Found = TypeVar("Found")


class AwayError(Exception):
    """The machine does not answer now."""


def nocloud(folder: Path, user_data: str) -> Path:
    """A CD labelled cidata with this user-data."""
    place = folder / "cidata"
    place.mkdir(parents=True)
    (place / "user-data").write_text(user_data)
    (place / "meta-data").write_text("instance-id: i-1\n")
    run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-R", "-o", folder / "cidata.iso", place])
    return folder / "cidata.iso"


@dataclass
class Machine:
    """Its disk over the image, its firmware's variables, what it said; `cd` is plugged in."""

    folder: Path
    cd: Path | None = None

    @classmethod
    def made(cls, image: Path, folder: Path) -> "Machine":
        """A new machine with a disk of 16 GiB over this qcow2 or raw disk."""
        kind = "qcow2" if image.suffix == ".qcow2" else "raw"
        folder.mkdir(parents=True, exist_ok=True)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", image, folder / "disk.qcow2", f"{DISK_GIB}G"])
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.ms.fd", folder / "vars.fd")
        return cls(folder)

    def copied(self, folder: Path) -> "Machine":
        """Another one that begins where this one, which stays off, ended."""
        folder.mkdir(parents=True)
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2"]
        run([*create, "-b", self.folder / "disk.qcow2", folder / "disk.qcow2"])
        shutil.copyfile(self.folder / "vars.fd", folder / "vars.fd")
        return Machine(folder, self.cd)

    @property
    def said(self) -> bytes:
        """What stands on its console since it was switched on."""
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    @contextmanager
    def on(self) -> Iterator[subprocess.Popen[bytes]]:
        """Switched on, and this thread in its network; at the end of the block its power is cut."""
        (self.folder / "serial.log").unlink(missing_ok=True)
        cards = [
            word
            for card in CARDS
            for word in (
                "-netdev", f"tap,id={card.name},ifname={card.tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev={card.name},addr={card.place},romfile=",
            )
        ]  # fmt: skip
        argv = [
            "qemu-system-x86_64", "-machine", "q35,smm=on", "-m", "2048", "-smp", "2", "-nodefaults", "-display", "none",
            "-cpu", PROCESSOR, "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.ms.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.folder}/vars.fd",
            "-drive", f"if=virtio,format=qcow2,file={self.folder}/disk.qcow2",
            *(("-drive", f"if=virtio,format=raw,readonly=on,file={self.cd}") if self.cd else ()),
            *cards, "-device", "virtio-rng-pci",
            "-serial", f"file:{self.folder}/serial.log", "-monitor", "stdio",
        ]  # fmt: skip
        with (
            network.of_its_own(),
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def tail(self) -> str:
        """The end of what it said, for whoever looks at a test that failed."""
        return self.said[-4000:].decode(errors="replace")

    def until(self, look: Callable[[], Found]) -> Found:
        """Look until there is something; what that is. Who does not answer (`AwayError`) is asked again."""
        deadline, reason = time.monotonic() + BOOT_SECONDS, ""
        while True:
            try:
                if found := look():
                    return found
            except AwayError as error:
                reason = f"{error}\n"
            assert time.monotonic() < deadline, f"{reason}{self.tail()}"
            time.sleep(LOOK_SECONDS)

    def hears(self, process: subprocess.Popen[bytes], words: bytes) -> None:
        """Wait until it says this."""

        def look() -> bool:
            said = words in self.said
            assert said or process.poll() is None, self.tail()
            return said

        self.until(look)

    def off(self, process: subprocess.Popen[bytes]) -> bytes:
        """Press the power button; what it said."""
        assert process.stdin is not None
        process.stdin.write(b"system_powerdown\n")
        process.stdin.flush()
        assert process.wait(BOOT_SECONDS) == 0
        return self.said

    def kept(self, name: str) -> str:
        """A file of /etc as /var keeps it; while it is off."""
        return run(["debugfs", "-R", f"cat lib/sentry/etc/{name}", self.partition("var")]).stdout

    def partition(self, name: str) -> Path:
        """A copy of a partition; while it is off."""
        raw = self.folder / "disk.raw"
        run(["qemu-img", "convert", "-O", "raw", self.folder / "disk.qcow2", raw])
        copy = self.folder / f"{name}.img"
        assemble.take(raw, name, copy)
        return copy

    def put(self, name: str, copy: Path) -> None:
        """Write a copy of a partition (`partition`) back, with what somebody has changed in it; while it is off."""
        raw = self.folder / "disk.raw"
        with raw.open("rb") as file:
            entry = gpt.read(file, raw.stat().st_size).entry(name)
        write = f"write -q -s {copy} {entry.offset} {entry.size}"
        run(["qemu-io", "-f", "qcow2", "-c", write, self.folder / "disk.qcow2"])

    def answers(self, address: str, port: int) -> str:
        """Wait for an answer there: the version of TLS, or SSH's greeting."""
        return self.until(lambda: greeting(address, port))


def greeting(address: str, port: int) -> str:
    """What answers now; a TLS alert is an answer, too, as to who shows no certificate. Raises `AwayError` where nobody does."""
    try:
        with socket.create_connection((address, port), ANSWER_SECONDS) as connected:
            if port == 22:
                return connected.recv(64).decode(errors="replace")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = (
                False,
                ssl.CERT_NONE,
            )  # it may have made its certificate itself
            with context.wrap_socket(connected) as wrapped:
                return str(wrapped.version())
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return "TLS alert"
        raise AwayError(str(error)) from error
    except OSError as error:
        raise AwayError(str(error)) from error
