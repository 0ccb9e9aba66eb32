"""What the clock does to certificates: the appliance's own are made anew before they end, a second one takes over from the first.

It is looked at once an hour, and at the very moment at which a second certificate is due.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from appliance import served
from appliance.apply import ConflictError, Engine, stamp
from appliance.configd.bringing import bring
from appliance.configd.errors import as_refusal
from appliance.configd.gate import Gate
from appliance.configd.sessions import Sessions

EVERY_SECONDS = 3_600.0  # between looks; certificates are made anew days before they end
AGAIN_SECONDS = 60.0  # after a failure
WARN_WITHIN = timedelta(days=30)  # an authority may take weeks
WARN_SECONDS = 86_400.0  # between warnings
CONFIGD = "configd"

_log = logging.getLogger(__name__)


class Renewal:
    """`tick` is called once a second. `clock` is monotonic, `wall_clock` says what time it is."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        sessions: Sessions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._sessions = sessions
        self._clock = clock
        self._wall_clock = wall_clock
        self._look_at = self._warn_at = clock()
        self._seen = -1
        self._due: datetime | None = None
        self._before = self._now()

    def tick(self) -> None:
        """Whatever is due. Raises what reading the store raises."""
        now, before = self._now(), self._before
        self._before = now
        running = self._engine.store.running()
        if running is None:
            return
        if running.revision != self._seen:  # a commit has done its own part, but maybe just before the moment came
            current = self._engine.store.current()
            self._seen, self._due = running.revision, served.next_change(current.tree if current else {}, before)
        over = self._due is not None and now >= self._due
        if over or self._clock() >= self._look_at:
            self._look()

    def _look(self) -> None:
        try:
            made = bring(self._engine, clock=self._now)
        except ConflictError:  # the next tick comes in a second
            return
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being done, it is said and tried again
            self._look_at = self._clock() + AGAIN_SECONDS
            self._due = None
            self._failed(error)
            return
        self._look_at, self._seen = self._clock() + EVERY_SECONDS, -1
        if made:
            notice = f"new certificates at {stamp(self._wall_clock())}: {', '.join(made)}"
            self._sessions.tell_all(notice)
            self._gate.note("certificate.changed", CONFIGD, detail=notice)
        if self._clock() >= self._warn_at:
            self._warn_at = self._clock() + WARN_SECONDS
            self._warn()

    def _warn(self) -> None:
        """Once a day, of what only the site can make anew."""
        current = self._engine.store.current()
        for service, ends in served.ending(current.tree if current else {}, self._now(), WARN_WITHIN):
            notice = f"the certificate of {service} ends {ends:%Y-%m-%d %H:%M} UTC, and there is no later one"
            self._sessions.tell_all(notice)
            self._gate.note("certificate.ending", CONFIGD, result="warning", detail=notice)

    def _failed(self, error: Exception) -> None:
        refusal = as_refusal(error)
        notice = f"certificates could not be made anew or put in place: {error}; it is tried again"
        self._sessions.tell_all(notice)
        self._gate.note("certificate.changed", CONFIGD, result=refusal.kind if refusal else "error", detail=notice)
        _log.error("%s", notice, exc_info=None if refusal else error)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), UTC)
