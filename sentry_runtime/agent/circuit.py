"""Whether the UEM's link is up (pure: the clock and the randomness are given).

Only a link that is *down* (nobody answers there, or not with the right certificate) opens the circuit; a UEM that is slow or
answers errors does not. It ends an outage, too: who answers slowly is there. While the link is down nobody dials but one
prober, at times that back off, and the fail mode speaks at once instead of after a time-out per device.
"""

import enum
import random
from collections.abc import Callable

BACKOFF_FIRST_SECONDS = 0.5  # the UEM in the box restarts in a second or two
BACKOFF_LAST_SECONDS = (
    30.0  # what a returned UEM may wait for us; and what a fleet of Sentries may cost a struggling one
)
_DOUBLINGS = 8  # beyond the sixth the last delay holds; keeps the power small however long the outage


class LinkState(enum.StrEnum):
    """What is known of the link."""

    UNTRIED = "untried"
    UP = "up"
    DOWN = "down"


class Circuit:
    """Remembers failures and says when to try again."""

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self.state = LinkState.UNTRIED
        self.since = clock()
        """When the present state began, on the given clock."""
        self.retry_at = clock()
        """When the next probe is due while the link is not up."""

    @property
    def is_down(self) -> bool:
        """Whether the fail mode speaks."""
        return self.state is LinkState.DOWN

    @property
    def held_seconds(self) -> int:
        """How long the present state has held."""
        return int(self._clock() - self.since)

    @property
    def wait_seconds(self) -> int:
        """How long until the next probe; 0 while the link is up, since none is due then."""
        return 0 if self.state is LinkState.UP else max(0, round(self.retry_at - self._clock()))

    def succeeded(self) -> bool:
        """The UEM answered, whatever it said. True if that is a change."""
        self._failures = 0
        return self._enter(LinkState.UP)

    def failed(self) -> bool:
        """Nobody answered. True if that is a change. A failure before the next probe is due is the same failure."""
        self._postpone()
        return self._enter(LinkState.DOWN)

    def doubted(self) -> bool:
        """No success, and no word that nobody is there. A link that was down is untried again. True if that is a change.

        Else an overload that follows a short outage would let the fail mode go on speaking for as long as it lasts.
        """
        if self.state is LinkState.UP:
            return False
        self._postpone()
        return self._enter(LinkState.UNTRIED)

    def _postpone(self) -> None:
        now = self._clock()
        if self.state is LinkState.UP or now >= self.retry_at:
            span = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, _DOUBLINGS))
            # Half fixed, half drawn: many Sentries that lost one UEM together do not come back together.
            self.retry_at = now + span * (0.5 + 0.5 * self._draw())
            self._failures += 1

    def _enter(self, state: LinkState) -> bool:
        changed = state is not self.state
        if changed:
            self.state = state
            self.since = self._clock()
        return changed
