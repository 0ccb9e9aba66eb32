"""The agent's device list: news in, durable entries out, followers told.

All writing happens in one thread of its own, because a commit waits for the disk (a few milliseconds) and the event loop must
not. What arrives while a commit runs goes into the next one together, so a thousand first contacts cost a
handful of commits.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sentry_runtime.agent import shelf
from sentry_runtime.agent.bundler import Bundler
from sentry_runtime.agent.changes import Effect, Known, News, effect, key_of
from sentry_runtime.devices.enforcement import Enforcement, applies
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.store import Saying, Writer
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem import digests
from sentry_runtime.uem.trail import Audit

# The largest fleet. One is at most 2.4 KiB on the disk (nine fields of 64 characters in the widest script): 240 of the list's
# 1,024 MiB, beside the 600 of the entries.
SAYINGS = 100_000
CACHE = (
    300_000  # entries; the largest fleet is a third of this, and see `agent.questions` for what the disk has room for
)
AUDITED_SINGLY = 200  # of one message; a first load of 100,000 devices is one line per page with their number

log = logging.getLogger(__name__)

Announce = Callable[[tuple[DeviceKey, ...]], None]


@dataclass(frozen=True, slots=True)
class _Batch:
    news: tuple[News, ...]
    cursor: int | None
    rewind: bool


_Effects = dict[DeviceKey, tuple[bool, Effect]]  # whether there was an entry before, and what has become of it
_Held = Mapping[DeviceKey, tuple[Record | None, int]]  # what the list says, and by which version it was removed
_Enforced = tuple[DeviceKey, Enforcement | None, int | None]


class DeviceList:
    """Reads at once, writes in order. `announce` is called in the event loop, after the change is on the disk. `cache` is how
    many different lists of app tunnels there is room for: an entry without its tunnels keeps all else."""

    def __init__(
        self, store: Writer, announce: Announce, clock: Callable[[], float] = time.time, *, cache: int = CACHE
    ) -> None:
        self._store = store
        self._announce = announce
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device-list")
        self._news = Bundler(self._thread, self._write, self._settle)
        self._enforcements = Bundler(self._thread, self._keep, self._settle_kept)
        self._provisional: set[DeviceKey] = set()
        self._unreported: set[DeviceKey] = set()
        self._count = 0
        # Only for the writing thread, once it runs: how many entries name each policy and each list of tunnels; the digests.
        self._policy_shelf, self._tunnel_shelf = shelf.policies(), shelf.tunnels(cache)
        self._policies: Counter[bytes] = Counter()
        self._tunnels: Counter[bytes] = Counter()
        self._sums = digests.Sums()
        for record in self._all():
            self._count += 1
            if record.provisional:
                self._provisional.add(record.key)
            if record.unreported:
                self._unreported.add(record.key)
            if record.policy:
                self._policies[record.policy] += 1
            if record.tunnels:
                self._tunnels[record.tunnels] += 1
            self._sum(None, record)
        self._said = sum(1 for _ in store.sayings())  # as the policies

    @property
    def cursor(self) -> int:
        """The UEM's change number up to which everything is in the list."""
        return self._store.cursor

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self._count

    @property
    def provisional(self) -> frozenset[DeviceKey]:
        """The entries that the fail mode admitted."""
        return frozenset(self._provisional)

    @property
    def provisional_count(self) -> int:
        """How many entries the fail mode admitted."""
        return len(self._provisional)

    @property
    def unreported(self) -> frozenset[DeviceKey]:
        """The entries with marks of a wipe that the UEM does not know of."""
        return frozenset(self._unreported)

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key."""
        return self._store.get(key)

    def page(self, after: DeviceKey | None, limit: int) -> list[Record]:
        """Entries in key order, see `Writer.iterate`."""
        return self._store.iterate(after, limit)

    def of_device(self, device_id: str) -> list[Record]:
        """All entries of one device id."""
        return self._store.of_device(device_id)

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest; None where no entry names it."""
        return self._store.policy(wanted)

    def tunnels(self, wanted: bytes) -> tuple[AppTunnel, ...] | None:
        """The app tunnels with this digest; None where no entry names them, or there was no room for them."""
        return self._store.tunnels(wanted)

    def digests(self) -> tuple[str, ...]:
        """The buckets' digests of what the UEM has said."""
        return self._sums.words()

    async def in_buckets(self, numbers: Collection[int]) -> dict[int, list[DeviceKey]]:
        """Which entries these buckets have; looks at all entries once."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_buckets, frozenset(numbers))

    def said(self, key: DeviceKey) -> Saying | None:
        """What the device of this entry says of itself."""
        return self._store.said(key)

    def sayings(self) -> Iterable[tuple[DeviceKey, Saying]]:
        """All that devices say."""
        return self._store.sayings()

    async def note(self, key: DeviceKey, information: DeviceInformation) -> bool:
        """Keep what the device of an entry says; False: it has no entry, or `SAYINGS` are kept. Raises `StoreError`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write_saying, key, information)

    async def note_told(self, key: DeviceKey, saying: Saying) -> None:
        """The UEM has been told this, if that is still what the device says. Raises `StoreError`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write_told, key, saying)

    async def take(
        self, news: Iterable[News], *, cursor: int | None = None, rewind: bool = False
    ) -> tuple[DeviceKey, ...]:
        """Write what the news changes, with the new cursor in the same transaction; returns the keys that visibly changed.

        The cursor only moves forward, unless `rewind`. Raises `StoreError` when the disk refuses; then nothing of it stands.
        """
        return await self._news.put(_Batch(tuple(news), cursor, rewind))

    async def keep(self, key: DeviceKey, enforcement: Enforcement | None, after: int | None = None) -> bool:
        """Keep with an entry what a backend enforces, and announce it; False where there is no such entry, or where the news
        is none any more (see `applies`). Raises `StoreError`, `ValueError` for a key the list cannot have."""
        return await self._enforcements.put((key, enforcement, after))

    async def close(self) -> None:
        """Finish what is being written."""
        await self._news.finish()
        await self._enforcements.finish()
        self._thread.shutdown()

    async def persist(self) -> int:
        """See `Writer.persist`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._store.persist)

    async def sweep(self) -> None:
        """Housekeeping of the store; also shows that the writing thread is alive."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.free_dead_readers)

    def _settle(self, _batch: _Batch, effects: _Effects) -> tuple[DeviceKey, ...]:
        """Back in the event loop: count and announce; the answer is what changed visibly."""
        for key, (was_there, change) in effects.items():
            self._count += (change.record is not None) - was_there
            if change.record is not None and change.record.provisional:
                self._provisional.add(key)
            else:
                self._provisional.discard(key)
            if change.record is not None and change.record.unreported:
                self._unreported.add(key)
            else:
                self._unreported.discard(key)
        visible = tuple(key for key, (_, change) in effects.items() if change.visible)
        if visible:
            self._announce(visible)
        return visible

    def _settle_kept(self, _news: _Enforced, kept: tuple[DeviceKey, ...]) -> bool:
        if kept:
            self._announce(kept)
        return bool(kept)

    def _write(self, batches: list[_Batch]) -> list[_Effects]:
        """In the writing thread: judge the batches in their order, commit the sum."""
        now = int(self._clock())
        cursor = self._store.cursor
        held = self._store.look({key_of(item) for batch in batches for item in batch.news})
        overlay: dict[DeviceKey, Effect] = {}
        outcomes = []
        for batch in batches:
            outcomes.append(self._judge(batch.news, held, overlay, cursor, now))
            if batch.cursor is not None and (batch.rewind or batch.cursor > cursor):
                cursor = batch.cursor
        before = {key: held[key][0] for key in overlay}
        shift = self._policy_shelf.shift(self._policies, before, overlay)
        listed = self._tunnel_shelf.shift(self._tunnels, before, overlay)
        removed = [key for key, change in overlay.items() if change.record is None]
        silenced = sum(self._store.said(key) is not None for key in removed)
        self._store.write(
            put=[change.record for change in overlay.values() if change.record is not None],
            remove=removed,
            removed_at=[
                (key, c.removed_at) for key, c in overlay.items() if c.record is None and c.removed_at > cursor
            ],
            cursor=cursor,
            policies=shift.needed,
            forget=shift.unneeded,
            tunnels=listed.needed,
            unlisted=listed.unneeded,
        )
        if shift.left_out:
            log.warning("%d policies are left out: the list has room for %d", shift.left_out, self._policy_shelf.most)
        if listed.left_out:
            log.warning("%d devices' app tunnels are left out: the cache has its size", listed.left_out)
        shift.apply(self._policies)
        listed.apply(self._tunnels)
        for key, change in overlay.items():
            self._sum(before[key], change.record)
        self._said -= silenced
        return outcomes

    def _keep(self, news: list[_Enforced]) -> list[tuple[DeviceKey, ...]]:
        """In the writing thread, so that nothing comes between the look and the word: for each its key, if it is kept."""
        overlay: dict[DeviceKey, Enforcement | None] = {}
        outcomes: list[tuple[DeviceKey, ...]] = []
        for key, enforcement, after in news:
            held = overlay[key] if key in overlay else self._store.enforcement(key)
            kept = self._store.get(key) is not None and applies(held, after)
            outcomes.append((key,) if kept else ())
            if kept:
                overlay[key] = enforcement
        if overlay:
            self._store.write(enforced=overlay)
        return outcomes

    def _write_saying(self, key: DeviceKey, information: DeviceInformation) -> bool:
        """In the writing thread, so that no entry goes between the look and the word."""
        new = self._store.said(key) is None
        if self._store.get(key) is None or (new and self._said >= SAYINGS):
            return False
        self._store.write(says={key: Saying(information)})
        self._said += new
        return True

    def _write_told(self, key: DeviceKey, saying: Saying) -> None:
        if self._store.said(key) == saying:
            self._store.write(says={key: Saying(saying.information, told=True)})

    def _judge(
        self, news: tuple[News, ...], held: _Held, overlay: dict[DeviceKey, Effect], cursor: int, now: int
    ) -> _Effects:
        effects: _Effects = {}
        for item in news:
            key = key_of(item)
            known = _known(key, held, overlay, cursor)
            change = effect(known, item, now)
            if change is None:
                continue
            was_there, seen = known.record is not None, change.visible
            if key in effects:  # the same key twice in one batch: the follower sees the sum
                was_there, seen = effects[key][0], seen or effects[key][1].visible
            effects[key] = (was_there, Effect(change.record, change.removed_at, visible=seen))
            overlay[key] = change
        return effects

    def _sum(self, before: Record | None, after: Record | None) -> None:
        """The fail mode's guesses are no word of the UEM's, and do not count."""
        if before is not None and not before.provisional:
            self._sums.drop(digests.bucket_of(before.key.device_id, before.key.principal), digests.of_record(before))
        if after is not None and not after.provisional:
            self._sums.put(digests.bucket_of(after.key.device_id, after.key.principal), digests.of_record(after))

    def _in_buckets(self, numbers: frozenset[int]) -> dict[int, list[DeviceKey]]:
        found: dict[int, list[DeviceKey]] = {number: [] for number in numbers}
        for record in self._all():
            bucket = digests.bucket_of(record.key.device_id, record.key.principal)
            if bucket in numbers:
                found[bucket].append(record.key)
        return found

    def _all(self) -> Iterable[Record]:
        after = None
        while page := self._store.iterate(after, 1_000):
            yield from page
            after = page[-1].key


def _known(key: DeviceKey, held: _Held, overlay: dict[DeviceKey, Effect], cursor: int) -> Known:
    if key in overlay:
        yet = overlay[key]
        return Known(yet.record, yet.removed_at, cursor, yet.policy, yet.tunnels)
    return Known(*held[key], cursor)


def account(audit: Audit, devices: DeviceList, changed: tuple[DeviceKey, ...]) -> None:
    """Audit lines for entries that the UEM changed: one each, or one for all where there are very many."""
    if len(changed) > AUDITED_SINGLY:
        audit("devices_changed", count=len(changed))
        return
    for key in changed:
        record = devices.get(key)
        if record is None:
            audit("device_changed", key=key, action="removed")
        else:
            why = f"policy {record.policy.hex()[:12]}" if record.policy else ""
            version = record.version
            audit("device_changed", key=key, action=record.state, reasons=record.reasons, version=version, detail=why)
