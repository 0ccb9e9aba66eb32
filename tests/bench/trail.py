"""`python -m tests.bench.trail SOCKET CONTROL`: takes the audit lines of all proxies, as rsyslog would, and counts them.

SOCKET takes streams, which is how the gateway and HAProxy send many lines in one write; nginx can do so to a pipe only, `pipe_of`
that path. All three are cheaper for who writes than a datagram for each line.
"""

import asyncio
import fcntl
import os
import socket
import sys
from pathlib import Path

import uvloop

from tests.bench import remote

READ_BYTES = 262_144
PIPE_BYTES = 1_048_576  # what a pipe may have at most: nginx would wait in a write to a full one


def pipe_of(path: Path) -> Path:
    """The pipe beside the socket."""
    return path.with_suffix(".pipe")


class Reader:
    """Counts; keeps the last line."""

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self.last = b""
        self._last = path.with_suffix(".last")
        self._loop = asyncio.get_running_loop()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen()
        self._loop.add_reader(self._listener, self._accept)
        os.mkfifo(pipe_of(path), 0o600)
        self._pipe = os.open(pipe_of(path), os.O_RDWR | os.O_NONBLOCK)  # a writer, too: so it never ends
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._loop.add_reader(self._pipe, self._empty)

    def handle(self, word: str, number: int) -> int:
        """How many lines have come; with `keep` the last one is put beside the socket."""
        del number
        if word == "keep":
            self._last.write_bytes(self.last)
        return self.lines

    def _accept(self) -> None:
        connection, _peer = self._listener.accept()
        self._loop.add_reader(connection, self._follow, connection)

    def _follow(self, connection: socket.socket) -> None:
        came = connection.recv(READ_BYTES)
        if came:
            self._count(came)
        else:
            self._loop.remove_reader(connection)
            connection.close()

    def _empty(self) -> None:
        self._count(os.read(self._pipe, READ_BYTES))

    def _count(self, came: bytes) -> None:
        self.lines += came.count(b"\n")
        self.last = came[came.rfind(b"\n", 0, -1) + 1 :]


async def main(path: Path, control: Path) -> None:
    """Read until killed."""
    # Before the load on its core: who writes to a reader that is late has to wait or drops lines.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    reader = Reader(path)
    await remote.serve(control, reader.handle)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
