"""What configd deletes by itself of the files that wait to be fetched."""

import time
from collections.abc import Callable

from appliance.configd.gate import Gate
from appliance.support.shelf import Shelf

CONFIGD = "configd"
EVERY_SECONDS = 60.0  # between looks; a minute more than a day harms nobody


class Tidying:
    """Deletes what has lain too long. `tick` is called once a second; `clock` is monotonic."""

    def __init__(self, shelf: Shelf, gate: Gate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._gate = gate
        self._clock = clock
        self._look_at = clock()

    def tick(self) -> None:
        """Look, once a minute. Raises `OSError`."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + EVERY_SECONDS
        for name in self._shelf.sweep():
            self._gate.note("download.expired", CONFIGD, detail=name)
