"""`python -m tests.bench.decision SOCKET ENTRIES`: nginx's decision service, as small as one can be.

A set of the allowed devices in memory, and one line of the request looked at. nginx asks it on a Unix socket with connections
that stay. A service that did anything of what the gateway does besides would only cost more.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

_FIELD = b"\r\nX-Entry: "
_YES = b"HTTP/1.1 204 No Content\r\n\r\n"
_NO = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


def verdict(request: bytes, allowed: frozenset[bytes]) -> bytes:
    """The answer to one request head."""
    begin = request.find(_FIELD) + len(_FIELD)
    return _YES if request[begin : request.find(b"\r\n", begin)] in allowed else _NO


def entries(text: bytes) -> frozenset[bytes]:
    """The allowed devices of HAProxy's map file: each line an entry and its word."""
    return frozenset(line.partition(b" ")[0] for line in text.splitlines())


class Connection(asyncio.Protocol):
    """nginx sends one request after the other, each in one piece and without a body."""

    def __init__(self, allowed: frozenset[bytes]) -> None:
        self._allowed = allowed
        self._transport: asyncio.Transport | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n") and self._transport is not None:
            self._transport.write(verdict(self._head, self._allowed))
            self._head = b""


async def main(path: str, allowed: frozenset[bytes]) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_unix_server(lambda: Connection(allowed), path, backlog=4_096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], entries(Path(sys.argv[2]).read_bytes())))
