"""The serving side of `sentry_runtime.control`: a Unix socket whose peers are told apart by the kernel, not by their words.

The server of each socket gives a function from (who, request) to the result. It raises `Refused` for what it does
not serve. A request whose answers do not end (`Follow`) is taken over by returning a `Stream`.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sentry_runtime import control

SOCKET_MODE = 0o660  # owner and group may connect; who may do what is decided by SO_PEERCRED
CONNECTIONS = (
    8_192  # each has two buffers (64 KiB at most in use); a gateway opens one per waiting first contact: 5 of 1,000
)
REQUEST_BYTES = 65_536  # the longest request, an Ask with all its aliases, is below 8 KiB
BUSY_SECONDS = 1.0  # a connection beyond the bound that says nothing has not earned more
IDLE_SECONDS = 300.0  # a client that keeps its connection open for the next request gets this long

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """This request is not served; `kind` is one word for programs, `message` says why in the reader's words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Take the connection over: `serve` writes the answer too, and the connection ends when it returns."""

    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


Handler = Callable[[Peer, control.Request], Awaitable[object]]


class ControlServer:
    """Serves `handler` on a Unix socket. `start` replaces what a killed predecessor left, `stop` ends all connections."""

    def __init__(self, path: str | Path, handler: Handler) -> None:
        self._path = Path(path)
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind and listen. Raises `OSError`, `BlockingIOError` among them when somebody answers there already."""
        listener = bound(self._path)
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=REQUEST_BYTES, backlog=CONNECTIONS
            )
        except BaseException:
            listener.close()
            raise

    async def stop(self) -> None:
        """Take no new connection, end those there are, remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio would log the cancellation of its own task on `stop`.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._tasks) > CONNECTIONS:
                await _turn_away(reader, writer)
                return
            peer = _peer(writer)
            while await self._exchange(peer, reader, writer):
                pass
        except OSError:
            return  # the peer went away or was silent for too long: there is nobody left to tell
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await reader.readline()
        except ValueError:  # longer than the reader's limit
            writer.write(control.refuse("invalid", f"a request has at most {REQUEST_BYTES} bytes"))
            await writer.drain()
            return False
        if not line.endswith(b"\n"):
            return False
        result = await self._answer(peer, line)
        if isinstance(result, Stream):
            await result.serve(reader, writer)
            return False
        writer.write(result)
        await writer.drain()
        return True

    async def _answer(self, peer: Peer, line: bytes) -> bytes | Stream:
        try:
            request = control.decode_request(line)
        except msgspec.MsgspecError as error:
            return control.refuse("invalid", str(error))
        try:
            result = await self._handler(peer, request)
        except Refused as refusal:
            return control.refuse(refusal.kind, refusal.message)
        return result if isinstance(result, Stream) else control.answer(result)


async def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say `busy`, but only to a request: a client that is still sending when we close would see its pipe break instead."""
    with contextlib.suppress(ValueError):  # a line beyond the bound is as good as any
        async with asyncio.timeout(BUSY_SECONDS):
            await reader.readline()
    writer.write(control.refuse("busy", f"{CONNECTIONS} connections are open, more are not taken"))
    await writer.drain()


def page_that_fits(items: Iterable[object]) -> list[object]:
    """As many of the first items as one answer line holds; the asker goes on behind the last one it got."""
    page: list[object] = []
    room = control.LINE_BYTES - 1_024  # the answer's own frame
    for item in items:
        room -= len(msgspec.json.encode(item)) + 1
        if room < 0:
            break
        page.append(item)
    return page


def bound(path: Path) -> socket.socket:
    """A Unix socket at this path that does not listen yet, in the place of what a killed predecessor left.

    Raises `OSError`, `BlockingIOError` among them when somebody answers there already.
    """
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)  # before listen: nobody can connect until the mode stands
    except BaseException:
        listener.close()
        raise
    return listener


def _peer(writer: asyncio.StreamWriter) -> Peer:
    return peer_of(writer.get_extra_info("socket"))


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end of this connection."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(raw))


def _clear(path: Path) -> None:
    """Remove the socket of a predecessor that was killed; refuse to push a living one aside."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink()
        return
    raise BlockingIOError(f"{path}: another process already answers there")
