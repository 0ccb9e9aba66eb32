"""Who may come in on the port on which the UEM pushes: from its addresses, over TLS, with the certificate of its name.

The handshake is made here rather than by asyncio's server, which says nothing of those that fail: whoever is turned away leaves
an audit line. Everybody else gets none of our attention beyond that, and no answer.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import cast

from sentry_runtime.certificates.names import SUBJECT_CHARS, subject_of
from sentry_runtime.uem.trail import Audit

HANDSHAKE_SECONDS = 5.0  # two round trips and a signature; the UEM's own patience with a push is 5 s
HANDSHAKES = 64  # at one time; a UEM needs one or two
QUIET_SECONDS = 60.0  # a wrong client that tries on and on has one line a minute, with the number of its tries
REST_SECONDS = 1.0  # without descriptors or memory
ADDRESSES = 256  # of which it is remembered when they last had a line
LINES = 256  # in `QUIET_SECONDS`, of all together: who changes addresses does not fill the audit trail

Protocol = Callable[[], asyncio.Protocol]


class Trail:
    """Audit lines on those who were turned away: one per address and reason, then at most one in `QUIET_SECONDS`, in which there
    are `LINES` at most."""

    def __init__(self, audit: Audit, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._clock = clock
        self._last: dict[tuple[str, str], tuple[float | None, int]] = {}
        self._begun, self._lines = clock(), 0
        self.refused = 0
        """How many were turned away."""

    def refuse(self, address: str, reason: str) -> None:
        """This one was turned away."""
        self.refused += 1
        now = self._clock()
        since, tries = self._last.pop((address, reason), (None, 0))
        tries += 1
        if now - self._begun >= QUIET_SECONDS:
            self._begun, self._lines = now, 0
        if self._lines < LINES and (since is None or now - since >= QUIET_SECONDS):
            self._lines += 1
            self._audit("uem_push_refused", count=tries, detail=f"{address}: {reason}")
            since, tries = now, 0
        self._last[address, reason] = (since, tries)
        if len(self._last) > ADDRESSES:
            del self._last[next(iter(self._last))]


class PushDoor:
    """Listens, and makes one of `protocols` of the connection of whoever may come in.

    `networks` are the UEM's; empty: any address, for a UEM on loopback. `subject` (RFC 4514) is its certificate's: the authority
    that has issued it may well have issued others'.
    """

    def __init__(
        self, protocols: Protocol, tls: ssl.SSLContext, networks: Iterable[str], subject: str, trail: Trail
    ) -> None:
        self._protocols = protocols
        self._tls = tls
        self._networks = tuple(map(ipaddress.ip_network, networks))
        self._subject = subject
        self._trail = trail
        self._sockets: set[socket.socket] = set()
        self._handshakes: set[asyncio.Task[None]] = set()

    def open(self, address: str, port: int) -> None:
        """Bind and listen there, too. Raises `OSError`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, port), family=family, backlog=HANDSHAKES)
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
            self._trail.refuse("", f"no connection can be taken: {error.strerror}")
            return
        if not self._is_uem(address):
            self._turn_away(one, address, "not an address of the UEM")
        elif len(self._handshakes) >= HANDSHAKES:
            self._turn_away(one, address, f"{HANDSHAKES} handshakes are under way")
        else:
            handshake = asyncio.get_running_loop().create_task(self._shake(one, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    def _is_uem(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        return not self._networks or any(found in network for network in self._networks)

    def _turn_away(self, one: socket.socket, address: str, reason: str) -> None:
        one.close()
        self._trail.refuse(address, reason)

    async def _shake(self, one: socket.socket, address: str) -> None:
        one.settimeout(0)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Named(self, address), one, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:  # TLS errors, broken connections and time-outs are all of its kind
            self._turn_away(one, address, _reason(error))
        except asyncio.CancelledError:
            one.close()
            raise


    def admit(self, transport: asyncio.Transport, address: str) -> None:
        """The handshake is done: give the connection to a protocol, or end it before a byte of it is read."""
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        found = "" if certificate is None else subject_of(certificate)
        if not self._subject or found != self._subject:
            transport.abort()
            self._trail.refuse(address, f"the certificate of {found[:SUBJECT_CHARS]!r} is not that of the UEM")
            return
        protocol = self._protocols()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class _Named(asyncio.Protocol):
    """Nobody's connection, until the door has seen the name in the certificate."""

    def __init__(self, door: PushDoor, address: str) -> None:
        self._door = door
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._door.admit(cast("asyncio.Transport", transport), self._address)  # uvloop's are of no class of asyncio's


def _reason(error: OSError) -> str:
    """In the words of OpenSSL, which say what was wrong with the certificate, or that this was no TLS at all."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS: {error.reason or error}"
        case _:
            return f"no TLS handshake: {str(error) or type(error).__name__}"
