"""What configd does by itself: it brings back what nobody confirmed, ends idle sessions, and has certificates renewed."""

import logging
import time
from collections.abc import Callable, Iterable

from appliance.apply import Engine
from appliance.config.store import Pending, StoreError
from appliance.configd import accounts
from appliance.configd.errors import as_refusal
from appliance.configd.gate import Gate
from appliance.configd.sessions import Sessions

AGAIN_SECONDS = 60.0  # between attempts to return; a daemon that is down a minute may be up the next
CONFIGD = "configd"

_log = logging.getLogger(__name__)


class Watch:
    """`tick` is called once a second; `clock` is monotonic."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        sessions: Sessions,
        *,
        clock: Callable[[], float] = time.monotonic,
        renew: Iterable[Callable[[], None]] = (),
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._sessions = sessions
        self._clock = clock
        self._renew = tuple(renew)
        self._not_before = 0.0

    def tick(self) -> None:
        """Whatever is due. Never raises."""
        try:
            self._gate.tick()
            self._return()
            for renew in self._renew:
                renew()
        except (StoreError, OSError) as error:
            _log.error("the store cannot be read: %s", error)

    def _return(self) -> None:
        pending = self._engine.overdue()
        if pending is None or self._clock() < self._not_before:
            return
        comment = f"revision {pending.revision} was not confirmed"
        try:
            self._engine.return_to(pending.previous, CONFIGD, comment, guard=None)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from returning, it is said and tried again
            self._not_before = self._clock() + AGAIN_SECONDS
            self._failed(pending, error)
            return
        notice = f"{comment} in time: revision {pending.previous} is running again"
        self._sessions.tell_all(notice)
        self._gate.note("config.returned", CONFIGD, detail=notice)
        current = self._engine.store.current()
        tree = current.tree if current else {}
        known = accounts.directory(tree).credentials
        self._sessions.follow(accounts.roles(tree), accounts.credentials(tree), directory=known)

    def _failed(self, pending: Pending, error: Exception) -> None:
        refusal = as_refusal(error)
        notice = f"revision {pending.previous} could not be brought back: {error}; it is tried again"
        self._sessions.tell_all(notice)
        self._gate.note("config.returned", CONFIGD, result=refusal.kind if refusal else "error", detail=notice)
        _log.error("%s", notice, exc_info=None if refusal else error)
