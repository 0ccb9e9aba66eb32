"""`python -m tests.bench.backend PORT CONTROL [CERTIFICATE KEY]`: the one mail server behind all proxies.

It does next to nothing, so that it is not what is measured: the command of a request says what its answer is. `ItemOperations`
has as many bytes as it was told (`answer`), `Ping` is held until it is told to let them go (`release`), all else is 70 bytes.
"""

import asyncio
import re
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop

from tests.bench import phones, remote

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_COMMAND = re.compile(rb"^(?:POST [^ ]*[?&]Cmd=([A-Za-z]+)|OPTIONS)")
MARK = b"MS-Server-ActiveSync: 15.2"  # by which its answers are told from a proxy's own
_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ms-sync.wbxml\r\n" + MARK.decode() + "\r\n"
    "MS-ASProtocolVersions: 2.5,12.1,14.1,16.1\r\nCache-Control: private\r\nContent-Length: {}\r\n\r\n"
)


def response(length: int) -> bytes:
    """A whole response with a body of this length."""
    return _HEAD.format(length).encode() + phones.answer(length)


class Desk:
    """What all connections share."""

    def __init__(self) -> None:
        self.served = 0
        self.connections = 0
        self.small = response(phones.ANSWER_BYTES)
        self.large = self.small
        self.held: set[Connection] = set()

    def handle(self, word: str, number: int) -> int:
        """What the bench wants: see the table of words."""
        match word:
            case "served":
                return self.served
            case "held":
                return len(self.held)
            case "connections":
                return self.connections
            case "answer":
                self.large = response(number)
                return number
            case "release":
                return self.release()
        raise ValueError(f"served, held, connections, answer and release are known; found {word!r}")

    def release(self) -> int:
        """Answer all that is held."""
        held, self.held = self.held, set()
        for one in held:
            one.say(self.small)
        return len(held)


class Connection(asyncio.Protocol):
    """One connection: heads are looked at, bodies are counted and thrown away."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0  # of a body
        self._command = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._desk.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.held.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._left:
            if len(data) < self._left:
                self._left -= len(data)
                return
            data, self._left = data[self._left :], 0
            self._answer()
        if self._head:
            data = self._head + data
            self._head = b""
        while data:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._head = data
                return
            data = self._begin(data[:end], data[end:])

    def _begin(self, head: bytes, rest: bytes) -> bytes:
        """Look at a head; what is left of the bytes behind it."""
        command = _COMMAND.match(head)
        assert command is not None, head
        self._command = command[1] or b""
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if len(rest) < length:
            self._left = length - len(rest)
            return b""
        self._answer()
        return rest[length:]

    def _answer(self) -> None:
        if self._command == b"Ping":
            self._desk.held.add(self)
        else:
            self.say(self._desk.large if self._command == b"ItemOperations" else self._desk.small)

    def say(self, data: bytes) -> None:
        """Send a whole response. An OPTIONS is the gateway's own, before a device's first request, and not counted as one."""
        self._desk.served += self._command != b""
        if self._transport is not None:
            self._transport.write(data)


async def main(port: int, control: Path, pair: list[str]) -> None:
    """Serve until killed."""
    desk = Desk()
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", port, ssl=context, backlog=4_096)
    async with server:
        await remote.serve(control, desk.handle)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
