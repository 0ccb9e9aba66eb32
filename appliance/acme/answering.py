"""Port 80 while a name is proved (RFC 8555 8.3): whoever asks for a token that was announced gets what belongs to it.

There is no library for HTTP here, because strangers talk to it and so little of HTTP is wanted: a request's head is read, its
first line is looked at, one answer is given, and the connection ends. Everything else is answered 404 with nothing.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping

HEAD_BYTES = 8_192  # of a whole request; authorities send a few hundred
HEAD_SECONDS = 10.0  # RFC 8555 says nothing of it; authorities give up after ten
CONNECTIONS = 64  # authorities ask from a handful of places at once; a crowd is not them

_ASKED = re.compile(rb"(GET|HEAD) /\.well-known/acme-challenge/([A-Za-z0-9_-]{1,256}) HTTP/1\.[01]\r\n")
_END = b"\r\n\r\n"


@contextlib.asynccontextmanager
async def answering(addresses: Iterable[str], port: int, proofs: Mapping[str, str]) -> AsyncIterator[None]:
    """Listen on these addresses and give `proofs` (token -> key authorization) out. Raises `OSError` where that cannot be."""
    open_now: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(open_now) < CONNECTIONS:
                open_now.add(writer)
                await _converse(reader, writer, proofs)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it went away, was silent for too long or talks without end: nobody is left to tell
        finally:
            open_now.discard(writer)
            writer.close()

    server = await asyncio.start_server(accept, tuple(addresses), port, limit=HEAD_BYTES)
    try:
        yield
    finally:
        server.close()
        for writer in tuple(open_now):
            writer.transport.abort()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proofs: Mapping[str, str]) -> None:
    async with asyncio.timeout(HEAD_SECONDS):
        head = await reader.readuntil(_END)
        writer.write(answer(head, proofs))
        await writer.drain()


def answer(head: bytes, proofs: Mapping[str, str]) -> bytes:
    """The answer to a request's head (RFC 9112)."""
    asked = _ASKED.match(head)
    proof = proofs.get(asked[2].decode()) if asked is not None else None
    if asked is None or proof is None:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = proof.encode()
    start = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return start.encode() + (body if asked[1] == b"GET" else b"")
