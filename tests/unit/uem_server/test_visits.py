"""The bounds of the port of enrolment, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sentry_runtime.uem_server.visits import Visit, Visits


class Echo(asyncio.Protocol):
    """Says what it hears; `gone` is set when a connection has ended."""

    def __init__(self, gone: asyncio.Event) -> None:
        self.gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """It answers."""
        self.transport.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """It is over."""
        self.gone.set()


@asynccontextmanager
async def served(visits: Visits, gone: asyncio.Event) -> AsyncIterator[int]:
    """An echo behind these bounds; its port."""
    server = await asyncio.get_running_loop().create_server(lambda: Visit(lambda: Echo(gone), visits), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What comes back for an x; nothing where the connection has ended."""
    try:
        writer.write(b"x")
        return await reader.read(1)
    except ConnectionError:
        return b""


async def test_beyond_the_bound_a_connection_ends_at_once_and_room_comes_back() -> None:
    """Who is there is not disturbed; when one has gone the next is served."""
    visits, gone = Visits(connections=2), asyncio.Event()
    async with served(visits, gone) as port:
        there = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert [await answer(*one) for one in there] == [b"x", b"x"]
        late = await asyncio.open_connection("127.0.0.1", port)
        assert await answer(*late) == b""
        assert await answer(*there[0]) == b"x"
        there[0][1].close()
        await there[0][1].wait_closed()
        await gone.wait()
        again = await asyncio.open_connection("127.0.0.1", port)
        assert await answer(*again) == b"x"
        for _, writer in (*there, late, again):
            writer.close()


async def test_a_visit_ends_though_its_guest_stays() -> None:
    """Who sends nothing holds nothing."""
    visits = Visits(seconds=0.01)
    async with served(visits, asyncio.Event()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            assert visits.seconds == 0.01
        writer.close()
    assert visits.open == 0
