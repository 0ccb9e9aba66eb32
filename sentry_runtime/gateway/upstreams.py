"""The backend connections that wait for another request of their owner: a front connection's, beside the one in use.

A phone has one device and one principal, so this stays empty. Behind a balancer that puts several devices on a connection
it saves dialling anew whenever they take turns.
"""

from collections.abc import Iterator

from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.identify import Claim

KEPT = 4  # with all of theirs, 8,000 front connections stay below the 65,536 file handles of a worker


class Upstreams:
    """At most `KEPT` of them; the one that was put in first goes first."""

    def __init__(self) -> None:
        self._kept: list[Upstream] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._kept)

    def put(self, upstream: Upstream, now: float) -> None:
        """Keep it, if a request might still go over it."""
        if not upstream.usable(now):
            upstream.drop()
            return
        self._kept.append(upstream)
        if len(self._kept) > KEPT:
            self._kept.pop(0).drop()

    def take(self, claim: Claim, credentials: bytes, now: float) -> Upstream | None:
        """One over which a request with this claim and these credentials may go; it is kept no longer."""
        for upstream in self._kept:
            if upstream.fits(claim, credentials, now):
                self._kept.remove(upstream)
                return upstream
        return None

    def tidy(self, now: float) -> None:
        """Let go of those over which no request will go any more."""
        if not self._kept:  # as nearly always, and every connection is looked at each second
            return
        for upstream in [one for one in self._kept if not one.usable(now)]:
            self._kept.remove(upstream)
            upstream.drop()

    def drop(self) -> None:
        """Close all of them."""
        for upstream in self._kept:
            upstream.drop()
        self._kept.clear()
