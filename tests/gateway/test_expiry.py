"""What the site says ends on the minute: a worker in the test's own process, by a clock that the test sets.

Everything else is real: sockets, TLS, the device list, the agent's socket, the backend.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sentry_runtime import settings
from sentry_runtime.devices.record import Reason, State
from sentry_runtime.gateway import listener
from sentry_runtime.gateway.site import Site, seconds
from sentry_runtime.gateway.worker import Post, _Worker
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, Stand, post
from tests.gateway.test_decision import held, rule
from tests.unit.gateway.test_site import Clock

NOON = seconds("2026-01-02T12:00Z", "")
BLOCKED = b"\x03129\x00\x01\x01"

Begin = Callable[..., Awaitable[tuple[Stand, Clock]]]


@pytest.fixture
async def begin(make_stand: MakeStand) -> AsyncIterator[Begin]:
    """A stand whose only worker is here, half a minute before twelve."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**changes: object) -> tuple[Stand, Clock]:
            stand = await make_stand(started=False, **changes)
            clock = Clock(NOON - 30)
            await stack.enter_async_context(_working(stand, clock))
            return stand, clock

        yield make


@contextlib.asynccontextmanager
async def _working(stand: Stand, clock: Clock) -> AsyncIterator[None]:
    gateway = stand.settings.gateway
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = Post(
        settings=stand.settings,
        sockets=listener.open_sockets(gateway),
        front=listener.front_context(gateway),
        backends=listener.backend_contexts(gateway),
        provisioning=None,
        channel=theirs,
    )
    worker = _Worker(given)
    worker._services.judge.site = Site.of(gateway, clock)
    working = asyncio.create_task(worker.work())
    async with asyncio.timeout(10):
        await stand.agent.following.wait()
    try:
        yield
    finally:
        worker._drain()
        await working
        for one in (ours, theirs, *given.sockets):
            one.close()


async def test_a_ping_that_a_rule_has_let_through_ends_on_the_minute(begin: Begin) -> None:
    """Feature row 22: not a second before, and nothing but the clock ends it."""
    stand, clock = await begin(rules=(rule("pilot", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),))
    device = await held(stand, State.BLOCKED, Reason.UNREGISTERED)
    answer = asyncio.create_task(device.response())
    clock.now = NOON - 0.001
    await asyncio.sleep(2.1)  # two ticks of the worker's clock
    assert not answer.done()
    clock.now = NOON
    assert (await answer).body.endswith(BLOCKED)
    (outcome,) = await stand.audit.outcomes(1)
    assert (outcome["reasons"], outcome["decided_by"]) == (["revoked", "unregistered"], "blocked")


async def test_a_ping_that_observing_has_let_through_ends_on_the_minute(begin: Begin) -> None:
    """Feature row 21: observing is off by itself."""
    stand, clock = await begin(observe=settings.Observe(until="2026-01-02T12:00Z"))
    device = await held(stand, State.BLOCKED, Reason.POLICY)
    clock.now = NOON
    assert (await device.response()).body.endswith(BLOCKED)


async def test_the_end_of_a_denial_ends_nothing(begin: Begin) -> None:
    """A device that may pass goes on; and the next rule's word counts for who holds a Ping."""
    stand, clock = await begin(
        rules=(
            rule("first", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),
            rule("second", "allow", user=PHONE.principal, expires="2026-01-02T12:01Z"),
            rule("other", "deny", device="PHONE2", expires="2026-01-02T12:00Z"),
        )
    )
    device = await held(stand, State.BLOCKED, Reason.UNREGISTERED)
    answer = asyncio.create_task(device.response())
    clock.now = NOON
    await asyncio.sleep(2.1)
    assert not answer.done()
    clock.now = NOON + 60
    assert (await answer).body.endswith(BLOCKED)


async def test_the_next_request_after_the_minute_is_refused_without_a_tick(begin: Begin) -> None:
    """Each request is judged by the clock itself."""
    stand, clock = await begin(rules=(rule("pilot", "allow", device="PHONE1", expires="2026-01-02T12:00Z"),))
    await stand.agent.put(PHONE, State.BLOCKED, Reason.UNREGISTERED)
    device = await stand.device()
    assert (await device.ask(post("Sync", version="12.1"))).status == 200
    clock.now = NOON
    assert (await device.ask(post("Sync", version="12.1"))).status == 403
