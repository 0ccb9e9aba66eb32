"""Keeps the device list in step with the UEM: loads the news page by page at start and again at every interval, and then holds
the list against what the UEM knows, by digests.

While the link is not up it dials at the circuit's times (while it is down, nobody else does), and who has the fail mode's guesses
corrected when the link is back.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from sentry_runtime.agent.circuit import Circuit, LinkState
from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.agent.questions import Questions
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import DecisionPage
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError
from sentry_runtime.uem.trail import Audit

SPREAD = 0.1  # a fleet that started together does not resync together: each interval is up to a tenth shorter or longer
SOON_SECONDS = 5.0  # until a UEM that has just started has made its digests: seconds, for the largest fleet
SHORTEST_WAIT_SECONDS = 0.05  # between two probes, whatever the clocks say


class Feeds(Protocol):
    """The part of the link that the keeper needs."""

    async def decisions(self, after: int) -> DecisionPage:
        """See `UemLink.decisions`."""
        ...


class Reconciles(Protocol):
    """What repairs the list where the feed cannot."""

    @property
    def waits(self) -> bool:
        """Whether the UEM wants to be asked again soon."""
        ...

    async def compare(self) -> None:
        """See `Reconciler.compare`."""
        ...


class Keeper:
    """`run` never ends by itself; every problem of the link is audited, counted and tried again. `linked` is called in each
    round in which the UEM has answered."""

    def __init__(
        self,
        devices: DeviceList,
        link: Feeds,
        circuit: Circuit,
        questions: Questions,
        *,
        reconciler: Reconciles,
        linked: Callable[[], None] = lambda: None,
        resync_seconds: float,
        audit: Audit,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._devices = devices
        self._link = link
        self._circuit = circuit
        self._questions = questions
        self._reconciler = reconciler
        self._linked = linked
        self._resync_seconds = resync_seconds
        self._audit = audit
        self._clock = clock
        self._draw = draw
        self.problem = ""
        """Why the last round did not succeed; empty when it did."""
        self.rounds = 0
        """How many rounds there were."""

    async def run(self) -> None:
        """Round after round, until cancelled."""
        while True:
            self._questions.link_lost.clear()  # before the round: what gets lost during it is reason for another
            await self.round()
            try:
                async with asyncio.timeout(self._wait()):
                    await self._questions.link_lost.wait()
            except TimeoutError:
                continue

    def heard(self) -> None:
        """The UEM has called us: if its link does not count as up, do not wait for the next probe."""
        if self._circuit.state is not LinkState.UP:
            self._questions.link_lost.set()

    async def round(self) -> None:
        """One resync with what follows from it."""
        self.rounds += 1
        problem = await self._attempt()
        if problem and problem != self.problem and not self._circuit.is_down:
            self._audit("uem_resync_failed", detail=problem)  # once: an unchanged problem is not news at every interval
        self.problem = problem

    async def _attempt(self) -> str:
        """Empty, or why the round did not succeed."""
        try:
            await self._questions.expire()
            await self._load()
            if self._circuit.succeeded():
                self._audit("uem_up")
            self._linked()
            await self._questions.correct()
            await self._reconciler.compare()
        except LinkDownError as error:
            if self._circuit.failed():
                self._audit("uem_down", detail=str(error))
            return str(error)
        except (LinkError, StoreError) as error:
            self._circuit.doubted()
            return str(error)
        return ""

    def _wait(self) -> float:
        if self._circuit.state is not LinkState.UP:
            return max(SHORTEST_WAIT_SECONDS, self._circuit.retry_at - self._clock())
        seconds = min(SOON_SECONDS, self._resync_seconds) if self._reconciler.waits else self._resync_seconds
        return seconds * (1 - SPREAD + 2 * SPREAD * self._draw())

    async def _load(self) -> None:
        """All pages behind the cursor; each is on the disk, with its cursor, before the next one is. While one is being written
        the next is fetched."""
        ahead: asyncio.Task[DecisionPage] | None = None
        begun_anew = False
        try:
            while True:
                after = self._devices.cursor
                page = await (ahead or self._link.decisions(after))
                ahead = None
                if page.more and page.next > after:
                    ahead = asyncio.create_task(self._fetch(page.next))
                if page.next < after and begun_anew:
                    raise LinkRefusedError(f"the UEM goes back again and again: to {page.next}, from {after}")
                begun_anew = begun_anew or page.next < after
                if await self._taken(page, after):
                    return
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _fetch(self, after: int) -> DecisionPage:
        return await self._link.decisions(after)

    async def _taken(self, page: DecisionPage, after: int) -> bool:
        """Write the page that follows on `after`; whether it was the last."""
        if page.next < after:
            # The UEM was put back to an older state. What it knows is read anew; what we know stands until it says otherwise.
            self._audit("uem_behind", version=page.next, detail=f"it is at change {page.next}, this Sentry has {after}")
            await self._devices.take([], cursor=0, rewind=True)
            return False
        changed = await self._devices.take(page.decisions, cursor=page.next)
        account(self._audit, self._devices, changed)
        if page.more and page.next == after:
            raise LinkRefusedError(f"the UEM says there is more, but does not go on behind {after}")
        return not page.more
