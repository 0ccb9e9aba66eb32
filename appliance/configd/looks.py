"""Looks at the machine's health, one at a time. Each starts a dozen processes. Where they are slow, who asks has given up before
the answer comes and asks again, and looks side by side would never end."""

import threading
import time
from collections.abc import Callable

from appliance.configd import health
from appliance.configd.api import Health
from appliance.configd.facts import Context


class Looks:
    """`context` is what the machine is looked at with; `clock` is monotonic."""

    def __init__(self, context: Callable[[], Context], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._alone = threading.Lock()
        self._last: dict[bool, tuple[float, Health]] = {}

    def health(self, *, thorough: bool) -> Health:
        """The answer of a look that began after this was asked, by whomever. Raises what `health.health` does."""
        asked = self._clock()
        with self._alone:
            known = self._last.get(thorough)
            if known is not None and known[0] > asked:
                return known[1]
            began = self._clock()
            found = health.health(self._context(), thorough=thorough)
            self._last[thorough] = began, found
            return found
