"""What the site says ends on the minute: a worker in the test's own process, by a clock that the test sets.

Everything else is real: sockets, TLS, the device list, the agent's socket, the backend.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from sentry_runtime import settings
from sentry_runtime.devices.record import Reason, State
from sentry_runtime.gateway import listener
from sentry_runtime.gateway.policies import SitePolicy
from sentry_runtime.gateway.site import Site, seconds
from sentry_runtime.gateway.worker import Post, _Worker
from tests.clock import Clock
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, Stand, post
from tests.gateway.test_decision import held, rule

NOON = seconds("2026-01-02T12:00Z", "")
BLOCKED = b"\x03129\x00\x01\x01"

Begin = Callable[..., Awaitable["Here"]]


@dataclass
class Here:
    """The stand, the clock, and the worker that goes by it."""

    stand: Stand
    clock: Clock
    worker: _Worker

    def held(self) -> int:
        """How many requests wait at the backend after the worker has looked at the clock."""
        self.worker._look_at_the_site()
        return len(list(self.worker._services.account.running()))


@pytest.fixture
async def begin(make_stand: MakeStand) -> AsyncIterator[Begin]:
    """A stand whose only worker is here, half a minute before twelve."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**changes: object) -> Here:
            stand = await make_stand(started=False, **changes)
            clock = Clock(NOON - 30)
            return Here(stand, clock, await stack.enter_async_context(_working(stand, clock)))

        yield make


@contextlib.asynccontextmanager
async def _working(stand: Stand, clock: Clock) -> AsyncIterator[_Worker]:
    gateway = stand.settings.gateway
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = Post(
        settings=stand.settings,
        sockets=listener.open_sockets(gateway),
        entrances=listener.entrances(gateway),
        backends=listener.backend_trusts(gateway),
        policy=SitePolicy(),
        examiner=None,
        channel=theirs,
    )
    worker = _Worker(given)
    worker._services.judge.site = Site.of(gateway, clock)
    working = asyncio.create_task(worker.work())
    async with asyncio.timeout(10):
        await stand.agent.following.wait()
    try:
        yield worker
    finally:
        worker._drain()
        await working
        for one in (ours, theirs, *given.sockets):
            one.close()


async def test_a_ping_that_a_rule_has_let_through_ends_on_the_minute(begin: Begin) -> None:
    """Feature row 22: not a moment before, and nothing but the clock ends it."""
    here = await begin(rules=(rule("pilot", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),))
    device = await held(here.stand, State.BLOCKED, Reason.UNREGISTERED)
    here.clock.now = NOON - 0.001
    assert here.held() == 1
    here.clock.now = NOON  # the worker looks by itself, once in a second
    assert (await device.response()).body.endswith(BLOCKED)
    (outcome,) = await here.stand.audit.outcomes(1)
    assert (outcome["reasons"], outcome["decided_by"]) == (["revoked", "unregistered"], "blocked")


async def test_a_ping_that_observing_has_let_through_ends_on_the_minute(begin: Begin) -> None:
    """Feature row 21: observing is off by itself."""
    here = await begin(observe=settings.Observe(until="2026-01-02T12:00Z"))
    device = await held(here.stand, State.BLOCKED, Reason.POLICY)
    assert here.held() == 1
    here.clock.now = NOON
    assert (await device.response()).body.endswith(BLOCKED)


async def test_the_end_of_one_rule_ends_nothing_that_another_lets_through(begin: Begin) -> None:
    """The next rule's word counts for who holds a Ping; and so does the end of that one."""
    here = await begin(
        rules=(
            rule("first", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),
            rule("second", "allow", user=PHONE.principal, expires="2026-01-02T12:01Z"),
            rule("other", "deny", device="PHONE2", expires="2026-01-02T12:00Z"),
        )
    )
    device = await held(here.stand, State.BLOCKED, Reason.UNREGISTERED)
    here.clock.now = NOON
    assert here.held() == 1
    here.clock.now = NOON + 60
    assert here.held() == 0
    assert (await device.response()).body.endswith(BLOCKED)


async def test_the_next_request_after_the_minute_is_refused(begin: Begin) -> None:
    """Each request is judged by the clock itself, whether the worker has looked at it or not."""
    here = await begin(rules=(rule("pilot", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),))
    await here.stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED)
    device = await here.stand.device()
    assert (await device.ask(post("Sync", version="12.1"))).status == 200
    here.clock.now = NOON
    assert (await device.ask(post("Sync", version="12.1"))).status == 403
