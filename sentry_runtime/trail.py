"""The audit trail's way out of a process: lines go to rsyslog as datagrams, off the hot path.

A datagram is `<134>sentry-audit: {...}` (facility local0, severity info): what rsyslog's imuxsock takes apart into tag and
message.

Loss bound: lines wait at most `FLUSH_SECONDS` in the process, so a kill -9 loses no more than that. While rsyslog is away
`BUFFER_LINES` wait; what is beyond is counted, as is a line that no socket would ever take (too long), and a line
`audit_dropped` says how many as soon as lines flow again.
"""

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sentry_runtime import audit

FLUSH_SECONDS = 0.02  # a burst of requests is sent in one go; nobody reads the trail faster
RETRY_SECONDS = 0.5  # while rsyslog is away: it restarts in about a second
BUFFER_LINES = 20_000  # about 10 MB, ten seconds of a fully loaded worker
LINES_PER_FLUSH = 500  # about 3 ms of sending, then the devices' turn

_PREFIX: Final = b"<134>sentry-audit: "


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
        self._socket: socket.socket | None = None
        self._full = False  # rsyslog is there and has no room at the moment
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: audit.Line) -> None:
        """Put a line into the queue; beyond the bound it is counted instead."""
        self.put(audit.encode(line))

    def put(self, line: bytes) -> None:
        """Put a line that is JSON already into the queue."""
        if len(self._waiting) >= self._bound:
            self.dropped += 1
            self._unreported += 1
            return
        self._waiting.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def flush(self) -> bool:
        """Send what waits, as far as rsyslog takes it now; whether nothing is left."""
        for _ in range(LINES_PER_FLUSH):
            if self._unreported and not self._report():
                return False
            if not self._waiting:
                return True
            if not self._send(self._waiting[0]):
                return False
            self._waiting.popleft()
        return not self._waiting

    def close(self) -> None:
        """Send what can be sent at once and let go of the socket; what remains counts as dropped."""
        before = -1
        while self._waiting and len(self._waiting) != before:
            before = len(self._waiting)
            self.flush()
        self.dropped += len(self._waiting)
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()

    def _flush(self) -> None:
        self._timer = None
        if self.flush():
            return
        loop = asyncio.get_running_loop()
        if self._full and self._socket is not None:
            # The kernel's queue holds 10 to 512 datagrams: a timer would be far slower than rsyslog.
            loop.add_writer(self._socket, self._writable)
        seconds = FLUSH_SECONDS if self._socket is not None and not self._full else RETRY_SECONDS
        self._timer = loop.call_later(seconds, self._flush)

    def _writable(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)
        self._flush()

    def _report(self) -> bool:
        line = audit.Line(time=audit.timestamp(self._now()), id="", event="audit_dropped", count=self._unreported)
        if self._deliver(_PREFIX + audit.encode(line)):
            self._unreported = 0
            return True
        return False

    def _send(self, line: bytes) -> bool:
        """Whether this line need not wait any more: it is out, or never will be and is counted as dropped."""
        try:
            if not self._deliver(_PREFIX + line):
                return False
            self.written += 1
        except OSError:  # EMSGSIZE
            self.dropped += 1
            self._unreported += 1
        return True

    def _deliver(self, data: bytes) -> bool:
        """Whether rsyslog has taken it. Raises `OSError` when it is too long for a datagram."""
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.send(data)
            self._full = False
        except BlockingIOError:
            self._full = True
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise
            self._disconnect()
            return False
        return True

    def _connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
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
