"""The feed of decisions from memory, each as its JSON: what a Sentry that starts with an empty list reads in one go.

Rendering a decision takes some ten queries for a page; a fleet of 100,000 would keep its Sentrys waiting for them. What is kept
costs about 300 bytes for each device. It is filled in the order of versions, so that order is the order of the feed.
"""

from bisect import bisect_right
from collections.abc import Collection

import msgspec

from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import DECISIONS_BYTES

WASTE = 10_000  # outlived entries, at least, before they are swept out


class Feed:
    """`put` takes decisions in the order of their versions; a later one on the same row outlives the one before."""

    def __init__(self) -> None:
        self._versions: list[int] = []
        self._rows: list[int] = []
        self._present: dict[int, tuple[int, bytes]] = {}

    def put(self, row: int, decision: Decision) -> None:
        """The word on the device of this row is this from now on."""
        self._versions.append(decision.version)
        self._rows.append(row)
        self._present[row] = (decision.version, msgspec.json.encode(decision))
        if len(self._versions) > 2 * len(self._present) + WASTE:
            self._sweep()

    def page(self, after: int, limit: int, last: int, of: Collection[int] | None = None) -> bytes:
        """A `DecisionPage` as JSON; `last` is the UEM's last version, up to which everything was put. `of`: of these versions
        only, behind which there are more."""
        texts: list[bytes] = []
        at, room, version = bisect_right(self._versions, after), DECISIONS_BYTES, min(after, last)
        more = of is not None
        for place in range(at, len(self._versions)):
            present, text = self._present[self._rows[place]]
            if present != self._versions[place] or (of is not None and present not in of):
                continue
            room -= len(text) + 1
            if len(texts) == limit or room < 0:
                more = True
                break
            texts.append(text)
            version = present
        return b'{"decisions":[%b],"next":%d,"more":%b}' % (b",".join(texts), version, b"true" if more else b"false")

    def _sweep(self) -> None:
        rows = [
            row for row, version in zip(self._rows, self._versions, strict=True) if self._present[row][0] == version
        ]
        self._rows, self._versions = rows, [self._present[row][0] for row in rows]
