"""The folder that configd and the unit that writes slots share: an upload, an order, what became of it, what the slots hold.

    incoming        an upload that is not whole yet
    bundle.raucb    the one that is
    order.json      `Order`: what the unit is to do next
    told.json       `Told`: what it is doing, or how that ended
    slots.json      `Slots`
    lock            held by the unit that is at work on the slots

Everything but the upload is written to a new file and renamed. Both sides are root's, and the folder is for nobody else.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.disk import put

FOLDER = "/var/lib/sentry/software"
VERSION_FILE = "/usr/lib/sentry/image"
"""The version of an image, in its root; not there on a host that is none."""
BUNDLE_BYTES = 1_280 * 1_048_576  # what fills both partitions of a slot (1,152 MiB), and the signed head
LEFT_BYTES = 128 * 1_048_576  # of /var, for everything else that writes there while a bundle lies here

Letter = Literal["a", "b"]
Kind = Literal["update", "rollback"]
State = Literal["empty", "trial", "good", "bad"]
OTHER: dict[Letter, Letter] = {"a": "b", "b": "a"}

T = TypeVar("T")


class SpoolError(RuntimeError):
    """The folder cannot be read or written, or an upload does not fit; the message says why."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator wants done. `allow_older`: the bundle need not be newer than what runs."""

    kind: Kind
    by: str
    allow_older: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An order: when it began and ended (ISO 8601; empty: it runs), and what kept it from being carried out (empty: nothing)."""

    kind: Kind
    by: str
    began: str
    ended: str = ""
    problem: str = ""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot: the version in it and what is known of it. `trial`: it has not yet been seen to run well; `bad`: it was not, or was
    found damaged. The rest is what it is verified by: the root's hash and where its tree begins, the digest (SHA-256) of so many
    bytes of the boot partition; when that was done last, and what was found then."""

    version: str = ""
    state: State = "empty"
    root_hash: str = ""
    hash_offset: int = 0
    boot_digest: str = ""
    boot_bytes: int = 0
    verified: str = ""
    damage: str = ""


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """Both slots, and which of them the next start takes."""

    next: Letter
    a: Slot = Slot()
    b: Slot = Slot()

    def of(self, letter: Letter) -> Slot:
        """One slot."""
        return self.a if letter == "a" else self.b

    def having(self, letter: Letter, slot: Slot, *, next: Letter | None = None) -> "Slots":  # noqa: A002 - the field's name
        """The same with this slot; `next` where that changes, too."""
        a, b = (slot, self.b) if letter == "a" else (self.a, slot)
        return Slots(next=next or self.next, a=a, b=b)


class Spool:
    """The folder `root`, made where it is not there."""

    def __init__(self, root: Path = Path(FOLDER)) -> None:
        self._root = root

    @property
    def bundle(self) -> Path:
        """Where a whole upload lies."""
        return self._root / "bundle.raucb"

    @property
    def _incoming(self) -> Path:
        return self._root / "incoming"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One of the units at a time reads what the slots hold and writes what they hold then."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- the upload ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin an upload. One that is not whole is gone; one that is stays until this one is."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.unlink(missing_ok=True)
        with self._writing(), self._incoming.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)

    def add(self, offset: int, data: bytes) -> int:
        """The next part of it, which begins at `offset`; how many bytes are here now. Raises `SpoolError` where that is not where
        it goes on, or where there is no room."""
        with self._writing(), self._incoming.open("r+b") as file:
            here = file.seek(0, os.SEEK_END)
            if here != offset:
                raise SpoolError(
                    f"found a part that begins at byte {offset}; allowed: {here}, where the upload goes on"
                )
            if here + len(data) > BUNDLE_BYTES:
                raise SpoolError(f"found more than {BUNDLE_BYTES} bytes; allowed: an update, which fits into a slot")
            free = shutil.disk_usage(self._root).free
            if free - len(data) < LEFT_BYTES:
                raise SpoolError(
                    f"found {free} free bytes on the disk; allowed: an upload that leaves {LEFT_BYTES} of them"
                )
            file.write(data)
            return here + len(data)

    def finish(self) -> int:
        """The upload is whole; how many bytes it has."""
        with self._writing():
            with self._incoming.open("rb") as file:
                os.fsync(file.fileno())
                size = file.seek(0, os.SEEK_END)
            if not size:
                raise SpoolError("found no bytes; allowed: an update")
            self._incoming.rename(self.bundle)
            return size

    def forget(self) -> None:
        """Remove an upload, whole or not."""
        self._incoming.unlink(missing_ok=True)
        self.bundle.unlink(missing_ok=True)

    def uploaded(self) -> int:
        """The bytes of a whole upload; 0 where there is none."""
        try:
            return self.bundle.stat().st_size
        except FileNotFoundError:
            return 0

    # --- messages ------------------------------------------------------------------------------------------------

    def order(self) -> Order | None:
        """What is to be done."""
        return self._read("order.json", Order)

    def leave(self, order: Order) -> None:
        """Leave an order; one that was not begun is replaced."""
        self._write("order.json", order)

    def take(self) -> Order | None:
        """The order, which is taken away: what ends in the middle is not begun again by itself."""
        order = self.order()
        (self._root / "order.json").unlink(missing_ok=True)
        return order

    def told(self) -> Told | None:
        """What became of the last order."""
        return self._read("told.json", Told)

    def tell(self, told: Told) -> None:
        """Say what is being done, or how it ended."""
        self._write("told.json", told)

    def slots(self) -> Slots | None:
        """What the slots hold; None before the first one ran well."""
        return self._read("slots.json", Slots)

    def note(self, slots: Slots) -> None:
        """Remember what they hold."""
        self._write("slots.json", slots)

    def _read(self, name: str, kind: type[T]) -> T | None:
        place = self._root / name
        try:
            return msgspec.json.decode(place.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise SpoolError(f"{place}: cannot be read: {error}") from error

    def _write(self, name: str, value: msgspec.Struct) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._writing():
            put(self._root / name, msgspec.json.encode(value))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolError(f"{self._root}: cannot be written: {error.strerror or error}") from error
