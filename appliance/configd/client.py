"""The one way to talk to configd: a blocking client for the CLI and automation, an asyncio one for the portal."""

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from appliance.configd.api import LINE_BYTES, SOCKET, Refusal, Reply, Verb

SECONDS = 180.0  # a commit may restart every service and wait for its ports

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Reply).decode


class Refused(Exception):  # noqa: N818 - the word the API uses
    """A verb was not served; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__("\n".join((refusal.message, *refusal.problems)))


class Unreachable(Exception):  # noqa: N818 - as above
    """configd does not answer, or answers what cannot be read."""


class Client:
    """One connection to configd, dialled at the first call. A session opened over it ends with it (but the portal's)."""

    def __init__(self, path: str | Path = SOCKET, *, seconds: float = SECONDS) -> None:
        self._path = str(path)
        self._seconds = seconds
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @overload
    def call(self, verb: Verb, result_type: type[T]) -> T: ...
    @overload
    def call(self, verb: Verb, result_type: Any = Any) -> Any: ...
    def call(self, verb: Verb, result_type: Any = Any) -> Any:
        """Send one verb and return its result. Raises `Refused`, or `Unreachable` (the connection is then dialled anew by
        the next call)."""
        try:
            if self._socket is None:
                self._socket = _dial(self._path, self._seconds)
            self._socket.sendall(_encode(verb) + b"\n")
            line = self._read(self._socket)
        except OSError as error:
            self.close()
            raise Unreachable(f"configd does not answer on {self._path}: {error.strerror or error}") from error
        return _result(line, result_type)

    def _read(self, connected: socket.socket) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            chunk = connected.recv(65_536)
            if not chunk:
                raise ConnectionResetError("it closed the connection")
            line += chunk
            if len(line) > LINE_BYTES:
                raise ConnectionResetError(f"an answer of more than {LINE_BYTES} bytes")
        return bytes(line)


def _dial(path: str, seconds: float) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(seconds)
        connected.connect(path)
    except OSError:
        connected.close()
        raise
    return connected


class AsyncClient:
    """As `Client`, for asyncio: one connection for each call, so that calls of many people do not wait for each other."""

    def __init__(self, path: str | Path = SOCKET, *, seconds: float = SECONDS) -> None:
        self._path = str(path)
        self._seconds = seconds

    @overload
    async def call(self, verb: Verb, result_type: type[T]) -> T: ...
    @overload
    async def call(self, verb: Verb, result_type: Any = Any) -> Any: ...
    async def call(self, verb: Verb, result_type: Any = Any) -> Any:
        """Send one verb and return its result. Raises `Refused` or `Unreachable`."""
        async with Conversation(self._path, seconds=self._seconds) as conversation:
            return await conversation.call(verb, result_type)


class Conversation:
    """Several calls over one connection, for asyncio: a session that is bound to its connection ends with it."""

    def __init__(self, path: str | Path = SOCKET, *, seconds: float = SECONDS) -> None:
        self._path = str(path)
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._seconds):
                self._reader, self._writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES)
        except OSError as error:
            raise Unreachable(f"configd does not answer on {self._path}: {error}") from error
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._writer.close()

    @overload
    async def call(self, verb: Verb, result_type: type[T]) -> T: ...
    @overload
    async def call(self, verb: Verb, result_type: Any = Any) -> Any: ...
    async def call(self, verb: Verb, result_type: Any = Any) -> Any:
        """Send one verb and return its result. Raises `Refused` or `Unreachable`."""
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(_encode(verb) + b"\n")
                await self._writer.drain()
                line = await self._reader.readline()
        except (OSError, ValueError) as error:
            raise Unreachable(f"configd does not answer on {self._path}: {error}") from error
        if not line.endswith(b"\n"):
            raise Unreachable(f"configd does not answer on {self._path}: it closed the connection")
        return _result(line, result_type)


def _result(line: bytes, result_type: Any) -> Any:
    try:
        reply = _decode(line)
        if reply.refusal is not None:
            raise Refused(reply.refusal)
        return msgspec.json.decode(reply.result, type=result_type)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"configd's answer cannot be read: {error}") from error
