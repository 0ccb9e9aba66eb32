"""The log-ins of the portal: which cookie stands for which session of configd. Kept in memory; a restart ends them all."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.configd.api import Session

TOKEN_BYTES = 32  # 256 bits from the system's generator: not to be guessed, not to be enumerated
SESSIONS = 200  # configd bounds what one account may hold; this bounds the table itself


@dataclass(frozen=True, slots=True)
class Note:
    """What a person is told on the next page: that something was done (`good`), or why it was not."""

    words: str
    good: bool = True


@dataclass(slots=True)
class LogIn:
    """One person at one browser. `csrf` must come back with every form; `used` is when they last did something; `notes` are
    told on the next page; `streams` are the logs that are followed now."""

    session: Session
    csrf: str
    used: float
    notes: list[Note] = field(default_factory=list)
    streams: int = 0


class LogIns:
    """Cookie -> log-in. `clock` gives monotonic seconds, `token` an unguessable text."""

    def __init__(
        self,
        idle_seconds: float,
        *,
        clock: Callable[[], float],
        token: Callable[[], str] = lambda: secrets.token_urlsafe(TOKEN_BYTES),
    ) -> None:
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._token = token
        self._held: dict[str, LogIn] = {}

    def open(self, session: Session) -> tuple[str, LogIn, list[LogIn]]:
        """A new cookie for `session`; also those log-ins that had to go because the table is full, oldest first."""
        evicted = []
        while len(self._held) >= SESSIONS:
            oldest = min(self._held, key=lambda cookie: self._held[cookie].used)
            evicted.append(self._held.pop(oldest))
        cookie, held = self._token(), LogIn(session, self._token(), self._clock())
        self._held[cookie] = held
        return cookie, held, evicted

    def find(self, cookie: str) -> LogIn | None:
        """The log-in behind a cookie, or None when there is none or it was idle too long (V-250984)."""
        held = self._held.get(cookie)
        if held is None or self._clock() - held.used >= self._idle_seconds:
            return None
        return held

    def use(self, held: LogIn) -> None:
        """The person did something: idle time starts again."""
        held.used = self._clock()

    def close(self, cookie: str) -> LogIn | None:
        """End the log-in of this cookie; returns it so that configd's session can be ended too."""
        return self._held.pop(cookie, None)

    def take_idle(self) -> list[LogIn]:
        """Take out and return every log-in that was idle too long."""
        limit = self._clock() - self._idle_seconds
        gone = [cookie for cookie, held in self._held.items() if held.used <= limit]
        return [self._held.pop(cookie) for cookie in gone]
