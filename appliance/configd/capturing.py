"""The verbs about captures of packets: start one, in a unit that may read packets and nothing else; end it; take its file."""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.apply import Engine, stamp
from appliance.capture import request as asked
from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.sessions import Held
from appliance.configd.support import told
from appliance.features.base import File
from appliance.process import CommandError
from appliance.support.shelf import Laid, Shelf, ShelfError
from appliance.system import MachineError

GROUP: Final = "sentry-capture"
CONFIGD = "configd"
RUNNING = ("active", "activating", "deactivating")

Note = Callable[..., None]
_log = logging.getLogger(__name__)


class Capturing:
    """One capture at a time. `shelf` takes its file; `root` is where the machine's files lie; `clock` says what time it is."""

    def __init__(
        self,
        engine: Engine,
        shelf: Shelf,
        *,
        root: Path = Path("/"),
        group: str = GROUP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._machine = engine.machine
        self._shelf = shelf
        self._result = root / asked.RESULT.lstrip("/")
        self._group = group
        self._clock = clock
        self._lock = threading.Lock()
        self._waits = False

    def start(self, verb: api.StartCapture, held: Held) -> api.Facts:
        """Begin one. Raises an `invalid` or `conflict` refusal, `ShelfError`, `CommandError`, `MachineError`."""
        request = self._request(verb, held.user)
        with self._lock:
            if self._runs():
                raise refused("conflict", "a capture is running; end it first, or wait: `show capture` says until when")
            self._shelf.check_room()
            self._collect()  # what one left that configd did not see the end of
            self._shelf.check_room()
            text = msgspec.json.encode(request).decode()
            self._machine.write(asked.PLACE, File(text, mode=0o640, group=self._group))
            try:
                self._machine.act(asked.UNIT, "start")
            except CommandError:
                self._machine.restore(asked.PLACE, None)
                raise
        return api.Facts(title="capture", facts=(("capturing", asked.told(request)), ("began", request.began)))

    def _request(self, verb: api.StartCapture, user: str) -> asked.Request:
        current = self._engine.store.current()
        known = sorted(current.tree.get("interfaces", {})) if current else []
        if verb.interface not in known:
            there = ", ".join(known) or "none: nothing is configured yet"
            raise refused("invalid", f"interface: found {verb.interface[:64]!r}; allowed: {there}")
        request = asked.Request(
            interface=verb.interface,
            protocol=verb.protocol,
            host=verb.host,
            port=verb.port,
            seconds=verb.seconds,
            whole=verb.whole,
            user=user,
            began=stamp(self._clock()),
        )
        problem = asked.flaw(request)
        if problem:
            raise refused("invalid", problem)
        return request

    def stop(self, _verb: api.StopCapture, _held: Held) -> api.Download:
        """End the one that runs; its file waits to be fetched. Raises a `conflict` refusal where none does."""
        with self._lock:
            if not self._runs() and not self._result.exists():
                raise refused("conflict", "no capture is running")
            self._machine.act(asked.UNIT, "stop")
            laid = self._collect()
            if laid is None:
                raise refused("apply", "nothing was captured; `show capture` says why")
            return told(laid)

    def tick(self, note: Note) -> None:
        """Once a second: put away the file of a capture that has ended by itself. `note` writes the audit line."""
        if not self._result.exists() and self._machine.read(asked.PLACE) is None:
            return
        if not self._lock.acquire(blocking=False):  # somebody starts or ends one
            return
        try:
            if not self._runs():
                self._ended(note)
        finally:
            self._lock.release()

    def _ended(self, note: Note) -> None:
        request = asked.read(self._machine.read(asked.PLACE))
        user = request.user if request else CONFIGD
        what = asked.told(request) if request else "one that nobody knows of"
        try:
            laid = self._collect()
        except ShelfError as error:  # it waits where it is until somebody makes room
            if not self._waits:
                note("capture.end", user, result="error", detail=f"{what}: its file waits for room: {error}")
            self._waits = True
            return
        except (OSError, MachineError) as error:
            self._forget()
            note("capture.end", user, result="error", detail=f"{what}: its file is lost: {error}")
            return
        note("capture.end", user, detail=f"{what}: {laid.name if laid else 'nothing was captured'}")

    def _runs(self) -> bool:
        return self._machine.unit(asked.UNIT).active in RUNNING

    def _collect(self) -> Laid | None:
        """The file of the capture onto the shelf; None where there is none, or nothing in it."""
        data = _own_file(self._result)
        laid = self._shelf.put("capture", data) if data else None
        self._forget()
        return laid

    def _forget(self) -> None:
        self._waits = False
        self._result.unlink(missing_ok=True)
        self._machine.restore(asked.PLACE, None)


def _own_file(place: Path) -> bytes:
    """The bytes of a file that another account has written: never what a link of its leads to. Raises `OSError`."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1 or state.st_uid != place.parent.stat().st_uid:
            raise OSError(f"{place} is not a file of the capture's own")
        return file.read(asked.FILE_BYTES)
