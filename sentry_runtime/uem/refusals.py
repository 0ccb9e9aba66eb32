"""Audit lines on those who are turned away, of whom there may be any number: a bound for each and for all of them."""

from collections.abc import Callable

from sentry_runtime.uem.trail import Audit

QUIET_SECONDS = 60.0  # a wrong client that tries on and on has one line a minute, with the number of its tries
ADDRESSES = 256  # of which it is remembered when they last had a line
LINES = 256  # in `QUIET_SECONDS`, of all together: who changes addresses does not fill the audit trail


class Refusals:
    """One line for each who and reason, then at most one in `QUIET_SECONDS`, in which there are `LINES` at most."""

    def __init__(self, audit: Audit, clock: Callable[[], float], event: str) -> None:
        self._audit = audit
        self._clock = clock
        self._event = event
        self._last: dict[tuple[str, str], tuple[float | None, int]] = {}
        self._begun, self._lines = clock(), 0
        self.refused = 0
        """How many were turned away."""

    def refuse(self, who: str, reason: str, seen: str = "") -> None:
        """This one was turned away. Two refusals are the same whatever was `seen`: who varies that gets no further line."""
        self.refused += 1
        now = self._clock()
        since, tries = self._last.pop((who, reason), (None, 0))
        tries += 1
        if now - self._begun >= QUIET_SECONDS:
            self._begun, self._lines = now, 0
        if self._lines < LINES and (since is None or now - since >= QUIET_SECONDS):
            self._lines += 1
            self._audit(self._event, count=tries, detail=f"{who}: {reason}{seen}")
            since, tries = now, 0
        self._last[who, reason] = (since, tries)
        if len(self._last) > ADDRESSES:
            del self._last[next(iter(self._last))]
