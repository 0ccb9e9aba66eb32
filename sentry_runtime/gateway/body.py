"""A request body's framing: bytes from the wire to payload, and where the body ends (RFC 9112 6 and 7).

Stricter than the RFC asks: chunk extensions and trailers are refused, since no ActiveSync client sends them and servers
differ in how they read them. The payload is framed anew for the backend.
"""

import re
from abc import ABC, abstractmethod

SIZE_LINE_BYTES = 18  # fifteen digits and CRLF with room to see that it is too long

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_CRLF = b"\r\n"


class BodyError(ValueError):
    """The chunked framing is not what the RFC allows; the message is one word for the audit line."""


class Body(ABC):
    """Takes the bytes of one body from the wire."""

    done: bool

    @abstractmethod
    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """The payload in `data`, and what of `data` lies behind the end of the body. Raises `BodyError`."""


class Sized(Body):
    """A body of known length."""

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Body.take`."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        payload, rest = (data, b"") if size == self.left else (data[: self.left], data[self.left :])
        self.left = 0
        self.done = True
        return payload, rest


class Chunked(Body):
    """A chunked body."""

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # payload bytes of the current chunk still to come
        self._line = bytearray()  # a size line or the CRLF behind a chunk, as far as it has come
        self._in_chunk = False
        self._last = False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Body.take`."""
        payload: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                part = data[at : at + self._left]
                payload.append(part)
                self._left -= len(part)
                at += len(part)
            else:
                at = self._control(data, at)
        return b"".join(payload), data[at:]

    def _control(self, data: bytes, at: int) -> int:
        """Read on in a size line, or in the CRLF behind a chunk or behind the last one."""
        end = data.find(b"\n", at) + 1
        self._line += data[at : end or len(data)]
        if len(self._line) > SIZE_LINE_BYTES:
            raise BodyError("chunk_malformed")
        if not end:
            return len(data)
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(_CRLF):
            raise BodyError("chunk_malformed")
        self._line_read(line[:-2])
        return end

    def _line_read(self, line: bytes) -> None:
        if self._in_chunk or self._last:
            if line:
                raise BodyError("chunk_malformed" if self._in_chunk else "trailer_refused")
            self._in_chunk = False
            self.done = self._last
            return
        if not _SIZE.fullmatch(line):
            raise BodyError("chunk_malformed")
        self._left = int(line, 16)
        self._in_chunk = self._left > 0
        self._last = self._left == 0


def framing(length: int | None) -> Body:
    """The reader for a body of this length, or for a chunked one (None)."""
    return Chunked() if length is None else Sized(length)
