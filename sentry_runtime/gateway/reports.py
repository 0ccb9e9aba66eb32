"""What a worker tells of its backends: audit lines, its view of each in the sign of life, and news for the other workers."""

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.health import Change
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.redirects import News

NEWS = 1_000  # that wait for a supervisor that is slow; what is lost costs the other workers a redirection more


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's view of one backend; `reason` says why it is down."""

    up: bool
    reason: str = ""


class Reports:
    """The `Audience` of a worker's backends."""

    def __init__(self, account: Account) -> None:
        self.waiting: deque[News] = deque(maxlen=NEWS)
        """What the supervisor has not been told yet, the oldest first."""
        self._account = account

    def backend_changed(self, backend: str, change: Change) -> None:
        """Each worker finds out for itself, so a line stands for one worker."""
        self._account.backend("backend_up" if change.up else "backend_down", backend, (change.reason,))

    def backend_untrusted(self, backend: str, verdict: str) -> None:
        """One line for each connection."""
        self._account.backend("backend_untrusted", backend, (verdict,))

    def redirected(self, seat: Seat, backend: str, host: str, refusal: str) -> None:
        """One line for each 451 that was followed or refused."""
        self._account.redirected(seat, backend, host, refusal)

    def news(self, news: News) -> None:
        """For the other workers, and for those to come."""
        self.waiting.append(news)


def summed(names: Iterable[str], views: Iterable[Mapping[str, Standing]]) -> dict[str, int | str]:
    """All workers' views of the backends of these names, flat: how many have it up and down, and why one has it down."""
    words: dict[str, int | str] = {}
    seen = list(views)
    for name in names:
        held = [view[name] for view in seen if name in view]
        words[f"backend.{name}.up"] = sum(one.up for one in held)
        words[f"backend.{name}.down"] = sum(not one.up for one in held)
        words[f"backend.{name}.reason"] = next((one.reason for one in held if not one.up), "")
    return words
