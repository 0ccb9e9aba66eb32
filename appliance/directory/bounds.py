"""What one talk with a server may take as a whole: a server that is broken or hostile ends none by itself."""

import socket
import ssl
import time
from collections.abc import Callable

from appliance.directory.settings import Settings

OPERATIONS = (
    4.0  # answers that a talk may wait for, each for `timeout_seconds`; one with more of them ends by this all the same
)
RECEIVED_OCTETS = 1_048_576  # of a talk: its answers are results and a few names, no 100 KiB with any server's words


def seconds_of(settings: Settings) -> float:
    """How long a talk may last."""
    return OPERATIONS * settings.timeout_seconds


class Bounds:
    """Of one talk, from now on; `clock` gives monotonic seconds."""

    def __init__(
        self, seconds: float, *, octets: int = RECEIVED_OCTETS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._octets = octets

    def patience(self, most: float) -> float:
        """How many seconds, `most` at the most, may be waited now. Raises `TimeoutError` after the end."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("the talk took longer than it may")
        return min(most, left)

    def count(self, octets: int) -> None:
        """So many were received. Raises `OSError` beyond the bound."""
        self._octets -= octets
        if self._octets < 0:
            raise OSError("it sends more than a talk may have")


class BoundedSocket:
    """As much of a socket as ldap3 uses: it waits `seconds` at the most for each octet, and for all of them within `bounds`."""

    def __init__(self, plain: socket.socket, bounds: Bounds, seconds: float) -> None:
        self.plain = plain
        self._bounds = bounds
        self._seconds = seconds

    @property
    def under_tls(self) -> bool:
        """Whether what is said on it is said within TLS."""
        return isinstance(self.plain, ssl.SSLSocket)

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on, with `host`. Python bounds a handshake as a whole by the socket's time-out, as each read."""
        self.plain.settimeout(self._bounds.patience(self._seconds))
        self.plain = context.wrap_socket(self.plain, server_hostname=host)

    def recv(self, size: int) -> bytes:
        """Some octets, none at the end."""
        self.plain.settimeout(self._bounds.patience(self._seconds))
        octets = self.plain.recv(size)
        self._bounds.count(len(octets))
        return octets

    def sendall(self, octets: bytes) -> None:
        """Say all of them."""
        self.plain.settimeout(self._bounds.patience(self._seconds))
        self.plain.sendall(octets)

    def shutdown(self, how: int) -> None:
        """As a socket's."""
        self.plain.shutdown(how)

    def close(self) -> None:
        """As a socket's."""
        self.plain.close()
