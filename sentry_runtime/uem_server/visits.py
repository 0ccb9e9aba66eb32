"""The port of enrolment is open to strangers: they get a few connections at one time, and each of these a short while."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

CONNECTIONS = 64  # Sentrys enrol once in their lives
SECONDS = 15.0  # of one connection, its handshake not included; an enrolment takes some milliseconds


class Visits:
    """Counts the connections; `Visit` is one of them."""

    def __init__(self, *, connections: int = CONNECTIONS, seconds: float = SECONDS) -> None:
        self.open = 0
        self.connections = connections
        self.seconds = seconds


class Visit(asyncio.Protocol):
    """What `make` makes, for as long as a visit may last; beyond the bound the connection ends at once."""

    def __init__(self, make: Callable[[], asyncio.Protocol], visits: Visits) -> None:
        self._make = make
        self._visits = visits
        self._inner: Any = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        accepted = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        if self._visits.open >= self._visits.connections:
            accepted.abort()
            return
        self._visits.open += 1
        self._end = asyncio.get_running_loop().call_later(self._visits.seconds, accepted.abort)
        self._inner = self._make()
        self._inner.connection_made(accepted)

    def data_received(self, data: bytes) -> None:
        """Passed on."""
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Passed on."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Passed on."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Passed on."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The visit is over."""
        if self._inner is None:
            return
        self._visits.open -= 1
        if self._end is not None:
            self._end.cancel()
        self._inner.connection_lost(error)
