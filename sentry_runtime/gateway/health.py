"""Whether a backend is fit for use: a state machine of what is seen of it, without a clock or a socket of its own.

| what is seen | counts as |
|---|---|
| it cannot be reached, refuses, is too slow to take the connection, or fails in TLS, its certificate included | a failed dial |
| it closes, is malformed or silent where an answer is due, or dies in the middle of one | a bad answer |
| its own 502, 503 or 504 without `Retry-After` or `X-MS-ASThrottle` | a bad answer: what stands behind it is gone |
| 503 with one of them | a good answer: it is there, and slows this one device down |
| any other answer, a refusal too | a good answer |

`failures` of these within `window_seconds` take it out of use for `dead_seconds` at least. A good one wipes out those of its
kind, so that one in a thousand never adds up. Bad answers count once for each principal: a device whose own requests kill
the backend's workers shall not take it from everybody. Afterwards it comes back by what took it away (a dial that succeeds, a
good answer), or by checks. These count apart: `fall` bad ones in a row take it out of use, `rise` good ones bring it back.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

from sentry_runtime.settings import ActiveHealth, PassiveHealth


class Kind(enum.Enum):
    """What failed or succeeded."""

    DIAL = "dial"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Change:
    """It went down or came back; `reason` is one word for the audit line."""

    up: bool
    reason: str


class _Failure(NamedTuple):
    time: float
    kind: Kind
    who: str


class Health:
    """One backend as one worker sees it. Times are seconds of one clock, whichever.

    `active` None: the only checks are those made when the dead time is over, and each decides by itself.
    """

    def __init__(self, passive: PassiveHealth, active: ActiveHealth | None) -> None:
        self.up = True
        self.reason = ""
        """Why it is down."""
        self._passive = passive
        self._active = active
        self._failures: list[_Failure] = []
        self._cause: Kind | None = None  # of being down; None: checks
        self._dead_until = 0.0
        self._good = 0  # checks in a row
        self._bad = 0

    @property
    def troubled(self) -> bool:
        """Whether a success would make a difference."""
        return not self.up or bool(self._failures)

    def failed(self, now: float, kind: Kind, reason: str, who: str = "") -> Change | None:
        """A dial or an answer has failed; for a bad answer, `who` asked."""
        if not self.up:
            return None
        since = now - self._passive.window_seconds
        self._failures = [one for one in self._failures if one.time > since and not (one[1:] == (kind, who) and who)]
        self._failures.append(_Failure(now, kind, who))
        if len(self._failures) < self._passive.failures:
            return None
        return self._down(now, kind, reason)

    def succeeded(self, now: float, kind: Kind) -> Change | None:
        """A dial or an answer was good."""
        if self.up:
            self._failures = [one for one in self._failures if one.kind is not kind]
            return None
        return self._back(f"{kind.value}_good") if self._cause is kind and now >= self._dead_until else None

    def checked(self, now: float, fault: str) -> Change | None:
        """A check has ended; `fault` is one word, or "" when it was good."""
        self._good, self._bad = (0, self._bad + 1) if fault else (self._good + 1, 0)
        if self.up:
            return self._down(now, None, fault) if self._active is not None and self._bad >= self._active.fall else None
        if self._active is None and fault:
            self._dead_until = now + self._passive.dead_seconds
        if now >= self._dead_until and self._good >= (1 if self._active is None else self._active.rise):
            return self._back("check_good")
        return None

    def check_due(self, now: float) -> bool:
        """Whether it is down and its dead time over."""
        return not self.up and now >= self._dead_until

    def _down(self, now: float, cause: Kind | None, reason: str) -> Change:
        self.up, self.reason, self._cause = False, reason, cause
        self._dead_until = now + self._passive.dead_seconds
        self._failures.clear()
        self._good = 0
        return Change(up=False, reason=reason)

    def _back(self, reason: str) -> Change:
        self.up, self.reason = True, ""
        self._good = self._bad = 0
        return Change(up=True, reason=reason)
