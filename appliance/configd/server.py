"""The socket: connections, lines and time. What a line means is the gate's business."""

import asyncio
import contextlib
import grp
import itertools
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.configd.api import LINE_BYTES
from appliance.configd.gate import ROOT, Gate
from appliance.configd.sessions import Peer
from appliance.configd.watch import Watch

CONNECTIONS = 64  # ten CLI sessions, the portal's and automation's; a peer that opens more gains nothing
OF_ONE_ACCOUNT = 24  # the portal asks eight topics of a page at once; an account has at most ten CLI sessions
KEPT_FOR_ROOT = 8  # automation gets in whatever the others do
SILENT_SECONDS = 30.0  # for a connection without a session, which serves nobody
THREADS = 16  # verbs that wait (ping, PAM, a commit) at once
TICK_SECONDS = 1.0
# A revision that comes back runs a dozen commands, each of which has a minute (`process.SECONDS`).
WORK_SECONDS = 600.0
STOP_SECONDS = 50.0  # a commit in progress may finish; the unit's TimeoutStopSec is 60 s
SOCKET_MODE = 0o660
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))

_log = logging.getLogger(__name__)


class Server:
    """Serves `gate` on the Unix socket `path` (mode 0660, group `group` where it is given) until told to stop.

    `alive` is called every second that the loop runs and a thread is free to work (systemd's watchdog), unless what configd does
    by itself has hung. A slow machine is no reason to be ended: that work may take its time, `work_seconds` at most.
    """

    def __init__(
        self,
        gate: Gate,
        watch: Watch,
        path: Path,
        *,
        group: str | None = None,
        alive: Callable[[], object] = lambda: None,
        work_seconds: float = WORK_SECONDS,
    ) -> None:
        self._gate = gate
        self._watch = watch
        self._path = path
        self._group = group
        self._alive = alive
        self._work_seconds = work_seconds
        self._numbers = itertools.count(1)
        self._open: dict[asyncio.Task[None], int] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="verb")

    async def serve(self, stop: asyncio.Event, *, ready: asyncio.Event | None = None) -> None:
        """Listen until `stop`; `ready` is set once the socket answers. What runs may finish."""
        with self._bound() as listener:
            server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_BYTES)
            ticking = asyncio.create_task(self._tick())
            if ready is not None:
                ready.set()
            await stop.wait()
            server.close()
            ticking.cancel()
            await self._finish()

    @contextlib.contextmanager
    def _bound(self) -> Iterator[socket.socket]:
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            before = os.umask(0o177)  # nobody may connect before owner and mode are right
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(before)
            if self._group is not None:
                os.chown(self._path, -1, _group_id(self._group))
            self._path.chmod(SOCKET_MODE)
            try:
                yield listener
            finally:
                self._path.unlink(missing_ok=True)
                self._threads.shutdown(wait=False, cancel_futures=True)

    async def _finish(self) -> None:
        for task in tuple(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=STOP_SECONDS)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        working: asyncio.Future[None] | None = None
        began = loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if working is None or working.done():
                if working is not None:
                    working.result()
                working, began = loop.run_in_executor(self._threads, self._watch.tick), loop.time()
            await loop.run_in_executor(self._threads, _nothing)
            if loop.time() - began < self._work_seconds:
                self._alive()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the stream server runs in a task
        peer = _peer(writer, next(self._numbers))
        if self._full(peer.uid):
            writer.close()
            return
        self._open[task] = peer.uid
        try:
            await self._converse(peer, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.pop(task, None)
            self._gate.disconnected(peer.connection)
            writer.close()

    def _full(self, uid: int) -> bool:
        if uid == ROOT:
            return len(self._open) >= CONNECTIONS
        others = sum(1 for one in self._open.values() if one != ROOT)
        return others >= CONNECTIONS - KEPT_FOR_ROOT or list(self._open.values()).count(uid) >= OF_ONE_ACCOUNT

    async def _converse(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while line := await self._line(peer, reader):
            # Shielded: a commit that has begun is finished, even when we are told to stop meanwhile.
            answer = asyncio.ensure_future(loop.run_in_executor(self._threads, self._gate.answer, peer, line))
            try:
                said = await asyncio.shield(answer)
            except asyncio.CancelledError:
                writer.write((await answer).line)
                raise
            writer.write(said.line)
            await writer.drain()
            if said.last:
                return

    async def _line(self, peer: Peer, reader: asyncio.StreamReader) -> bytes:
        """The next line; empty at the end, and when a connection that serves nobody says nothing for too long."""
        try:
            async with asyncio.timeout(None if self._gate.serves(peer.connection) else SILENT_SECONDS):
                return await _line(reader)
        except TimeoutError:
            return b""


def _nothing() -> None:
    """What a thread that is free does at once."""


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise FileNotFoundError(f"there is no group {name} on this machine; the role `base` makes it") from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end, and when a line is longer than any message."""
    try:
        line = await reader.readline()
    except ValueError:
        _log.warning("a line of more than %d bytes; the connection is closed", LINE_BYTES)
        return b""
    return line if line.endswith(b"\n") else b""


def _peer(writer: asyncio.StreamWriter, number: int) -> Peer:
    connected: socket.socket = writer.get_extra_info("socket")
    pid, uid, _gid = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(uid=uid, pid=pid, connection=number)
