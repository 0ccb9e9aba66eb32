"""A network of the test's own: the lab's three zones, with a tap for each card of a machine of QEMU's.

It belongs to the thread that made it and to what that thread starts; nobody else on this machine sees it, and it is gone with
them, whatever becomes of the test.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.lab.zones import BACKEND, DEVICE, MANAGEMENT, Zone
from images.network import PREFIX
from images.run import run

CLONE_NEWNET, CLONE_NEWNS, CLONE_FS = 0x40000000, 0x00020000, 0x00000200  # <linux/sched.h>
THREAD = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Card:
    """A network card: its zone, its place on the machine's bus, and the name that systemd gives it by that."""

    zone: Zone
    place: str
    name: str

    @property
    def tap(self) -> str:
        """Our end of it, named as the lab names it."""
        return self.zone.link.bridge or self.zone.link.host_interface


CARDS = (Card(DEVICE, "0x10", "enp0s16"), Card(MANAGEMENT, "0x11", "enp0s17"), Card(BACKEND, "0x12", "enp0s18"))


@contextmanager
def of_its_own(cards: tuple[Card, ...] = CARDS) -> Iterator[None]:
    """Inside, this thread and what it starts have a network with loopback and our ends of the cards, and no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _must(libc.unshare(CLONE_NEWNET))
        try:
            run(["ip", "link", "set", "lo", "up"])
            for card in cards:
                run(["ip", "tuntap", "add", "dev", card.tap, "mode", "tap"])
                run(["ip", "address", "add", f"{card.zone.link.host_address}/{PREFIX}", "dev", card.tap])
                run(["ip", "link", "set", card.tap, "up"])
            yield
        finally:
            _must(libc.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


@contextmanager
def apart() -> Iterator[None]:
    """Inside, what this thread mounts is seen by itself and by what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    before, here = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), Path.cwd()
    try:
        _must(libc.unshare(CLONE_FS | CLONE_NEWNS))
        try:
            run(["mount", "--make-rprivate", "/"])
            yield
        finally:
            _must(libc.setns(before, CLONE_NEWNS))
            os.chdir(here)
    finally:
        os.close(before)


def _must(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
