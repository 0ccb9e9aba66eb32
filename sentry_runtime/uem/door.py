"""Takes the connections of a port of HTTPS, and makes their handshakes itself: asyncio's server says nothing of those that fail,
and makes as many at a time as strangers begin.

Who is turned away gets no answer, and none of our attention beyond an audit line.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

REST_SECONDS = 1.0  # without descriptors or memory
BACKLOG = 128  # what asyncio's own listeners have

Protocol = Callable[[str], asyncio.Protocol]
"""What has a connection from this address once its handshake is done."""
Refuse = Callable[[str, str], None]
"""Takes the address of who is turned away, and why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many handshakes are under way at one time, of one address too, and how long each may take."""

    handshakes: int
    of_address: int
    seconds: float


class Door:
    """Listens wherever it is `open`ed. `welcome` says of an address whether it may come as far as the handshake."""

    def __init__(
        self,
        protocol: Protocol,
        tls: ssl.SSLContext,
        bounds: Bounds,
        refuse: Refuse,
        welcome: Callable[[str], bool] = lambda _address: True,
        unwelcome: str = "",
    ) -> None:
        self._protocol = protocol
        self._tls = tls
        self._bounds = bounds
        self._refuse = refuse
        self._welcome = welcome
        self._unwelcome = unwelcome
        self._sockets: set[socket.socket] = set()
        self._handshakes: dict[asyncio.Task[None], str] = {}
        self._of_address: Counter[str] = Counter()

    def open(self, address: str, port: int) -> None:
        """Bind and listen there, too. Raises `OSError`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, port), family=family, backlog=BACKLOG)
        listening.settimeout(0)
        self._sockets.add(listening)
        self._watch(listening)

    async def close(self) -> None:
        """Take nobody more; handshakes under way end."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()
        for handshake in self._handshakes:
            handshake.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _watch(self, listening: socket.socket) -> None:
        if listening in self._sockets:  # else it was closed while it rested
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            one, (address, *_) = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(REST_SECONDS, self._watch, listening)
            self._refuse("", f"no connection can be taken: {error.strerror}")
            return
        if not self._welcome(address):
            self._turn_away(one, address, self._unwelcome)
        elif len(self._handshakes) >= self._bounds.handshakes:
            self._turn_away(one, address, f"{self._bounds.handshakes} handshakes are under way")
        elif self._of_address[address] >= self._bounds.of_address:
            self._turn_away(one, address, f"{self._bounds.of_address} handshakes with it are under way")
        else:
            handshake = asyncio.get_running_loop().create_task(self._shake(one, address))
            self._handshakes[handshake] = address
            self._of_address[address] += 1
            handshake.add_done_callback(self._shaken)

    def _shaken(self, handshake: asyncio.Task[None]) -> None:
        address = self._handshakes.pop(handshake)
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _turn_away(self, one: socket.socket, address: str, reason: str) -> None:
        one.close()
        self._refuse(address, reason)

    async def _shake(self, one: socket.socket, address: str) -> None:
        one.settimeout(0)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(address), one, ssl=self._tls, ssl_handshake_timeout=self._bounds.seconds
            )
        except OSError as error:  # TLS errors, broken connections and time-outs are all of its kind
            self._turn_away(one, address, _reason(error))
        except asyncio.CancelledError:
            one.close()
            raise


def _reason(error: OSError) -> str:
    """In the words of OpenSSL, which say what was wrong with the certificate, or that this was no TLS at all."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS: {error.reason or error}"
        case _:
            return f"no TLS handshake: {str(error) or type(error).__name__}"
