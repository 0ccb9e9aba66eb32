"""Backups on the appliance's own disk: a folder of files named by their moment and revision, and when the next is due."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.backup.bounds import FILE_BYTES, BackupError
from appliance.disk import put

_NAME = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([1-9][0-9]{0,8})\.backup")
_MOMENT = "%Y%m%dT%H%M%SZ"
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Copy:
    """One that lies there: of which revision and of when it is, and how many bytes it has."""

    name: str
    when: datetime
    revision: int
    size: int


class Folder:
    """The backups in `place` (made, root only); each is written whole or not at all. `trouble` says what kept the last one from
    being made; empty where nothing did."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.trouble = ""
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
        for left in place.glob(f"*{_NEW}"):
            left.unlink()

    def all(self) -> tuple[Copy, ...]:
        """Those that lie there, newest first. Raises `OSError`."""
        found = ((place, _NAME.fullmatch(place.name)) for place in self._place.iterdir())
        listed = (
            Copy(
                place.name, datetime.strptime(name[1], _MOMENT).replace(tzinfo=UTC), int(name[2]), place.stat().st_size
            )
            for place, name in found
            if name
        )
        return tuple(sorted(listed, key=lambda one: (one.when, one.revision), reverse=True))

    def read(self, name: str) -> bytes:
        """One of them. Raises `BackupError` where there is none of that name, `OSError` where it cannot be read."""
        known = [one.name for one in self.all()]
        if name not in known:
            raise BackupError(
                f"found no backup {name[:64]!r}; allowed: {', '.join(known) or 'none: there is none yet'}"
            )
        with (self._place / name).open("rb") as file:
            return file.read(FILE_BYTES + 1)

    def put(self, file: bytes, when: datetime, revision: int, *, keep: int) -> str:
        """Add one, then remove the oldest beyond `keep`; returns its name. Raises `OSError`, and then nothing was lost."""
        place = self._place / f"{when.strftime(_MOMENT)}-{revision}.backup"
        put(place, file)
        for old in self.all()[keep:]:
            (self._place / old.name).unlink()
        return place.name


def due(settings: Mapping[str, Any], newest: Copy | None, revision: int, now: datetime) -> bool:
    """Whether one is to be made: of a revision that none is of yet, or because the day's hour has come since the last one."""
    if settings.get("on_change") and (newest is None or newest.revision != revision):
        return True
    if "daily_at" not in settings:
        return False
    hour = now.replace(hour=settings["daily_at"], minute=0, second=0, microsecond=0)
    last = hour if hour <= now else hour - timedelta(days=1)
    return newest is None or newest.when < last
