"""The application behind TLS sockets, with time limits aiohttp does not have: whoever is slow to ask is hung up on."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

HEAD_SECONDS = 10.0  # TLS handshake and first request head, each: a browser sends both at once
KEEP_SECONDS = 60.0  # a person reads the page; a later click opens a new connection in milliseconds
BODY_SECONDS = 10.0  # the log-in form is a few hundred bytes
DRAIN_SECONDS = 5.0  # pages answer in milliseconds; longer is a client that does not read
HEAD_BYTES = 8_190  # one line or one field of a request head: a browser's cookies and names stay far below
BACKLOG = 128
SOURCE_CONNECTIONS = (
    64  # a browser opens six; administrators behind one address share these, and the rest is for others
)


class Visitor(web.RequestHandler):
    """One connection, cut unless `arrived` is called within `HEAD_SECONDS`. aiohttp itself waits for ever for the first
    head; for the later ones its keep-alive time counts. `crowd` counts the connections of each source: one that has
    `SOURCE_CONNECTIONS` already is cut at once."""

    __slots__ = ("_crowd", "_deadline", "_source")

    def __init__(self, manager: web.Server, *, crowd: Counter[str], **options: Any) -> None:
        super().__init__(manager, **options)
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock starts, unless the source has its share."""
        super().connection_made(transport)
        self._source = str((transport.get_extra_info("peername") or ("",))[0])
        self._crowd[self._source] += 1
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.force_close)
        if self._crowd[self._source] > SOURCE_CONNECTIONS:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The clock stops."""
        self._crowd[self._source] -= 1
        if not self._crowd[self._source]:
            del self._crowd[self._source]
        self._deadline.cancel()
        super().connection_lost(exc)

    def arrived(self) -> None:
        """A whole request head is here."""
        self._deadline.cancel()


def note_arrival(request: web.Request) -> None:
    """Tell the connection that its request has come."""
    if isinstance(request.protocol, Visitor):
        request.protocol.arrived()


@asynccontextmanager
async def serving(
    application: web.Application, sockets: Iterable[socket.socket], context: ssl.SSLContext
) -> AsyncIterator[None]:
    """Serve `application` on bound sockets; at the end running requests have `DRAIN_SECONDS`."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=DRAIN_SECONDS)
    await runner.setup()
    manager = runner.server
    assert manager is not None  # noqa: S101 - setup() has made it

    crowd: Counter[str] = Counter()

    def visitor() -> Visitor:
        return Visitor(
            manager,
            crowd=crowd,
            loop=loop,
            access_log=None,
            keepalive_timeout=KEEP_SECONDS,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
        )

    servers = [
        await loop.create_server(visitor, sock=one, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=HEAD_SECONDS)
        for one in sockets
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()
