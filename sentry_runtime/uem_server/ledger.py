"""The UEM's digests (docs/uem-api.md, "Digests") and what it tells Sentrys that start, kept up to date by its own decisions.

In memory, and made anew at every start: a digest that was wrong does not outlive the process. What is wrong in the database
stays wrong, and is what Sentries get.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.uem import digests
from sentry_runtime.uem.api import BucketPage, Decision, Digests
from sentry_runtime.uem.messages import that_fit
from sentry_runtime.uem_server.feed import Feed
from sentry_runtime.uem_server.tables import Device

AT_ONCE = 500  # devices of one step: some tens of milliseconds, in which contacts wait

Decide = Callable[[Session, Sequence[int]], tuple[Decision, ...]]


class Ledger:
    """`decide` gives the decisions on some rows, in their order."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._sums = digests.Sums()
        self._entries: dict[
            int, tuple[int, int]
        ] = {}  # by the number of the row: its bucket and the digest of its decision
        self._members: list[set[int]] = [set() for _ in range(digests.BUCKETS)]
        self._version = 0
        self.feed = Feed()

    def advance(self, session: Session) -> bool:
        """Take in the next `AT_ONCE` changes; whether that was all there are."""
        wanted = select(Device.id).where(Device.version > self._version).order_by(Device.version).limit(AT_ONCE)
        numbers = session.scalars(wanted).all()
        for number, decision in zip(numbers, self._decide(session, numbers), strict=True):
            self._forget(number)
            self.feed.put(number, decision)
            if not decision.removed:
                self._note(number, decision)
            self._version = decision.version
        return len(numbers) < AT_ONCE

    def part(self, session: Session, after: int, limit: int) -> bytes | None:
        """The feed's page while not all has been taken in; None where that is not far enough for it.

        Only of what still stands in the database under the version under which it was taken in: nobody is told what has been
        changed since.
        """
        wanted = select(Device.version).where(Device.version > after, Device.version <= self._version)
        versions = session.scalars(wanted.order_by(Device.version).limit(limit)).all()
        return self.feed.page(after, limit, self._version, set(versions)) if versions else None

    def digests(self, root: str, version: int) -> Digests:
        """As the protocol has them; everything up to `version` has been taken in."""
        words = self._sums.words()
        whole = digests.root(words)
        return Digests(version=version, root=whole, buckets=() if whole == root else words)

    def bucket(self, session: Session, number: int, after: int, limit: int, version: int) -> BucketPage:
        """A page of a bucket's decisions; everything up to `version` has been taken in."""
        wanted = select(Device.id).where(Device.id.in_(self._members[number]), Device.version > after)
        found = session.scalars(wanted.order_by(Device.version).limit(limit + 1)).all()
        page = that_fit(self._decide(session, found[:limit]))
        return BucketPage(version=version, decisions=page, more=len(found) > len(page))

    def _note(self, row: int, decision: Decision) -> None:
        bucket = digests.bucket_of(decision.device_id, decision.principal)
        self._entries[row] = (bucket, digests.of_decision(decision))
        self._sums.put(*self._entries[row])
        self._members[bucket].add(row)

    def _forget(self, row: int) -> None:
        entry = self._entries.pop(row, None)
        if entry is not None:
            self._sums.drop(*entry)
            self._members[entry[0]].discard(row)
