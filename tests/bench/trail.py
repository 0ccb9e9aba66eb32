"""`python -m tests.bench.trail SOCKET CONTROL`: takes the audit lines of all proxies, as rsyslog would, and counts them.

SOCKET takes a datagram for each line, which is what HAProxy and nginx send to a local socket; `stream_of(SOCKET)` takes streams.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvloop

from tests.bench import remote

DATAGRAM_BYTES = 8_192
STREAM_BYTES = 262_144


def stream_of(path: Path) -> Path:
    """Where streams go, beside the socket for datagrams."""
    return path.with_suffix(".stream")


class Reader:
    """Counts; keeps the last line."""

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self.last = b""
        self._last = path.with_suffix(".last")
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self._loop.add_reader(self._socket, self._read)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(stream_of(path)))
        self._listener.listen()
        self._loop.add_reader(self._listener, self._accept)

    def handle(self, word: str, number: int) -> int:
        """How many lines have come; with `keep` the last one is put beside the socket."""
        del number
        if word == "keep":
            self._last.write_bytes(self.last)
        return self.lines

    def _read(self) -> None:
        try:
            for _ in range(100):
                self.last = self._socket.recv(DATAGRAM_BYTES)
                self.lines += 1
        except BlockingIOError:
            pass

    def _accept(self) -> None:
        connection, _peer = self._listener.accept()
        self._loop.add_reader(connection, self._follow, connection)

    def _follow(self, connection: socket.socket) -> None:
        came = connection.recv(STREAM_BYTES)
        if not came:
            self._loop.remove_reader(connection)
            connection.close()
            return
        self.lines += came.count(b"\n")
        self.last = came[came.rfind(b"\n", 0, -1) + 1 :]


async def main(path: Path, control: Path) -> None:
    """Read until killed."""
    # Before the load on its core: a reader that is late makes HAProxy and nginx drop lines, and so have less to do.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    reader = Reader(path)
    await remote.serve(control, reader.handle)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
