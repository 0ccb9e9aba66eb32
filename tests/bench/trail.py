"""`python -m tests.bench.trail SOCKET CONTROL`: takes the audit lines of all proxies, as rsyslog would, and counts them."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvloop

from tests.bench import remote

DATAGRAM_BYTES = 8_192


class Reader:
    """Counts; keeps the last line."""

    def __init__(self, path: str) -> None:
        self.lines = 0
        self.last = b""
        self._last = Path(path).with_suffix(".last")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(path)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

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


async def main(path: str, control: Path) -> None:
    """Read until killed."""
    # Before the load on its core: a reader that is late makes HAProxy and nginx drop lines, and so have less to do.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    reader = Reader(path)
    await remote.serve(control, reader.handle)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
