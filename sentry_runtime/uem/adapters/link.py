"""A vendor's API as the link that the agent uses for any UEM: what it asks for is the same, and so are the errors.

Such an API gives no change numbers. Here every word that is news gets one: larger than any that the device list has, and the
clock's milliseconds where those are more. What is news is found by holding what the UEM says against the list.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.uem.adapters.changes import Gone, change
from sentry_runtime.uem.adapters.entry import Entry, LeftOut, Snapshot, judged
from sentry_runtime.uem.api import (
    DECISIONS_PER_PAGE,
    BucketPage,
    Contact,
    Decision,
    DecisionPage,
    Digests,
    Information,
    WipeReport,
)
from sentry_runtime.uem.link import LinkRefusedError, LinkSlowError

POLL_SECONDS = 900.0  # of all of a list, with the waits that the UEM asks for
STRANGERS = 20  # unregistered devices of one principal, as at the UEM in the box: who has one password invents no more
SHRUNK_AT_LEAST = 20  # registered devices that are gone at once, and more than half of them: that may be an error ...
SHRUNK_SECONDS = 60.0  # ... unless the UEM still says so after this time
_PAGE = 1_000


class Source(Protocol):
    """A vendor's API."""

    name: str

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Connected for as long as this lasts."""
        ...

    async def everything(self) -> Snapshot:
        """All that the UEM says, now. Raises `LinkError`."""
        ...

    async def find(self, contact: Contact) -> Snapshot:
        """Enough of it to answer this contact. Raises `LinkError`."""
        ...

    @property
    def throttled(self) -> int:
        """How often it has asked us to come back later."""
        ...

    @property
    def wait(self) -> float:
        """For how many seconds nobody asks it now; until then a new device gets 503."""
        ...


class Listed(Protocol):
    """The part of the device list that is looked at."""

    @property
    def cursor(self) -> int:
        """The number of the last change."""
        ...

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key."""
        ...

    def page(self, after: DeviceKey | None, limit: int) -> list[Record]:
        """Entries in key order."""
        ...


class AdapterLink:
    """Stands where `sentry_runtime.uem.link.UemLink` does. Used as an async context manager."""

    def __init__(
        self,
        source: Source,
        listed: Listed,
        *,
        block_unregistered: bool,
        contact_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._source = source
        self._listed = listed
        self._block_unregistered = block_unregistered
        self._contact_seconds = contact_seconds
        self._now = now
        self._version = 0
        self._strangers: Counter[str] = Counter()
        self._looked = False
        self._pending: deque[Decision] = deque()
        self._expected = -1
        self._shrunk_since: float | None = None
        self._known = 0
        self._left_out: Counter[LeftOut] = Counter()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._source.opened())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        left_out = "; ".join(f"{count} with {why}" for why, count in sorted(self._left_out.items()))
        return {
            "uem": self._source.name,
            "uem_devices": self._known,
            "uem_left_out": left_out,
            "uem_throttled": self._source.throttled,
            "uem_wait_seconds": round(self._source.wait),
        }

    async def contact(self, contact: Contact) -> Decision:
        """The UEM's word on a device that was seen for the first time. Raises `LinkError`."""
        await self._look()
        key = DeviceKey(contact.device_id, contact.principal)
        try:
            async with asyncio.timeout(self._contact_seconds):
                snapshot = await self._source.find(contact)
        except TimeoutError:
            raise LinkSlowError(f"{self._source.name}: no answer within {self._contact_seconds:g} s") from None
        entry = judged(key, snapshot, block_unregistered=self._block_unregistered, aliases=contact.device_aliases)
        if key not in snapshot.entries:
            if self._strangers[key.principal] >= STRANGERS and self._listed.get(key) is None:
                raise LinkRefusedError(f"{STRANGERS} devices of this user are not registered; no more are taken")
            self._strangers[key.principal] += 1
            entry = Entry(key, entry.reasons, device_type=contact.device_type)
        return entry.decision(self._next_version())

    async def report_wipe(self, report: WipeReport) -> Decision:
        """None of these APIs takes what has come of a wipe. An order is of another UEM, which this Sentry had before."""
        raise LinkRefusedError(f"{self._source.name} takes no report of a wipe ordered at {report.wipe.order}")

    async def inform(self, information: Information) -> None:
        """None of these APIs takes what a device says of itself; the list keeps it."""

    async def digests(self, root: str) -> Digests:
        """The same as ours: what digests find is found at every poll, where all that the UEM says is held against the list."""
        return Digests(version=self._version, root=root)

    async def bucket(self, number: int, after: int) -> BucketPage:
        """Nobody asks for one where the digests are the same."""
        raise LinkRefusedError(f"{self._source.name} has no bucket {number}, behind {after} or anywhere")

    async def decisions(self, after: int, limit: int = DECISIONS_PER_PAGE) -> DecisionPage:
        """What is news, in pages. The first one asks for all that the UEM says; `after` is where the last one ended."""
        if not self._pending or after != self._expected:
            self._pending = deque(await self._news())
        batch = tuple(self._pending.popleft() for _ in range(min(limit, len(self._pending))))
        self._expected = batch[-1].version if batch else after
        return DecisionPage(decisions=batch, next=self._expected, more=bool(self._pending))

    async def _news(self) -> list[Decision]:
        await self._look()
        try:
            async with asyncio.timeout(POLL_SECONDS):
                snapshot = await self._source.everything()
        except TimeoutError:
            raise LinkSlowError(f"{self._source.name}: the whole list did not come within {POLL_SECONDS:g} s") from None
        changes = await self._compared(snapshot)
        self._known, self._left_out = len(snapshot.entries), snapshot.left_out
        return [self._word(one) for one in changes]

    async def _compared(self, snapshot: Snapshot) -> list[Entry | DeviceKey]:
        """What is news: a word on a device, or the key of one that is to be removed."""
        found: list[Entry | DeviceKey] = []
        seen: set[DeviceKey] = set()
        strangers: Counter[str] = Counter()
        registered = withdrawn = 0
        now = self._now()
        async for record in self._records():
            seen.add(record.key)
            registered += record.registered
            news = change(record, snapshot, block_unregistered=self._block_unregistered, now=now)
            if isinstance(news, Gone):
                withdrawn += news is Gone.WITHDRAWN
                found.append(record.key)
            elif isinstance(news, Entry):
                found.append(news)
            if record.key not in snapshot.entries and not record.registered and not isinstance(news, Gone):
                strangers[record.key.principal] += 1
        self._check_shrunk(withdrawn, registered)
        self._strangers = strangers
        found += [self._restricted(entry, snapshot) for key, entry in snapshot.entries.items() if key not in seen]
        return found

    def _restricted(self, entry: Entry, snapshot: Snapshot) -> Entry:
        return judged(entry.key, snapshot, block_unregistered=self._block_unregistered)

    def _check_shrunk(self, withdrawn: int, registered: int) -> None:
        """Half a fleet that is gone at once is more likely an account that lost a permission. The list stands for a while."""
        if withdrawn < SHRUNK_AT_LEAST or withdrawn * 2 <= registered:
            self._shrunk_since = None
            return
        now = self._now()
        self._shrunk_since = now if self._shrunk_since is None else self._shrunk_since
        if now - self._shrunk_since < SHRUNK_SECONDS:
            raise LinkRefusedError(
                f"{self._source.name} lists {withdrawn} of {registered} registered devices no more; "
                "they go if it still says so later"
            )
        self._shrunk_since = None

    def _word(self, news: Entry | DeviceKey) -> Decision:
        if isinstance(news, Entry):
            return news.decision(self._next_version())
        gone = Entry(news).decision(self._next_version())
        return Decision(
            device_id=gone.device_id, principal=gone.principal, state=gone.state, version=gone.version, removed=True
        )

    async def _look(self) -> None:
        """Once, before the first word: what numbers and how many strangers the list has already."""
        if self._looked:
            return
        highest = self._listed.cursor
        strangers: Counter[str] = Counter()
        async for record in self._records():
            highest = max(highest, record.version)
            strangers[record.key.principal] += not record.registered
        if not self._looked:  # another one may have looked meanwhile
            self._version = max(self._version, highest)
            self._strangers = strangers
            self._looked = True

    async def _records(self) -> AsyncIterator[Record]:
        """The whole list, with a turn for others between the pages."""
        after: DeviceKey | None = None
        while records := self._listed.page(after, _PAGE):
            for record in records:
                yield record
            after = records[-1].key
            await asyncio.sleep(0)

    def _next_version(self) -> int:
        self._version = max(self._version + 1, int(self._now() * 1_000))
        return self._version
