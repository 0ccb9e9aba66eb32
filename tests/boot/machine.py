"""A machine of QEMU's with UEFI and Secure Boot, started from the qcow2 that ships; its serial console is heard."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from images.disk import assemble
from images.run import CommandError, run

BOOT_SECONDS = 1_800.0  # a minute and a half on two free cores without KVM; a busy machine needs many times that
FIRMWARE = Path("/usr/share/OVMF")
ADDRESS = "10.0.2.15"  # QEMU's user network: the guest, and its own end
ROUTER = "10.0.2.2"
INTERFACE = "enp0s16"  # by the place on the bus that the card has below
CARD_PLACE = "0x10"
# Software emulation makes a fast "rep stosb" a loop over bytes, and a hardened kernel clears every page that it takes or frees.
PROCESSOR = "max,-erms,-fsrm"


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


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
    """Its disk over the image, its firmware's variables, what it said; `cd` is plugged in, `forwards` are its ports by
    those of loopback that lead to them."""

    folder: Path
    cd: Path | None = None
    forwards: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def made(cls, image: Path, folder: Path) -> "Machine":
        """A new machine with a disk over this qcow2."""
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, folder / "disk.qcow2"])
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.ms.fd", folder / "vars.fd")
        return cls(folder, forwards={port: free_port() for port in (22, 443, 8443)})

    @property
    def said(self) -> bytes:
        """What stands on its console since it was started."""
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    @contextmanager
    def on(self) -> Iterator[subprocess.Popen[bytes]]:
        """Switched on; off at the end of the block, whatever it does then."""
        (self.folder / "serial.log").unlink(missing_ok=True)
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-{ADDRESS}:{there}" for there, here in self.forwards.items())
        argv = [
            "qemu-system-x86_64", "-machine", "q35,smm=on", "-m", "2048", "-smp", "2", "-nodefaults", "-display", "none",
            "-cpu", PROCESSOR, "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.ms.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.folder}/vars.fd",
            "-drive", f"if=virtio,format=qcow2,file={self.folder}/disk.qcow2",
            *(("-drive", f"if=virtio,format=raw,readonly=on,file={self.cd}") if self.cd else ()),
            "-netdev", f"user,id=n0,restrict=on{forwards}",
            "-device", f"virtio-net-pci,netdev=n0,addr={CARD_PLACE}", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.folder}/serial.log", "-monitor", "stdio",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def until(self, process: subprocess.Popen[bytes], words: bytes) -> None:
        """Wait until it says this."""
        deadline = time.monotonic() + BOOT_SECONDS
        while words not in self.said:
            assert process.poll() is None, self.said[-4000:].decode(errors="replace")
            assert time.monotonic() < deadline, self.said[-4000:].decode(errors="replace")
            time.sleep(1)

    def off(self, process: subprocess.Popen[bytes]) -> bytes:
        """Press the power button; what it said."""
        assert process.stdin is not None
        process.stdin.write(b"system_powerdown\n")
        process.stdin.flush()
        assert process.wait(BOOT_SECONDS) == 0
        return self.said

    def kept(self, name: str) -> str:
        """A file of /etc as /var keeps it; while it is off."""
        raw = self.folder / "disk.raw"
        run(["qemu-img", "convert", "-O", "raw", self.folder / "disk.qcow2", raw])
        assemble.take(raw, "var", self.folder / "var.img")
        return run(["debugfs", "-R", f"cat lib/sentry/etc/{name}", self.folder / "var.img"]).stdout

    def answers(self, port: int) -> str:
        """What answers there: the version of TLS, or SSH's greeting. QEMU takes every connection by itself, so that only words
        of the guest count."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.forwards[port]), 60) as connected:
                    if port == 22:
                        return connected.recv(64).decode(errors="replace")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    with context.wrap_socket(connected) as wrapped:
                        return str(wrapped.version())
            except OSError:
                assert time.monotonic() < deadline, f"nothing answers on port {port}"
                time.sleep(1)

    def cli(self, key: Path, user: str, command: str) -> str:
        """What the appliance's command line answers over SSH. Without KVM on a busy host configd's watchdog has ended one that
        was merely slow; the command line says so, and the command is given again, as a person would."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]
        argv = [
            "ssh",
            "-F",
            "none",
            *options,
            "-i",
            str(key),
            "-p",
            str(self.forwards[22]),
            f"{user}@127.0.0.1",
            command,
        ]
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                return run(argv, seconds=BOOT_SECONDS).stdout
            except CommandError as error:
                if "does not answer" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(5)
