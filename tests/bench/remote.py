"""How the bench speaks with its own helper processes: one line of JSON each way on a Unix socket."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Handler = Callable[[str, int], Awaitable[int] | int]
"""A word and a number to a number."""

LINE_BYTES = 1_024
PATIENCE = 120.0


async def serve(path: Path, handle: Handler) -> None:
    """Answer on this socket until the process is killed."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word, number = json.loads(await reader.readline())
        result = handle(word, number)
        writer.write(json.dumps(result if isinstance(result, int) else await result).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(one, path, limit=LINE_BYTES)
    await server.serve_forever()


def ask(path: Path, word: str, number: int = 0) -> int:
    """The answer of the helper that listens here."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        peer.sendall(json.dumps([word, number]).encode() + b"\n")
        with peer.makefile("rb") as lines:
            answer: Any = json.loads(lines.readline())
    if not isinstance(answer, int):
        raise TypeError(f"{path.name}: a number is expected in answer to {word}; found {answer!r}")
    return answer


def is_there(path: Path) -> bool:
    """Whether anybody listens here."""
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == 0
