"""What the two HTTPS servers of the UEM protocol have in common: every error is a `Problem` in JSON."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from sentry_runtime.uem.api import Problem
from sentry_runtime.uem.door import Bounds, Door, Refuse
from sentry_runtime.uem.messages import Message, decode

SHUTDOWN_SECONDS = 2.0  # what runs has that long to end: a commit takes milliseconds
BODY_SECONDS = 10.0  # the longest message is 2 MiB, at 2 Mbit/s; who asks repeats what did not get through

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(message: msgspec.Struct) -> web.Response:
    """200 with this message."""
    return web.Response(body=msgspec.json.encode(message), content_type="application/json")


def problem(status: int, title: str, detail: str = "") -> web.Response:
    """An error with this status."""
    body = msgspec.json.encode(Problem(title=title, detail=detail))
    return web.Response(status=status, body=body, content_type="application/problem+json")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn aiohttp's own errors (no such path, no such method, too large) and late bodies into `Problem`s."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        refusal = problem(error.status, error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            refusal.headers["Allow"] = error.headers["Allow"]
        return refusal
    except TimeoutError:
        return problem(408, "too slow", "the body did not arrive in time")


async def message(request: web.Request, kind: type[Message]) -> Message:
    """The request's body as a message of this kind. Raises `MessageError`, and `TimeoutError` when it does not come in time."""
    async with asyncio.timeout(BODY_SECONDS):
        body = await request.read()
    return decode(body, kind)


class Server:
    """A port of HTTPS with mutual TLS: who has no certificate of the authority gets no further than the handshake.

    A body has at most `body_bytes`; what is not among the `routes` is 404 or 405. `gates` see every request before that.
    """

    def __init__(
        self, body_bytes: int, routes: Iterable[web.AbstractRouteDef], gates: Sequence[Middleware] = ()
    ) -> None:
        app = web.Application(client_max_size=body_bytes, middlewares=[problems, *gates])
        app.router.add_routes(routes)
        self._door: Door | None = None
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
        )

    async def start(self, address: str, port: int, tls: ssl.SSLContext) -> None:
        """Bind and listen. Raises `OSError` when the address cannot be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=tls).start()

    async def start_behind(
        self,
        threshold: Callable[[Callable[[], asyncio.Protocol]], asyncio.Protocol],
        address: str,
        port: int,
        tls: ssl.SSLContext,
        bounds: Bounds,
        refuse: Refuse,
    ) -> None:
        """Like `start`, but each connection is first given to what `threshold` makes, with what makes its protocol; handshakes
        have `bounds`, and who is turned away is said. Raises `OSError`."""
        made = await self.protocols()
        self._door = Door(lambda _address: threshold(made), tls, bounds, refuse)
        self._door.open(address, port)

    async def start_local(self, listener: socket.socket) -> None:
        """Listen on this Unix socket, which is bound: who gets through is the gates' business."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def protocols(self) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a connection, for a server that takes its connections itself."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise AssertionError("a runner that is set up has its server")
        return server

    async def stop(self) -> None:
        """Finish what runs and close."""
        if self._door is not None:
            await self._door.close()
        await self._runner.cleanup()
