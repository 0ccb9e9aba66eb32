"""Who may come in on the port on which the UEM pushes: from its addresses, over TLS, with the certificate of its name.

Whoever is turned away leaves an audit line. Everybody else gets none of our attention beyond that, and no answer.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Iterable
from typing import cast

from sentry_runtime.certificates.names import SUBJECT_CHARS, subject_of
from sentry_runtime.uem.door import Bounds, Door
from sentry_runtime.uem.refusals import Refusals

HANDSHAKES = 64  # at one time; a UEM needs one or two
HANDSHAKE_SECONDS = 5.0  # two round trips and a signature; the UEM's own patience with a push is 5 s
EVENT = "uem_push_refused"

Protocol = Callable[[], asyncio.Protocol]


class PushDoor:
    """Listens, and makes one of `protocols` of the connection of whoever may come in.

    `networks` are the UEM's; empty: any address, for a UEM on loopback. `subject` (RFC 4514) is its certificate's: the authority
    that has issued it may well have issued others'.
    """

    def __init__(
        self, protocols: Protocol, tls: ssl.SSLContext, networks: Iterable[str], subject: str, refusals: Refusals
    ) -> None:
        self._protocols = protocols
        self._networks = tuple(map(ipaddress.ip_network, networks))
        self._subject = subject
        self._refusals = refusals
        self._door = Door(
            lambda address: _Named(self, address),
            tls,
            Bounds(HANDSHAKES, HANDSHAKES, HANDSHAKE_SECONDS),
            refusals.refuse,
            self._is_uem,
            "not an address of the UEM",
        )

    def open(self, address: str, port: int) -> None:
        """Bind and listen there, too. Raises `OSError`."""
        self._door.open(address, port)

    async def close(self) -> None:
        """Take nobody more; handshakes under way end."""
        await self._door.close()

    def admit(self, transport: asyncio.Transport, address: str) -> None:
        """The handshake is done: give the connection to a protocol, or end it before a byte of it is read."""
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        found = "" if certificate is None else subject_of(certificate)
        if not self._subject or found != self._subject:
            transport.abort()
            self._refusals.refuse(address, f"the certificate of {found[:SUBJECT_CHARS]!r} is not that of the UEM")
            return
        protocol = self._protocols()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _is_uem(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        return not self._networks or any(found in network for network in self._networks)


class _Named(asyncio.Protocol):
    """Nobody's connection, until the door has seen the name in the certificate."""

    def __init__(self, door: PushDoor, address: str) -> None:
        self._door = door
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._door.admit(cast("asyncio.Transport", transport), self._address)  # uvloop's are of no class of asyncio's
