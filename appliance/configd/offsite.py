"""What configd does about copies elsewhere: it hands the newest backup to the service that sends, and tells what came of it.

configd dials nobody: the service takes the sealed file over a local socket, and has no way to any other.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from appliance.alerts.happening import plain
from appliance.apply import Engine
from appliance.backup.bounds import BackupError
from appliance.backup.keeping import Folder
from appliance.configd.facts.backups import destinations
from appliance.configd.gate import Gate
from appliance.offsite import api as offsite_api
from sentry_runtime import control

EVERY_SECONDS = 15.0  # between looks: how long a backup that was made waits for being sent
TELL_SECONDS = 60.0  # between two lines of the audit trail on one destination: the service must not be able to fill it
CONFIGD = "configd"

_log = logging.getLogger(__name__)


class Offsite:
    """`tick` is called once a second. `call` asks the service; `clock` is monotonic."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        folder: Folder,
        *,
        call: Callable[..., Any] = control.call,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._folder = folder
        self._call = call
        self._clock = clock
        self._look_at = clock()
        self._told: dict[str, tuple[float, offsite_api.Standing]] = {}
        """Of each destination, when the audit trail was told last, and how it stood then."""

    def tick(self) -> None:
        """Offer the newest backup where the service has another one. Raises what reading the store raises."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + EVERY_SECONDS
        current = self._engine.store.current()
        if current is None or not destinations(current.tree):
            self._told.clear()
            return
        try:
            newest = next(iter(self._folder.all()), None)
            if newest is None:
                return
            report = self._call(offsite_api.SOCKET, offsite_api.Status(), offsite_api.Report)
            if report.holding != newest.name:
                offer = offsite_api.Offer(name=newest.name, file=self._folder.read(newest.name))
                report = self._call(offsite_api.SOCKET, offer, offsite_api.Report)
        except (
            control.ControlError,
            BackupError,
            OSError,
        ) as error:  # its unit says the rest, or the folder's own topic
            _log.info("no backup was offered to be sent: %s", error)
            return
        for name in destinations(current.tree):  # what it says of others is nobody's business
            if name in report.destinations:
                self._tell(name, report.destinations[name])

    def _tell(self, name: str, now: offsite_api.Standing) -> None:
        """Have the audit trail say of each file once that it was sent, and of each failed attempt why."""
        when, before = self._told.get(name, (float("-inf"), now))
        known = name in self._told
        self._told.setdefault(name, (when, now))
        failed = bool(now.problem) and (not known or (now.tried, now.problem) != (before.tried, before.problem))
        sent = known and now.sent_at != before.sent_at
        if not (sent or failed) or self._clock() < when + TELL_SECONDS:
            return
        self._told[name] = (self._clock(), now)
        if sent:
            self._gate.note("backup.sent", CONFIGD, detail=f"{plain(now.sent, 64)} to {name}")
        if failed:
            detail = f"not sent to {name}: {plain(now.problem, offsite_api.WORDS_CHARACTERS)}"
            self._gate.note("backup.sent", CONFIGD, result="failed", detail=detail)
