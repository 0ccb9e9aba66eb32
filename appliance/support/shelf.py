"""Files that wait to be fetched: a folder of root's alone, in which nothing stays for long and nothing grows without end.

A name says what a file is and when it was made; a file is looked up by its name in a list, never by a path.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from appliance.disk import put, sync_folder

Kind = Literal["bundle", "capture"]
ENDINGS: Final[dict[Kind, str]] = {"bundle": ".tar.gz", "capture": ".pcap"}
KEPT_SECONDS = 86_400  # who makes one today fetches it today; what is forgotten must not lie here
MOST_FILES = 8  # more than anybody fetches at once
FILE_BYTES = 16_777_216  # the largest capture; a bundle is below a quarter of it
PIECE_BYTES = 1_048_576  # in base64 a third of the longest message (`configd.api.LINE_BYTES`)
_NAME = re.compile(r"(bundle|capture)-([0-9]{8}T[0-9]{6}Z)(?:\.tar\.gz|\.pcap)")
_MOMENT = "%Y%m%dT%H%M%SZ"
_NEW = ".new"


class ShelfError(ValueError):
    """A file that is not there or cannot be laid there; the message says what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Laid:
    """A file: its name, what it is, when it was made (seconds since the epoch) and its bytes."""

    name: str
    kind: Kind
    when: float
    size: int


class Shelf:
    """The files in `place` (made, root only). `clock` gives seconds since the epoch. Safe to use from several threads."""

    def __init__(self, place: Path, *, clock: Callable[[], float]) -> None:
        self._place = place
        self._clock = clock
        self._lock = threading.RLock()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
        for left in place.glob(f"*{_NEW}"):
            left.unlink()

    def all(self) -> tuple[Laid, ...]:
        """Those that lie there, newest first. Raises `OSError`."""
        with self._lock:
            found = []
            for place in self._place.iterdir():
                match = _NAME.fullmatch(place.name)
                if match is None:
                    continue
                kind: Kind = "bundle" if match[1] == "bundle" else "capture"
                when = datetime.strptime(match[2], _MOMENT).replace(tzinfo=UTC).timestamp()
                found.append(Laid(place.name, kind, when, place.stat().st_size))
            return tuple(sorted(found, key=lambda one: (one.when, one.name), reverse=True))

    def check_room(self) -> None:
        """Raises `ShelfError` where no file more is taken: nothing that somebody wants to fetch is thrown away for it."""
        lie = self.all()
        if len(lie) >= MOST_FILES:
            names = ", ".join(one.name for one in lie)
            raise ShelfError(f"found {len(lie)} files that wait; allowed: {MOST_FILES}. Fetch or drop one of {names}")

    def put(self, kind: Kind, data: bytes) -> Laid:
        """Add one. Raises `ShelfError` where there is no room or it is too large, `OSError`; then nothing lies there."""
        if len(data) > FILE_BYTES:
            raise ShelfError(f"found {len(data)} bytes; allowed: {FILE_BYTES}")
        with self._lock:
            self.check_room()
            moment = int(self._clock())
            while (place := self._place / _named(kind, moment)).exists():
                moment += 1  # two in one second
            put(place, data)
            return Laid(place.name, kind, float(moment), len(data))

    def piece(self, name: str, offset: int) -> tuple[Laid, bytes]:
        """At most `PIECE_BYTES` of a file from `offset` on. Whoever asks at its end has it all, and it is deleted: a download
        that breaks off loses nothing. Raises `ShelfError`, `OSError`."""
        with self._lock:
            laid = self._known(name)
            if not 0 <= offset <= laid.size:
                raise ShelfError(f"found the offset {offset}; allowed: 0 to {laid.size}")
            if offset == laid.size:
                self.drop(name)
                return laid, b""
            with (self._place / laid.name).open("rb") as file:
                file.seek(offset)
                return laid, file.read(PIECE_BYTES)

    def drop(self, name: str) -> None:
        """Delete a file. Raises `ShelfError` where there is none, `OSError`."""
        with self._lock:
            (self._place / self._known(name).name).unlink()
            sync_folder(self._place)

    def sweep(self) -> tuple[str, ...]:
        """Delete what has lain for `KEPT_SECONDS`, or is from a time to come (the clock was set); returns the names."""
        with self._lock:
            now = self._clock()
            old = [one.name for one in self.all() if not -MOST_FILES <= now - one.when < KEPT_SECONDS]
            for name in old:
                self.drop(name)
            return tuple(old)

    def _known(self, name: str) -> Laid:
        found = next((one for one in self.all() if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self.all()) or "none: nothing waits to be fetched"
            raise ShelfError(f"found no file {name[:64]!r}; allowed: {known}")
        return found


def _named(kind: Kind, moment: int) -> str:
    return f"{kind}-{datetime.fromtimestamp(moment, UTC).strftime(_MOMENT)}{ENDINGS[kind]}"
