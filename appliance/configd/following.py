"""Following a log: what has come since the last look, at places that configd itself keeps.

A look begins with the last lines and gives a name for where it ended. Only the session that began it may go on from there, so
that the audit trail needs one line for each that began, and not one for each look.
"""

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.facts.context import LINES
from appliance.configd.facts.management import RUNTIME_LOG, TRAIL
from appliance.configd.sessions import Held

OF_ONE_SESSION = 2  # both logs beside each other
FORGOTTEN_SECONDS = 60.0  # a browser that is gone does not say so; who follows looks every few seconds
READ_BYTES = 262_144  # of the gateway's log at one look: a second of a busy gateway
LINE_CHARACTERS = 4_096
NAME_BYTES = 16
_CURSOR: Final = re.compile(r"-- cursor: ([A-Za-z0-9;=]{1,512})")


@dataclass(slots=True)
class _Place:
    """Where a look ended: in the journal a cursor, in a file its inode and an offset."""

    handle: str
    gateway: bool
    looked: float
    cursor: str = ""
    inode: int = 0
    offset: int = 0


class Following:
    """The looks. `run` runs a command, `handles` are those of the open sessions, `root` is where the machine's files lie, `clock`
    is monotonic. Safe to use from several threads."""

    def __init__(
        self,
        run: Callable[[list[str]], str],
        handles: Callable[[], Collection[str]],
        *,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._handles = handles
        self._log = root / RUNTIME_LOG.lstrip("/")
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def look(self, verb: api.FollowLog, held: Held) -> api.Followed:
        """The lines since the look that `verb.after` names; without one the last lines. Raises an `invalid` refusal for a name
        that is not this session's or was given up for newer ones, `CommandError`, `OSError`."""
        with self._lock:
            name, place = self._place(verb, held)
        found, skipped = self._of_gateway(place) if place.gateway else self._of_journal(place)
        lines = tuple(line[:LINE_CHARACTERS] for line in found[-LINES:])
        return api.Followed(after=name, lines=lines, skipped=skipped or len(found) > LINES)

    def _place(self, verb: api.FollowLog, held: Held) -> tuple[str, _Place]:
        now = self._clock()
        known = self._handles()
        self._places = {
            name: place
            for name, place in self._places.items()
            if now - place.looked < FORGOTTEN_SECONDS and place.handle in known
        }
        if verb.after:
            place = self._places.get(verb.after)
            if place is None or place.handle != held.handle:
                raise refused("invalid", "this look at a log is over or is not yours; begin a new one")
            place.looked = now
            return verb.after, place
        mine = {name: place for name, place in self._places.items() if place.handle == held.handle}
        if len(mine) >= OF_ONE_SESSION:  # a page that was left is looked from no more: it is the one that goes
            del self._places[min(mine, key=lambda name: mine[name].looked)]
        name, place = secrets.token_hex(NAME_BYTES), _Place(held.handle, verb.which == "gateway", now)
        self._places[name] = place
        return name, place

    def _of_journal(self, place: _Place) -> tuple[list[str], bool]:
        argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(LINES), "--show-cursor"]
        argv += [f"--after-cursor={place.cursor}"] if place.cursor else []
        lines = self._run([*argv, *TRAIL]).splitlines()
        last = _CURSOR.fullmatch(lines[-1]) if lines else None
        if last is None:  # nothing has come
            return lines, False
        before, place.cursor = place.cursor, last[1]
        return lines[:-1], bool(before) and len(lines) > LINES

    def _of_gateway(self, place: _Place) -> tuple[list[str], bool]:
        """Whole lines only; a line that is being written is of the next look."""
        try:
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], False
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            first = place.inode == 0
            turned = state.st_ino != place.inode or state.st_size < place.offset
            begin = 0 if turned else place.offset
            skipped = state.st_size - begin > READ_BYTES
            begin = max(begin, state.st_size - READ_BYTES)
            file.seek(begin)
            data = file.read(READ_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        place.inode, place.offset = state.st_ino, begin + len(whole)
        lines = whole.decode(errors="replace").splitlines()
        if skipped:
            lines = lines[1:]  # the first one lost its beginning
        return (lines[-LINES:], False) if first else (lines, skipped)
