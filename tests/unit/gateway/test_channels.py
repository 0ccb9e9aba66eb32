"""Connections straight over their sockets: everything arrives, in order, and ends as the other side has ended it."""

import asyncio
import contextlib
import socket
import ssl
import struct
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from sentry_runtime.gateway import channels
from sentry_runtime.gateway.channels import PlainChannel, TlsChannel, wrapped
from sentry_runtime.gateway.intake import Channel, Intake
from tests.gateway.stand import Certificates

PATIENCE = 20.0
HELD = 20  # connections at one time
MUCH = bytes(range(256)) * 20_000  # more than kernels hold of a connection on loopback
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Ear(Intake):
    """Notes everything."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.told: list[str] = []
        self.fault: Exception | None = None
        self.ended = asyncio.Event()
        self.something = asyncio.Event()
        self.channel: Channel | None = None
        self.answer: Callable[[bytes], None] = lambda _data: None

    def connection_made(self, channel: Channel) -> None:
        self.channel = channel
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.something.set()
        self.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fault = exc
        self.told.append("lost")
        self.ended.set()

    def pause_writing(self) -> None:
        self.told.append("full")

    def resume_writing(self) -> None:
        self.told.append("room")
        self.something.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for more until this holds."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.something.clear()
                await self.something.wait()


class Pair:
    """A channel with an ear, and the socket at the other end, which blocks and is used in a thread."""

    def __init__(self, ear: Ear, channel: PlainChannel | TlsChannel, other: socket.socket) -> None:
        self.ear = ear
        self.channel = channel
        self.other = other

    async def there(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """Do it at the other end."""
        return await asyncio.to_thread(job, *arguments)

    def hang_up(self) -> None:
        """End both ends."""
        self.channel.abort()
        self.other.close()

    async def ended(self) -> Exception | None:
        """Wait for the end; the error, if it was one."""
        async with asyncio.timeout(PATIENCE):
            await self.ear.ended.wait()
        return self.ear.fault


Kind = Callable[[], Coroutine[None, None, Pair]]
Scene = Callable[[Kind], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    certificates = Certificates(tmp_path_factory.mktemp("channels"))
    certificates.authority()
    certificates.issue("one", "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificates.pair("one"))
    server.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    client = ssl.create_default_context(cafile=certificates.ca)
    return server, client


def sockets() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection: ours, which does not block, and the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname())
        own, _ = listener.accept()
    other.settimeout(PATIENCE)
    own.settimeout(0)
    return own, other


async def plain() -> Pair:
    """Without TLS."""
    own, other = sockets()
    ear = Ear()
    channel = PlainChannel(own, ear)
    channel.begin()
    return Pair(ear, channel, other)


def shaken(own: socket.socket, server: ssl.SSLContext) -> tuple[Ear, TlsChannel, asyncio.Future[OSError | None]]:
    """A channel that waits for the other side's handshake."""
    ear, agreed = Ear(), asyncio.get_running_loop().create_future()
    channel = TlsChannel(wrapped(own, server), ear, agreed.set_result)
    channel.agree(first=False)
    return ear, channel, agreed


async def secured(server: ssl.SSLContext, client: ssl.SSLContext) -> Pair:
    """With TLS; ours is the server's end."""
    own, other = sockets()
    ear, channel, agreed = shaken(own, server)
    one = await asyncio.to_thread(client.wrap_socket, other, server_hostname="localhost", suppress_ragged_eofs=False)
    async with asyncio.timeout(PATIENCE):
        assert await agreed is None
    return Pair(ear, channel, one)


@pytest.fixture(params=["plain", "tls"])
def kind(request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Kind:
    """How such a pair is made."""
    return plain if request.param == "plain" else partial(secured, *contexts)


@pytest.fixture(params=sorted(LOOPS))
def play(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[None, None, None]], None]]:
    """Play a scene in a loop of the one and of the other kind."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


Play = Callable[[Coroutine[None, None, None]], None]


def all_of(one: socket.socket) -> bytes:
    """What comes until it ends, however it does."""
    received = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := one.recv(65_536):
            received += data
    return bytes(received)


def reset(one: socket.socket) -> None:
    """End it by a reset."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def take(one: socket.socket, size: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < size:
        piece = one.recv(65_536)
        if not piece:
            break
        data += piece
    return data


def test_a_connection_that_waits_has_no_buffer_of_its_own(play: Play, kind: Kind) -> None:
    """All of a loop read into one, so that a held Ping is small."""

    async def scene() -> None:
        begun: list[Pair] = []
        tracemalloc.start()
        try:
            for _ in range(HELD):
                pair = await kind()
                await pair.there(pair.other.sendall, b"ping")
                begun.append(pair)
                await pair.ear.until(lambda: len(begun[-1].ear.heard) == 4)
            held, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held / HELD < channels.READ_BYTES / 4
        for pair in begun:
            pair.hang_up()

    play(scene())


def test_bytes_arrive_both_ways(play: Play, kind: Kind) -> None:
    """Whole, and in order."""

    async def scene() -> None:
        pair = await kind()
        await pair.there(pair.other.sendall, MUCH)
        await pair.ear.until(lambda: len(pair.ear.heard) == len(MUCH))
        assert bytes(pair.ear.heard) == MUCH
        pair.channel.write(b"short")
        assert await pair.there(take, pair.other, 5) == b"short"
        pair.hang_up()
        assert await pair.ended() is None

    play(scene())


def test_more_than_the_kernel_takes_waits_and_says_so(play: Play, kind: Kind) -> None:
    """Its writer hears when it is too much and when there is room again; what waits arrives as it was written."""

    async def scene() -> None:
        pair = await kind()
        for start in range(0, len(MUCH), 100_000):
            pair.channel.write(MUCH[start : start + 100_000])
        pair.channel.write(b"the end")
        assert pair.ear.told == ["made", "full"]
        assert await pair.there(take, pair.other, len(MUCH) + 7) == MUCH + b"the end"
        await pair.ear.until(lambda: pair.ear.told[-1] == "room")
        pair.hang_up()

    play(scene())


def test_what_is_written_before_a_close_arrives_and_then_the_end(play: Play, kind: Kind) -> None:
    """With a close_notify, where there is TLS: the other end's socket would raise without. What comes meanwhile is dropped."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.write(MUCH)
        pair.channel.close()
        pair.channel.write(b"too late")
        assert pair.channel.closing
        await pair.there(pair.other.sendall, b"still")
        assert await pair.there(take, pair.other, len(MUCH) + 1) == MUCH
        assert pair.ear.told[-1] != "lost"  # it has not said that it ends
        await pair.there(pair.other.close)
        await pair.ended()
        assert bytes(pair.ear.heard) == b""
        assert pair.ear.told.count("lost") == 1

    play(scene())


def test_nothing_is_read_while_reading_is_paused(play: Play, kind: Kind) -> None:
    """And everything afterwards."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.pause_reading()
        await pair.there(pair.other.sendall, b"one")
        for _ in range(50):
            await asyncio.sleep(0)
        assert bytes(pair.ear.heard) == b""
        pair.channel.resume_reading()
        await pair.ear.until(lambda: bytes(pair.ear.heard) == b"one")
        pair.hang_up()

    play(scene())


@pytest.mark.parametrize("size", [3, channels.RECORD_BYTES, 60_000])
def test_a_reset_that_comes_with_the_last_bytes_is_told_after_them(play: Play, kind: Kind, size: int) -> None:
    """libuv tells of such a socket only once."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.pause_reading()
        await pair.there(pair.other.sendall, MUCH[:size])
        await pair.there(reset, pair.other)
        pair.channel.resume_reading()
        assert isinstance(await pair.ended(), OSError)
        assert bytes(pair.ear.heard) == MUCH[: len(pair.ear.heard)]
        if kind is plain:
            assert len(pair.ear.heard) == size

    play(scene())


def test_a_reset_is_told_also_when_nothing_is_read_before(play: Play, kind: Kind) -> None:
    """As the error that it is."""

    async def scene() -> None:
        pair = await kind()
        await pair.there(reset, pair.other)
        assert isinstance(await pair.ended(), OSError)

    play(scene())


@pytest.mark.parametrize("paused", [False, True])
def test_a_reset_is_told_while_much_waits_to_be_written(play: Play, kind: Kind, *, paused: bool) -> None:
    """Also to who does not read."""

    async def scene() -> None:
        pair = await kind()
        if paused:
            pair.channel.pause_reading()
        pair.channel.write(MUCH)
        await pair.there(reset, pair.other)
        assert isinstance(await pair.ended(), OSError)

    play(scene())


def test_an_early_answer_is_read_though_nothing_can_be_sent_any_more(play: Play, kind: Kind) -> None:
    """A server that refuses a large message says so, and ends: by a reset, since it has not read all of it."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.write(b"x" * 1_000)
        pair.other.sendall(b"too large")
        pair.other.close()
        for _ in range(3):  # all of it before the loop tells that there is something to read
            pair.channel.write(b"x" * 1_000)
        assert isinstance(await pair.ended(), OSError)
        assert bytes(pair.ear.heard) == b"too large"

    play(scene())


def on_and_on(connection: socket.socket) -> None:
    """More than all the kernel's buffers hold."""
    for _ in range(64):
        connection.sendall(MUCH)


def test_who_goes_on_after_our_last_word_is_not_read_for_ever(play: Play, kind: Kind) -> None:
    """So much is read that the word arrives."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.close()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await pair.there(on_and_on, pair.other)
        await pair.ended()
        assert bytes(pair.ear.heard) == b""
        pair.other.close()

    play(scene())


def test_who_is_abandoned_sends_nothing_more_and_is_heard_no_more(play: Play, kind: Kind) -> None:
    """What waited to be sent is of somebody who may no longer pass, perhaps: not even the rest of it goes on."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.write(MUCH)
        pair.channel.abandon()
        pair.channel.write(b"more")
        pair.other.sendall(b"too late")
        received = await pair.there(all_of, pair.other)
        assert len(received) < len(MUCH)
        await pair.ended()
        assert bytes(pair.ear.heard) == b""
        pair.other.close()

    play(scene())


def test_an_end_in_good_order_is_none(play: Play, kind: Kind) -> None:
    """Also right behind a record of the longest kind."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.pause_reading()
        await pair.there(pair.other.sendall, MUCH[: channels.RECORD_BYTES])
        if isinstance(pair.other, ssl.SSLSocket):
            pair.other.settimeout(0)
            with pytest.raises(ssl.SSLWantReadError):
                pair.other.unwrap()  # our close_notify is said, the other's is not there yet
        else:
            await pair.there(pair.other.shutdown, socket.SHUT_WR)
        pair.channel.resume_reading()
        assert await pair.ended() is None
        assert len(pair.ear.heard) == channels.RECORD_BYTES
        pair.other.close()

    play(scene())


def test_an_end_without_a_close_notify_is_an_error(play: Play, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Anybody on the way can end a TCP connection."""

    async def scene() -> None:
        pair = await secured(*contexts)
        await pair.there(pair.other.sendall, b"abc")
        await pair.there(pair.other.shutdown, socket.SHUT_WR)
        assert isinstance(await pair.ended(), ssl.SSLError)
        assert bytes(pair.ear.heard) == b"abc"
        pair.other.close()

    play(scene())


def test_who_writes_into_a_connection_that_is_gone_hears_of_its_end_once(play: Play, kind: Kind) -> None:
    """And not in the middle of the call."""

    async def scene() -> None:
        pair = await kind()
        pair.channel.pause_reading()
        await pair.there(reset, pair.other)
        for _ in range(3):
            pair.channel.write(b"x" * 1_000)
            assert pair.ear.told == ["made"]
        await pair.ended()
        assert pair.ear.told == ["made", "lost"]

    play(scene())


def _end_by(end: Callable[[], None], _data: bytes) -> None:
    end()


def test_an_answer_may_end_the_connection_from_within(play: Play, kind: Kind) -> None:
    """Abort and close in `data_received`."""

    async def scene() -> None:
        for end in ("abort", "close"):
            pair = await kind()
            pair.ear.answer = partial(_end_by, getattr(pair.channel, end))
            await pair.there(pair.other.sendall, b"go")
            await pair.there(take, pair.other, 1)
            await pair.there(pair.other.close)
            await pair.ended()
            assert bytes(pair.ear.heard) == b"go"

    play(scene())


def hello(one: socket.socket, client: ssl.SSLContext) -> None:
    """The first words of a handshake, and no more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    one.sendall(outgoing.read())


@pytest.mark.parametrize("end", ["closed", "reset", "given up", "aborted", "no TLS"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_handshake_that_comes_to_nothing_says_why_once(
    play: Play, contexts: tuple[ssl.SSLContext, ssl.SSLContext], end: str, *, begun: bool
) -> None:
    """And whoever would have had the connection hears nothing."""
    server, client = contexts

    async def scene() -> None:
        own, other = sockets()
        ear, channel, agreed = shaken(own, server)
        if begun:
            await asyncio.to_thread(hello, other, client)
            await asyncio.to_thread(other.recv, 100)
        if end == "closed":
            other.close() if not begun else other.shutdown(socket.SHUT_WR)
        elif end == "reset":
            reset(other)
        elif end == "given up":
            channel.give_up(TimeoutError())
        elif end == "aborted":
            channel.abort()
        else:
            other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            error = await agreed
        kinds = {"given up": TimeoutError, "aborted": ConnectionAbortedError, "no TLS": ssl.SSLError}
        assert isinstance(error, kinds.get(end, ConnectionResetError))
        channel.give_up(OSError())  # is not told a second time
        await asyncio.sleep(0)
        assert ear.told == []
        other.close()

    play(scene())
