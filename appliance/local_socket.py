"""The socket at which configd asks a service of the management plane: root, and nobody else."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sentry_runtime import control

ROOT = 0
SILENT_SECONDS = 10.0
CONNECTIONS = 16  # configd asks one thing at a time for each session

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))

Answer = Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Desk:
    """Who answers to what: `kind` is the union of the requests, `line_bytes` the longest line of one."""

    kind: Any
    answer: Answer
    line_bytes: int
    allowed: frozenset[int] = frozenset({ROOT})


@contextlib.asynccontextmanager
async def serving(path: Path, desk: Desk) -> AsyncIterator[None]:
    """Answer on a Unix socket at `path` to the accounts that `desk` allows."""
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(desk.kind).decode
    open_now: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(open_now) < CONNECTIONS:
                open_now.add(writer)
                await _converse(reader, writer, desk, decode)
        except (OSError, TimeoutError, ValueError):
            pass  # it went away, was silent for too long or talks without end: nobody is left to tell
        finally:
            open_now.discard(writer)
            writer.close()

    remove(path)  # what a killed predecessor left
    server = await asyncio.start_unix_server(accept, path, limit=desk.line_bytes)
    try:
        yield
    finally:
        server.close()
        remove(path)


def remove(path: Path) -> None:
    """Have no socket lie there."""
    path.unlink(missing_ok=True)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, desk: Desk, decode: Callable[[bytes], Any]
) -> None:
    """One request and its answer."""
    async with asyncio.timeout(SILENT_SECONDS):
        line = await reader.readline()
    if not line.endswith(b"\n"):
        return
    if _uid(writer) not in desk.allowed:
        writer.write(control.refuse("forbidden", "only configd may ask"))
    else:
        writer.write(await _answered(line, desk.answer, decode))
    await writer.drain()


async def _answered(line: bytes, answer: Answer, decode: Callable[[bytes], Any]) -> bytes:
    try:
        asked = decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return control.refuse("invalid", str(error))
    return control.answer(await answer(asked))


def _uid(writer: asyncio.StreamWriter) -> int:
    connected: socket.socket = writer.get_extra_info("socket")
    _pid, uid, _gid = _CREDENTIALS.unpack(
        connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(uid)


def closed_umask() -> None:
    """From now on what this process makes is its own: the socket, which root reaches all the same, and the state."""
    os.umask(0o077)
