"""The application behind the TLS proxy's socket, with time limits aiohttp does not have: whoever is slow to ask is hung up on.

Each connection begins with a preface (`appliance.proxy_protocol`) that says where it comes from. Only the proxy can connect: the
socket lies in a folder of the portal's group, in which beside the portal only the proxy is.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from appliance.proxy_protocol import Preface, PrefaceError, decoded

HEAD_SECONDS = 10.0  # the first request head: a browser sends it with the end of the handshake
KEEP_SECONDS = 60.0  # a person reads the page; a later click opens a new connection in milliseconds
BODY_SECONDS = 10.0  # the log-in form is a few hundred bytes
DRAIN_SECONDS = 5.0  # pages answer in milliseconds; longer is a client that does not read
HEAD_BYTES = 8_190  # one line or one field of a request head: a browser's cookies and names stay far below
BACKLOG = 128
SOCKET_MODE = 0o660
SOURCE_CONNECTIONS = (
    64  # a browser opens six; administrators behind one address share these, and the rest is for others
)


class Told:
    """A connection of the TLS proxy's as aiohttp is to see it: with the address of who sits behind it, and as TLS."""

    def __init__(self, transport: asyncio.Transport, preface: Preface) -> None:
        self._transport = transport
        self._told = {"peername": (preface.source, preface.source_port), "sslcontext": True}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the preface says, else what the socket says."""
        return self._told[name] if name in self._told else self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Visitor(web.RequestHandler):
    """One connection, cut unless `arrived` is called within `HEAD_SECONDS`. aiohttp itself waits for ever for the first
    head; for the later ones its keep-alive time counts. `crowd` counts the connections of each source: one that has
    `SOURCE_CONNECTIONS` already is cut at once."""

    __slots__ = ("_before", "_crowd", "_deadline", "_raw", "preface")

    def __init__(self, manager: web.Server, *, crowd: Counter[str], **options: Any) -> None:
        super().__init__(manager, **options)
        self._crowd = crowd
        self._before = b""
        self.preface: Preface | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock starts. For aiohttp the connection begins with what follows the preface."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream's
        self._raw = transport
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.cut)

    def data_received(self, data: bytes) -> None:
        """The preface, then what a browser sends."""
        if self.preface is not None:
            super().data_received(data)
            return
        self._before += data
        try:
            found = decoded(self._before)
        except PrefaceError:
            self.cut()
            return
        if found is not None:
            self.preface, length = found
            self._begin(self.preface, self._before[length:])

    def _begin(self, preface: Preface, rest: bytes) -> None:
        self._before = b""
        self._crowd[preface.source] += 1
        super().connection_made(Told(self._raw, preface))  # type: ignore[arg-type]  # all of a transport by delegation
        if self._crowd[preface.source] > SOURCE_CONNECTIONS:
            self.force_close()
        elif rest:
            super().data_received(rest)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The clock stops."""
        self._deadline.cancel()
        if self.preface is None:
            return
        self._crowd[self.preface.source] -= 1
        if not self._crowd[self.preface.source]:
            del self._crowd[self.preface.source]
        super().connection_lost(exc)

    def arrived(self) -> None:
        """A whole request head is here."""
        self._deadline.cancel()

    def cut(self) -> None:
        """End a connection on which nothing sensible came."""
        if self.preface is not None:
            self.force_close()
        else:
            self._raw.abort()


def note_arrival(request: web.Request) -> None:
    """Tell the connection that its request has come."""
    if isinstance(request.protocol, Visitor):
        request.protocol.arrived()


def preface_of(request: web.Request) -> Preface | None:
    """What the TLS proxy said of the connection that a request came over."""
    return request.protocol.preface if isinstance(request.protocol, Visitor) else None


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """The Unix socket that the TLS proxy dials."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)  # nobody may connect before the mode is right
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(SOCKET_MODE)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@asynccontextmanager
async def serving(application: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve `application` on a bound Unix socket; at the end running requests have `DRAIN_SECONDS`."""
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

    server = await loop.create_unix_server(visitor, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()
