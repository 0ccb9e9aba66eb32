"""Who may come in on the port on which the UEM pushes: from its addresses, over TLS, with its certificate.

The handshake is made here rather than by asyncio's server, which says nothing of those that fail: whoever is turned away leaves
an audit line. Everybody else gets none of our attention beyond that, and no answer.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Iterable

from sentry_runtime.uem.trail import Audit

HANDSHAKE_SECONDS = 5.0  # two round trips and a signature; the UEM's own patience with a push is 5 s
HANDSHAKES = 64  # at one time; a UEM needs one or two
QUIET_SECONDS = 60.0  # a wrong client that tries on and on has one line a minute, with the number of its tries
ADDRESSES = 256  # of which it is remembered when they last had a line

Protocol = Callable[[], asyncio.Protocol]


class Trail:
    """Audit lines on those who were turned away: one per address and reason, then at most one in `QUIET_SECONDS`."""

    def __init__(self, audit: Audit, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._clock = clock
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self.refused = 0
        """How many were turned away."""

    def refuse(self, address: str, reason: str) -> None:
        """This one was turned away."""
        self.refused += 1
        now = self._clock()
        since, tries = self._last.pop((address, reason), (None, 0))
        tries += 1
        if since is None or now - since >= QUIET_SECONDS:
            self._audit("uem_push_refused", count=tries, detail=f"{address}: {reason}")
            since, tries = now, 0
        self._last[address, reason] = (since, tries)
        if len(self._last) > ADDRESSES:
            del self._last[next(iter(self._last))]


class PushDoor:
    """Listens, and makes a connection of whoever may come in over to one of `protocols`.

    `networks` are the UEM's; empty: any address, for a UEM on loopback.
    """

    def __init__(self, protocols: Protocol, tls: ssl.SSLContext, networks: Iterable[str], trail: Trail) -> None:
        self._protocols = protocols
        self._tls = tls
        self._networks = tuple(map(ipaddress.ip_network, networks))
        self._trail = trail
        self._server: asyncio.Server | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int) -> None:
        """Bind and listen. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Caller(self._judge), address, port)

    async def close(self) -> None:
        """Take nobody more; handshakes under way end."""
        if self._server is not None:
            self._server.close()
        for handshake in self._handshakes:
            handshake.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _judge(self, transport: asyncio.Transport) -> None:
        """Before a byte is read."""
        address = str(transport.get_extra_info("peername")[0])
        if not self._is_uem(address):
            self._turn_away(transport, address, "not an address of the UEM")
        elif len(self._handshakes) >= HANDSHAKES:
            self._turn_away(transport, address, f"{HANDSHAKES} handshakes are under way")
        else:
            handshake = asyncio.get_running_loop().create_task(self._shake(transport, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    def _is_uem(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return not self._networks or any(found in network for network in self._networks)

    def _turn_away(self, transport: asyncio.Transport, address: str, reason: str) -> None:
        transport.abort()
        self._trail.refuse(address, reason)

    async def _shake(self, transport: asyncio.Transport, address: str) -> None:
        protocol = self._protocols()
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport, protocol, self._tls, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:  # TLS errors, broken connections and time-outs are all of its kind
            self._turn_away(transport, address, _reason(error))
            return
        if secured is None:  # it hung up the moment it was through
            transport.abort()
            return
        protocol.connection_made(secured)


def _reason(error: OSError) -> str:
    """In the words of OpenSSL, which say what was wrong with the certificate, or that this was no TLS at all."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS: {error.reason or error}"
        case _:
            return f"no TLS handshake: {str(error) or type(error).__name__}"


class _Caller(asyncio.Protocol):
    """A connection about which nothing has been decided; nothing is read from it."""

    def __init__(self, judge: Callable[[asyncio.Transport], None]) -> None:
        self._judge = judge

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.pause_reading()  # type: ignore[attr-defined] # asyncio types every transport as the base
        self._judge(transport)  # type: ignore[arg-type]
