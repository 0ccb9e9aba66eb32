"""What a service did that hung until systemd ended it: the stacks of its threads and its last lines, kept before others follow.

systemd ends it by SIGABRT, on which each of our programs writes the stacks of all its threads to the journal (`faulthandler`,
in the launcher). configd finds systemd's own word of it there; after it has hung itself, its successor does.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.apply import stamp
from appliance.configd.gate import Gate
from appliance.process import CommandError, Finished
from appliance.support.records import Records

CONFIGD = "configd"
EVERY_SECONDS = 30.0  # between looks at the journal
BACK_SECONDS = 900  # how far back one goes: configd itself may have been away
SETTLED_SECONDS = 5  # until then the stacks are in the journal
LINES = 1_000  # of the service's log; the stacks of forty threads are half of it
EVENTS = 200  # of systemd's words of one look
_TIMEOUT: Final = re.compile(r"(sentry-[a-z-]{1,24})\.service: Watchdog timeout \(limit [^)]{1,32}\)!")
PROPERTIES = "Id,ActiveState,Result,NRestarts,MemoryCurrent,MemoryPeak,TasksCurrent,CPUUsageNSec,WatchdogUSec"

Attempt = Callable[[list[str]], Finished]
_log = logging.getLogger(__name__)


class _Line(msgspec.Struct, frozen=True):
    """Of an entry as journalctl prints it in JSON, what is looked at."""

    message: object = msgspec.field(name="MESSAGE", default="")
    microseconds: str = msgspec.field(name="__REALTIME_TIMESTAMP", default="0")


_decode = msgspec.json.Decoder(_Line).decode


class Hanging:
    """`tick` is called once a second. `attempt` runs a command; `clock` is monotonic, `wall_clock` says what time it is."""

    def __init__(
        self,
        records: Records,
        gate: Gate,
        attempt: Attempt,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._gate = gate
        self._attempt = attempt
        self._clock = clock
        self._now = wall_clock
        self._look_at = clock()
        self._known: set[tuple[str, int]] = set()

    def tick(self) -> None:
        """Look, twice a minute. Raises `OSError`."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + EVERY_SECONDS
        now = self._now()
        try:
            for service, when in self._ended(now):
                self._keep(service, when)
        except CommandError as error:
            _log.error("whether a service hung cannot be told: %s", error)
        self._known = {(service, when) for service, when in self._known if now - when < 2 * BACK_SECONDS}
        self._records.sweep()

    def _ended(self, now: float) -> list[tuple[str, int]]:
        """The services that systemd has ended so, each with its second, which are not kept yet."""
        argv = ["journalctl", "--no-pager", "-q", "-o", "json", "--output-fields=MESSAGE", "-n", str(EVENTS)]
        argv += [f"--since=@{int(now - BACK_SECONDS)}", f"--until=@{int(now - SETTLED_SECONDS)}"]
        found = []
        # Which process wrote a line is journald's word: nobody but systemd itself has this number.
        for printed in self._attempt([*argv, "_PID=1", "SYSLOG_IDENTIFIER=systemd"]).output.splitlines():
            try:
                line = _decode(printed)
            except msgspec.MsgspecError:
                continue
            match = _TIMEOUT.fullmatch(line.message) if isinstance(line.message, str) else None
            if match is None or not line.microseconds.isdecimal():
                continue
            one = (match[1], int(line.microseconds) // 1_000_000)
            if one not in self._known and not self._records.has(*one):
                found.append(one)
        return found

    def _keep(self, service: str, when: int) -> None:
        unit = f"{service}.service"
        until = when + SETTLED_SECONDS
        argv = ["journalctl", "--no-pager", "-q", "-o", "short-iso", "-n", str(LINES), f"--until=@{until}"]
        log = self._attempt([*argv, f"_SYSTEMD_UNIT={unit}", "+", f"UNIT={unit}", "_PID=1"])
        state = self._attempt(["systemctl", "show", f"--property={PROPERTIES}", "--", unit])
        head = f"{unit} hung and was ended by its watchdog at {stamp(when)}. Its last lines, and the stacks of its threads:\n\n"
        after = f"\nWhat systemd says of it since:\n{state.output or state.errors}"
        name = self._records.put(service, when, f"{head}{log.output or log.errors}{after}")
        self._known.add((service, when))
        self._gate.note("service.hung", CONFIGD, result="error", detail=f"{unit}: kept as {name}")
