"""What is kept of services that hung: a folder of texts of root's alone, which goes into support bundles. It has bounds of its
own: a service that hangs all day fills no disk."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

MOST = 8  # the newest tell what is going on now; the first of a long row went by mail
KEPT_SECONDS = 7 * 86_400  # over a weekend, until somebody looks
BYTES = 262_144  # of one: its last lines, the stacks of all threads among them
_NAME = re.compile(r"(sentry-[a-z-]{1,24})-([0-9]{8}T[0-9]{6}Z)\.txt")
_MOMENT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Record:
    """One: its file's name, the service, and when it was ended (seconds since the epoch)."""

    name: str
    service: str
    when: float


class Records:
    """The texts in `place` (made, root only). `clock` gives seconds since the epoch."""

    def __init__(self, place: Path, *, clock: Callable[[], float]) -> None:
        self._place = place
        self._clock = clock
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)

    def all(self) -> tuple[Record, ...]:
        """Those that lie there, newest first. Raises `OSError`."""
        found = ((place.name, _NAME.fullmatch(place.name)) for place in self._place.iterdir())
        made = (
            Record(name, match[1], datetime.strptime(match[2], _MOMENT).replace(tzinfo=UTC).timestamp())
            for name, match in found
            if match
        )
        return tuple(sorted(made, key=lambda one: (one.when, one.name), reverse=True))

    def has(self, service: str, when: float) -> bool:
        """Whether there is one of this service and second."""
        return (self._place / _named(service, when)).exists()

    def read(self, name: str) -> str:
        """One's text. Raises `OSError`, `KeyError` for a name that is none of theirs."""
        if name not in {one.name for one in self.all()}:
            raise KeyError(name)
        return (self._place / name).read_text(errors="replace")

    def put(self, service: str, when: float, text: str) -> str:
        """Keep one, its end where it is too long; then those beyond `MOST` and `KEPT_SECONDS` go. Returns its name."""
        place = self._place / _named(service, when)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(text.encode(errors="replace")[-BYTES:])
        self.sweep()
        return place.name

    def sweep(self) -> None:
        """Delete what is too much or too old. Raises `OSError`."""
        oldest = self._clock() - KEPT_SECONDS
        for place, one in enumerate(self.all()):
            if place >= MOST or one.when < oldest:
                (self._place / one.name).unlink()


def _named(service: str, when: float) -> str:
    return f"{service}-{datetime.fromtimestamp(int(when), UTC).strftime(_MOMENT)}.txt"
