"""Failed attempts: three within the window lock a name, whether or not there is such an account."""

import threading
import time
from collections.abc import Callable

NAMES = 1_000  # remembered at once; the oldest go first, so that guessing names cannot fill the memory


class Attempts:
    """Counts failures by name. faillock does the same for real accounts and survives a restart; this one also answers for
    names that do not exist, so that the answer `locked` tells nothing."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def locked(self, name: str, *, attempts: int, seconds: int) -> bool:
        """Whether `name` had `attempts` failures within the last `seconds`."""
        with self._lock:
            recent = [when for when in self._failures.get(name, ()) if when > self._clock() - seconds]
            return len(recent) >= attempts

    def failed(self, name: str) -> None:
        """Count a failure."""
        with self._lock:
            held = self._failures.pop(name, [])
            self._failures[name] = [*held, self._clock()][-32:]  # more than any policy allows
            while len(self._failures) > NAMES:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, name: str) -> None:
        """Forget `name`'s failures."""
        with self._lock:
            self._failures.pop(name, None)
