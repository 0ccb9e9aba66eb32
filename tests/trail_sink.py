"""Stands where rsyslog's socket for the audit trail is, and keeps the lines."""

import contextlib
import json
import select
import socket
from pathlib import Path
from typing import Any

PREFIX = b"<134>sentry-audit: "
READ_BYTES = 65_536


class TrailSink:
    """Listens at `path`; `lines` takes what has come without waiting, `fileno` is readable when there is more."""

    def __init__(self, path: str) -> None:
        self.raw: list[bytes] = []
        self._path = path
        self._poll = select.epoll()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen()
        self._poll.register(self._listener, select.EPOLLIN)
        self._writers: dict[int, tuple[socket.socket, bytearray]] = {}

    def fileno(self) -> int:
        """What a loop waits for."""
        return self._poll.fileno()

    def close(self) -> None:
        """As rsyslog ends: what is not read is lost."""
        for connection, _rest in self._writers.values():
            connection.close()
        self._writers.clear()
        self._listener.close()
        self._poll.close()
        Path(self._path).unlink(missing_ok=True)

    def take(self) -> None:
        """Read what is there."""
        while events := self._poll.poll(0):
            for number, _what in events:
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(number)

    def lines(self) -> list[dict[str, Any]]:
        """What has come so far, each as its JSON object."""
        self.take()
        assert all(one.startswith(PREFIX) for one in self.raw)
        return [json.loads(one[len(PREFIX) :]) for one in self.raw]

    def line(self, index: int, seconds: float) -> dict[str, Any]:
        """The line of this number, as soon as it is there; raises `TimeoutError` when nothing has come for so long."""
        while len(self.raw) <= index:
            if not self._poll.poll(seconds):
                raise TimeoutError(f"{len(self.raw)} lines of the trail, and then nothing for {seconds} s")
            self.take()
        return self.lines()[index]

    def _accept(self) -> None:
        connection, _peer = self._listener.accept()
        connection.setblocking(False)  # noqa: FBT003 - as socket names it
        self._writers[connection.fileno()] = connection, bytearray()
        self._poll.register(connection, select.EPOLLIN)

    def _read(self, number: int) -> None:
        connection, rest = self._writers[number]
        came = b""
        with contextlib.suppress(ConnectionError):
            came = connection.recv(READ_BYTES)
        if not came:
            self._poll.unregister(connection)
            connection.close()
            del self._writers[number]
            return
        *whole, last = (bytes(rest) + came).split(b"\n")
        rest[:] = last
        self.raw += whole
