"""How often somebody may try to log in: so many attempts a minute from one source and to one account."""

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
NAMES = 4_096  # sources and accounts remembered; beyond that the table is swept, so strangers cannot fill the memory


class Throttle:
    """A sliding window for each name (a source address, an account)."""

    def __init__(self, attempts: int, *, clock: Callable[[], float]) -> None:
        self._attempts = attempts
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def wait_seconds(self, *names: str) -> int:
        """Count one attempt for all of `names`. 0: go on; else the whole seconds until the next may be made, none counted."""
        now = self._clock()
        windows = [self._window(name, now) for name in names]
        full = [window[0] for window in windows if len(window) >= self._attempts]
        if full:
            return max(1, int(max(full) + WINDOW_SECONDS - now) + 1)
        for window in windows:
            window.append(now)
        return 0

    def _window(self, name: str, now: float) -> deque[float]:
        if name not in self._seen and len(self._seen) >= NAMES:
            self._sweep(now)
        window = self._seen.setdefault(name, deque())
        while window and now - window[0] >= WINDOW_SECONDS:
            window.popleft()
        return window

    def _sweep(self, now: float) -> None:
        """Forget windows that are over; when that is not enough, the ones that began first."""
        self._seen = {name: seen for name, seen in self._seen.items() if seen and now - seen[-1] < WINDOW_SECONDS}
        for name in sorted(self._seen, key=lambda each: self._seen[each][0])[: len(self._seen) - NAMES + 1]:
            del self._seen[name]
