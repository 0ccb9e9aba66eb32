"""When which check-in with a Cloud is due (pure: the clock and the randomness are given).

Each has an interval of its own, drawn anew every time within a tenth: a fleet that started together does not check in together,
and neither do the three.
"""

import enum
from collections.abc import Callable, Mapping

SPREAD = 0.1


class CheckIn(enum.StrEnum):
    """What is checked in for, in the order in which they go where several are due."""

    COMPLIANCE = "compliance"
    ACTIONS = "actions"
    INVENTORY = "inventory"


class Schedule:
    """All are due at the beginning. `seconds` are the intervals, `draw` gives 0 to 1."""

    def __init__(self, seconds: Mapping[CheckIn, float], clock: Callable[[], float], draw: Callable[[], float]) -> None:
        self._seconds = dict(seconds)
        self._clock = clock
        self._draw = draw
        self._at = dict.fromkeys(CheckIn, clock())

    def due(self) -> tuple[CheckIn, ...]:
        """Those whose time has come."""
        now = self._clock()
        return tuple(one for one in CheckIn if self._at[one] <= now)

    def done(self, one: CheckIn) -> None:
        """It has been: it is due again after its interval."""
        self._at[one] = self._clock() + self._seconds[one] * (1 - SPREAD + 2 * SPREAD * self._draw())

    def wait_of(self, one: CheckIn) -> float:
        """How many seconds until this one is due; 0 for one that is."""
        return max(0.0, self._at[one] - self._clock())

    @property
    def wait(self) -> float:
        """How many seconds until the next one is due."""
        return min(map(self.wait_of, CheckIn))
