"""What the UEM sends to a Sentry's push port, seen from that port; the UEM is the real process."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sentry_runtime import control
from sentry_runtime.devices.record import State
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.api import Decision, Push
from sentry_runtime.uem.messages import decode
from sentry_runtime.uem_server.pusher import Pusher
from tests.agent.stage import Stage

PATIENCE = 20.0


class Port:
    """Keeps the pushes that come; answers with the next of `statuses`, 204 when there is none."""

    def __init__(self) -> None:
        self.pushes: asyncio.Queue[Push] = asyncio.Queue()
        self.statuses: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        """The handler."""
        self.pushes.put_nowait(decode(await request.read(), Push))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    async def next(self) -> Push:
        """The next push."""
        async with asyncio.timeout(PATIENCE):
            return await self.pushes.get()


@pytest.fixture
async def port(stage: Stage) -> AsyncIterator[Port]:
    """Where the stage's agent would listen."""
    made = Port()
    app = web.Application()
    app.router.add_post("/v1/decisions", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(
        runner, "127.0.0.1", stage.push_port, ssl_context=server_context(stage.pki.server("uem-push"))
    ).start()
    yield made
    for process in stage.running:  # first, so that the server's connections have ended when it does
        await asyncio.to_thread(process.terminate)
    await runner.cleanup()


async def block(stage: Stage, device_id: str) -> Decision:
    """An administrator blocks a device."""
    message = control.SetState(device_id=device_id, principal="anna", state=State.BLOCKED)
    decision = await asyncio.to_thread(control.call, stage.paths.uem_admin, message, Decision)
    assert isinstance(decision, Decision)
    return decision


async def test_a_uem_that_starts_greets_the_sentry(stage: Stage, port: Port) -> None:
    """With a push that holds no decision."""
    await asyncio.to_thread(stage.uem)
    assert await port.next() == Push(decisions=())


async def test_a_push_is_repeated_until_it_is_confirmed_and_then_no_more(stage: Stage, port: Port) -> None:
    """What happened meanwhile goes along; what was confirmed does not come again."""
    await asyncio.to_thread(stage.uem)
    await port.next()
    port.statuses = [503, 302]
    first = await block(stage, "C1")
    for _ in range(3):
        assert (await port.next()).decisions[0] == first
    second = await block(stage, "C2")
    assert await port.next() == Push(decisions=(second,))


async def test_a_place_that_cannot_be_is_a_place_where_nobody_is(stage: Stage) -> None:
    """An administrator may have misspelt it; to the other Sentrys nothing happens by that."""
    said: asyncio.Queue[str] = asyncio.Queue()

    def audit(event: str, **more: object) -> None:
        said.put_nowait(f"{event}: {more['detail']}")

    pusher = Pusher("https://edge..example:9090", client_context(stage.pki.client("uem-client")), audit=audit)
    pusher.add([Decision(device_id="C1", principal="anna", state=State.ALLOWED, version=1)])
    running = asyncio.create_task(pusher.run())
    async with asyncio.timeout(PATIENCE):
        line = await said.get()
    assert line.startswith("uem_push_failed: https://edge..example:9090/v1/decisions: ")
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
