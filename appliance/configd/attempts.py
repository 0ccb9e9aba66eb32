"""Failed attempts: three within the window lock a name, whether or not there is such an account."""

import threading
import time
from collections.abc import Callable

from appliance.failures import locked

NAMES = 1_000  # remembered at once; the oldest go first, so that guessing names cannot fill the memory
FAILURES = 512  # of one name; more than any policy allows, even for all sources of an account together

Counted = str | tuple[str, str]
"""What failures are counted by: a name, or a name from one source."""


class Attempts:
    """Counts failures by name. `sentry-tally` does the same for real accounts and outlives configd; this one also answers for
    names that do not exist, so that the answer `locked` tells nothing. The clock is monotonic: no setting of the time unlocks."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[Counted, list[float]] = {}
        self._lock = threading.Lock()

    def locked(self, name: Counted, *, attempts: int, seconds: int) -> bool:
        """Whether `attempts` failures within `seconds` lock `name`; they do so for `seconds` from the last of them."""
        with self._lock:
            return locked(self._failures.get(name, ()), self._clock(), attempts=attempts, seconds=seconds)

    def failed(self, name: Counted) -> None:
        """Count a failure."""
        with self._lock:
            held = self._failures.pop(name, [])
            self._failures[name] = [*held, self._clock()][-FAILURES:]
            while len(self._failures) > NAMES:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, name: Counted) -> None:
        """Forget `name`'s failures."""
        with self._lock:
            self._failures.pop(name, None)
