"""Check-ins with a Cloud: compliance, administrators' actions and the inventory, each on a schedule of its own, or all at once
when somebody says so. Stands where `Keeper` does with a UEM that also calls us.

The two feeds have a cursor each. The list keeps the smaller one: up to there both have been read, and from there both are read
again after a restart, which changes nothing that is known. While the link is not up, the check-in for compliance probes it at the
circuit's times.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

from sentry_runtime.agent.circuit import Circuit, LinkState
from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.agent.inventory import Inventories, Reports
from sentry_runtime.agent.keeper import SHORTEST_WAIT_SECONDS
from sentry_runtime.agent.questions import Questions
from sentry_runtime.agent.schedule import CheckIn, Schedule
from sentry_runtime.control import CheckedIn
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import DecisionPage
from sentry_runtime.uem.cloud import Feed
from sentry_runtime.uem.cloud_api import CloudSettings
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError
from sentry_runtime.uem.trail import Audit

FORCED_SECONDS = 8.0  # whoever forced it waits 10 s for an answer; a first one of a large fleet takes longer


class Cloud(Reports, Protocol):
    """The part of the link that this needs."""

    async def settings(self) -> CloudSettings:
        """See `CloudLink.settings`."""
        ...

    async def check_in(self, feed: Feed, after: int) -> DecisionPage:
        """See `CloudLink.check_in`."""
        ...


class CheckIns:
    """`run` never ends by itself; every problem of the link is audited, counted and tried again. `linked` is called in each
    round in which the Cloud has answered."""

    def __init__(
        self,
        devices: DeviceList,
        link: Cloud,
        circuit: Circuit,
        questions: Questions,
        *,
        seconds: Mapping[CheckIn, float],
        linked: Callable[[], None] = lambda: None,
        audit: Audit,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
        forced_seconds: float = FORCED_SECONDS,
    ) -> None:
        self._devices = devices
        self._link = link
        self._circuit = circuit
        self._questions = questions
        self._linked = linked
        self._audit = audit
        self._clock = clock
        self._forced_seconds = forced_seconds
        self.schedule = Schedule(seconds, clock, draw)
        self._cursors: dict[Feed, int] = {"compliance": devices.cursor, "actions": devices.cursor}
        self._inventories = Inventories(devices, link)
        self._forced: asyncio.Future[CheckedIn] | None = None
        self.problem = ""
        """Why the last round did not succeed; empty when it did."""
        self.rounds = 0
        """How many rounds there were."""
        self.counts = dict.fromkeys(CheckIn, 0)
        """How many check-ins of each kind succeeded."""

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of them."""
        shown: dict[str, str | int] = {"inventory_told": self._inventories.told}
        for one in CheckIn:
            shown[f"check_ins_{one}"] = self.counts[one]
            shown[f"check_in_{one}_seconds"] = round(self.schedule.wait_of(one))
        return shown

    def heard(self) -> None:
        """A Cloud does not call us."""

    async def force(self) -> CheckedIn:
        """Check in for everything now, whatever the schedules say. Raises `Refused` of kind `unavailable`, or `busy` when that
        takes longer than who asked waits."""
        if self._forced is None:
            self._forced = asyncio.get_running_loop().create_future()
            self._forced.add_done_callback(lambda done: done.cancelled() or done.exception())  # who asked may have gone
            self._questions.link_lost.set()
        try:
            async with asyncio.timeout(self._forced_seconds):
                return await asyncio.shield(self._forced)
        except TimeoutError:
            raise Refused("busy", "the check-in goes on; the agent's counters say when it is through") from None

    async def run(self) -> None:
        """Check in at start and whenever one is due, is forced, or a question has found the link down; until cancelled."""
        while True:
            self._questions.link_lost.clear()  # before the round: what gets lost during it is reason for another
            forced, self._forced = self._forced, None
            try:
                done = await self.round(tuple(CheckIn) if forced is not None else self._due())
            except asyncio.CancelledError:
                if forced is not None:
                    forced.cancel()
                raise
            if forced is not None:
                _answer(forced, done, self.problem)
            try:
                async with asyncio.timeout(self._wait()):
                    await self._questions.link_lost.wait()
            except TimeoutError:
                continue

    async def round(self, wanted: tuple[CheckIn, ...]) -> dict[CheckIn, int]:
        """These check-ins with what follows from them; how much news each brought. One that fails stops no other, unless
        nobody is there."""
        self.rounds += 1
        done: dict[CheckIn, int] = {}
        problems: list[str] = []
        for one in wanted:
            try:
                done[one] = await self._attempt(one)
            except LinkDownError as error:
                if self._circuit.failed():
                    self._audit("uem_down", detail=str(error))
                problems = [str(error)]
                break
            except (LinkError, StoreError) as error:
                self._circuit.doubted()
                problems.append(f"{one}: {error}")
            else:
                self.counts[one] += 1
            self.schedule.done(one)
        problem = "; ".join(problems)
        if problem and problem != self.problem and not self._circuit.is_down:
            self._audit("uem_resync_failed", detail=problem)  # once: an unchanged problem is not news at every interval
        self.problem = problem
        return done

    async def _attempt(self, one: CheckIn) -> int:
        if one is CheckIn.INVENTORY:
            found = await self._inventories.report()
            self._up()
            return found
        if one is CheckIn.COMPLIANCE:
            await self._questions.expire()
            await self._link.settings()
        found = await self._load("compliance" if one is CheckIn.COMPLIANCE else "actions")
        self._up()
        if one is CheckIn.COMPLIANCE:
            await self._questions.correct()
        return found

    def _up(self) -> None:
        if self._circuit.succeeded():
            self._audit("uem_up")
        self._linked()

    def _due(self) -> tuple[CheckIn, ...]:
        due = self.schedule.due()
        if self._circuit.state is LinkState.UP or CheckIn.COMPLIANCE in due:
            return due
        return (CheckIn.COMPLIANCE, *due)

    def _wait(self) -> float:
        if self._circuit.state is not LinkState.UP:
            return max(SHORTEST_WAIT_SECONDS, self._circuit.retry_at - self._clock())
        return max(SHORTEST_WAIT_SECONDS, self.schedule.wait)

    async def _load(self, feed: Feed) -> int:
        """All pages behind the feed's cursor; each is on the disk before the next one is asked for. How many entries changed."""
        count, begun_anew = 0, False
        while True:
            after = self._cursors[feed]
            page = await self._link.check_in(feed, after)
            if page.next < after and begun_anew:
                raise LinkRefusedError(f"the UEM goes back again and again: to {page.next}, from {after}")
            if page.next < after:
                begun_anew = True
                # The Cloud was put back to an older state. What it knows is read anew; what we know stands meanwhile.
                self._audit("uem_behind", version=page.next, detail=f"it is at change {page.next}, not {after}")
                self._cursors = dict.fromkeys(self._cursors, 0)
                await self._devices.take([], cursor=0, rewind=True)
                continue
            self._cursors[feed] = page.next
            changed = await self._devices.take(page.decisions, cursor=min(self._cursors.values()))
            account(self._audit, self._devices, changed)
            count += len(changed)
            if not page.more:
                return count
            if page.next == after:
                raise LinkRefusedError(f"the UEM says there is more, but does not go on behind {after}")


def _answer(forced: asyncio.Future[CheckedIn], done: Mapping[CheckIn, int], problem: str) -> None:
    if problem:
        forced.set_exception(Refused("unavailable", problem))
    else:
        forced.set_result(CheckedIn(**{str(one): count for one, count in done.items()}))
