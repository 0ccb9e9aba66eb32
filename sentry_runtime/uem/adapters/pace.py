"""When a host may be asked again (pure: the clock and the randomness are given).

| it answered | then nobody asks it for |
|---|---|
| 429, or 503 with a `Retry-After` | as long as that says, within `LONGEST_SECONDS`; `THROTTLED_SECONDS` where 429 says nothing |
| another 5xx, or it broke off | `FIRST_SECONDS`, twice as long each further time, up to `LAST_SECONDS` |
| 401 or 403 | `DENIED_SECONDS`: a password that is tried again and again locks the account |

All but what the host itself says is partly drawn, so that many Sentries do not come back together.
"""

import random
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 600.0  # the longest window by which Graph counts; a new device waits no longer for who asks for more
THROTTLED_SECONDS = 30.0  # Intune leaves the header out at times
FIRST_SECONDS = 1.0  # a node that a balancer is about to take out
LAST_SECONDS = 60.0
DENIED_SECONDS = 300.0  # directories lock an account after ten failures, as a rule for half an hour
_DOUBLINGS = 8  # beyond the sixth the last delay holds


class Pace:
    """What is known of one host's patience."""

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._until = clock()
        self.throttled_count = 0
        """How often the host has asked us to come back later."""

    @property
    def wait(self) -> float:
        """For how many seconds nobody asks; 0: it may be asked now."""
        return max(0.0, self._until - self._clock())

    def answered(self) -> None:
        """It answered as it should."""
        self._failures = 0

    def throttled(self, seconds: float | None) -> None:
        """It asked us to come back later."""
        self.throttled_count += 1
        if seconds is None:
            self._rest(THROTTLED_SECONDS)
        else:
            self._until = self._clock() + min(LONGEST_SECONDS, max(FIRST_SECONDS, seconds))

    def failed(self) -> None:
        """It could not answer."""
        self._rest(min(LAST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, _DOUBLINGS)))
        self._failures += 1

    def denied(self) -> None:
        """It did not take our credentials, or they may not do this."""
        self._rest(DENIED_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._until = self._clock() + seconds * (0.5 + 0.5 * self._draw())


def retry_after(header: str | None, now: float) -> float | None:
    """The seconds that a `Retry-After` says (RFC 9110 10.2.3): a number, or a date; None for none or for nonsense."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
