"""Turns a revoked certificate away at the end of its handshake, before a byte of HTTP is read.

OpenSSL has checked by then who signed it and its dates; that it was revoked only the UEM's rows say. `callers` looks again at
each request, for connections that were there before.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem_server.enrolment import Enrolment


class Threshold(asyncio.Protocol):
    """Passes the connection on to what `make` makes, or ends it."""

    def __init__(self, make: Callable[[], asyncio.Protocol], enrolment: Enrolment, refusals: Refusals) -> None:
        self._make = make
        self._enrolment = enrolment
        self._refusals = refusals

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        accepted = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        tls = accepted.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        if certificate is None or (
            self._enrolment.is_ours(certificate) and self._enrolment.sentry_of(certificate) is None
        ):
            who = address_of(accepted)
            accepted.abort()
            self._refusals.refuse(who, "a certificate of this UEM that is revoked or has ended")
            return
        protocol = self._make()
        accepted.set_protocol(protocol)
        protocol.connection_made(accepted)


def address_of(transport: asyncio.BaseTransport) -> str:
    """From where a connection comes, "" where nobody can say any more."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
