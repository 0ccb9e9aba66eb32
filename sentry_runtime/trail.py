"""The audit trail's way out of a process: lines go to rsyslog as a stream, many in one write, off the hot path.

A line of the stream is `<134>sentry-audit: {...}` (facility local0, severity info): what rsyslog's imptcp takes apart into tag
and message. JSON has no raw line feed, so a line feed ends it (RFC 6587 3.4.2).

Loss bound: lines wait at most `FLUSH_SECONDS` in the process, so a kill -9 of it loses no more than that; a kill -9 of rsyslog
loses what it has not read yet, `SOCKET_BYTES` at most. While rsyslog is away `BUFFER_LINES` wait; what is beyond is counted, as
is a line that is too long, and a line `audit_dropped` says how many as soon as lines flow again. A line that was cut when rsyslog
went is sent whole again.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sentry_runtime import audit

FLUSH_SECONDS = 0.02  # a burst of requests is sent in one go; nobody reads the trail faster
RETRY_SECONDS = 0.5  # while rsyslog is away: it restarts in about a second
BUFFER_LINES = 20_000  # about 10 MB, ten seconds of a fully loaded worker
LINE_BYTES = 16_384  # eight times the longest line there is, and a quarter of what rsyslog would cut
LINES_PER_WRITE = 128  # about 64 KiB, and less than what the socket takes at once
WRITES_PER_FLUSH = 8  # about a millisecond of sending, then the devices' turn
SOCKET_BYTES = 65_536  # the kernel takes twice as many, for its book-keeping

_PREFIX: Final = b"<134>sentry-audit: "
_BETWEEN: Final = b"\n" + _PREFIX


class Trail:
    """Takes lines at any time without blocking and sends them from the event loop.

    `now` gives seconds since the epoch. Needs a running loop when the first line is written.
    """

    def __init__(self, path: str, now: Callable[[], float], *, buffer_lines: int = BUFFER_LINES) -> None:
        self.written = 0
        self.dropped = 0
        self._path = path
        self._now = now
        self._bound = buffer_lines
        self._waiting: deque[bytes] = deque()
        self._unreported = 0
        self._batch = b""  # lines on their way
        self._sent = 0  # how many of its bytes rsyslog has
        self._lines = 0  # of it, without the one that tells of lost ones
        self._socket: socket.socket | None = None
        self._full = False  # rsyslog is there and has no room at the moment
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: audit.Line) -> None:
        """Put a line into the queue; beyond the bound it is counted instead."""
        self.put(audit.encode(line))

    def put(self, line: bytes) -> None:
        """Put a line that is JSON already into the queue."""
        if len(self._waiting) >= self._bound or len(line) > LINE_BYTES:
            self.dropped += 1
            self._unreported += 1
        else:
            self._waiting.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def flush(self) -> bool:
        """Send what waits, as far as rsyslog takes it now; whether nothing is left."""
        for _ in range(WRITES_PER_FLUSH):
            if not self._batch:
                self._gather()
            if not self._batch:
                return True
            if not self._send():
                return False
        return not self._batch and not self._waiting and not self._unreported

    def close(self) -> None:
        """Send what can be sent at once and let go of the socket; what remains counts as dropped."""
        while self._batch or self._waiting or self._unreported:
            if not self._batch:
                self._gather()
            if not self._send():
                break
        cut = min(self._batch.count(b"\n", self._sent), self._lines)
        self.written += self._lines - cut
        self.dropped += cut + len(self._waiting)
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()

    def _flush(self) -> None:
        self._timer = None
        if self.flush():
            return
        loop = asyncio.get_running_loop()
        if self._full and self._socket is not None:
            # The kernel holds about a hundred lines: a timer would be far slower than rsyslog.
            loop.add_writer(self._socket, self._writable)
        seconds = FLUSH_SECONDS if self._socket is not None and not self._full else RETRY_SECONDS
        self._timer = loop.call_later(seconds, self._flush)

    def _writable(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)
        self._flush()

    def _gather(self) -> None:
        """Make the next batch: first how many lines are missing before it."""
        waiting = self._waiting
        lines = [waiting.popleft() for _ in range(min(len(waiting), LINES_PER_WRITE))]
        self._lines = len(lines)
        if self._unreported:
            line = audit.Line(time=audit.timestamp(self._now()), id="", event="audit_dropped", count=self._unreported)
            lines.insert(0, audit.encode(line))
            self._unreported = 0
        if lines:
            self._batch = _PREFIX + _BETWEEN.join(lines) + b"\n"

    def _send(self) -> bool:
        """Whether rsyslog has taken the rest of the batch."""
        try:
            if self._socket is None:
                self._socket = self._connect()
            while self._sent < len(self._batch):
                self._sent += self._socket.send(self._batch[self._sent :])
        except BlockingIOError:
            self._full = True
            return False
        except OSError:
            self._disconnect()
            self._sent = self._batch.rfind(b"\n", 0, self._sent) + 1
            return False
        self._full = False
        self.written += self._lines
        self._batch, self._sent, self._lines = b"", 0, 0
        return True

    def _connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            peer.connect(self._path)
        except OSError:
            peer.close()
            raise
        return peer

    def _disconnect(self) -> None:
        self._full = False
        if self._socket is not None:
            with contextlib.suppress(RuntimeError):  # no loop is running: then nobody waits for it either
                asyncio.get_running_loop().remove_writer(self._socket)
            self._socket.close()
            self._socket = None
