"""The backups that configd makes by itself, after commits and by the clock."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from appliance.apply import ConflictError, Engine, stamp
from appliance.backup.keeping import Folder, due
from appliance.configd.backups import make
from appliance.configd.gate import Gate
from appliance.configd.sessions import Sessions

AGAIN_SECONDS = 600.0  # after a failure; who makes room on a full disk takes about as long
EVERY_SECONDS = 10.0  # between looks at the folder
CONFIGD = "configd"

_log = logging.getLogger(__name__)


class Keeper:
    """`tick` is called once a second. `clock` is monotonic, `wall_clock` says what time it is."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        sessions: Sessions,
        folder: Folder,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._sessions = sessions
        self._folder = folder
        self._clock = clock
        self._wall_clock = wall_clock
        self._look_at = clock()

    def tick(self) -> None:
        """Make one if it is due. Raises what reading the store raises."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + EVERY_SECONDS
        current = self._engine.store.current()
        settings = current.tree.get("backup", {}) if current else {}
        if current is None or "passphrase" not in settings or self._engine.store.pending() is not None:
            return
        try:
            newest = next(iter(self._folder.all()), None)
            now = datetime.fromtimestamp(self._wall_clock(), UTC)
            if due(settings, newest, current.number, now):
                self._make(settings["passphrase"], current.number, now, keep=settings["keep"])
        except ConflictError:  # a commit is being applied; the next look comes soon
            return
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being made, it is said and tried again
            self._failed(error)

    def _make(self, reference: str, revision: int, now: datetime, *, keep: int) -> None:
        passphrase = self._engine.vault.reveal(reference)
        _header, file = make(self._engine, passphrase, now.timestamp())
        name = self._folder.put(file, now, revision, keep=keep)
        self._folder.trouble = ""
        self._gate.note("backup.kept", CONFIGD, detail=name)

    def _failed(self, error: Exception) -> None:
        self._look_at = self._clock() + AGAIN_SECONDS
        notice = f"a backup could not be made: {error}; it is tried again"
        if not self._folder.trouble:  # who is logged in hears it once
            self._sessions.tell_all(notice)
        self._folder.trouble = f"{stamp(self._wall_clock())} {error}"
        self._gate.note("backup.kept", CONFIGD, result="error", detail=notice)
        _log.error("%s", notice)
