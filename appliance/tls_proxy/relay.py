"""One connection: TLS with a browser on one side, the portal's socket on the other, and nothing understood of what passes.

    handshake -> a ticket of configd's, where a certificate was shown -> the portal is dialled -> preface, then bytes both ways

Who waits too long in any of these is hung up on. Where the portal is away, the browser gets a 503, whatever it asked.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from OpenSSL import SSL

from appliance.proxy_protocol import Preface, encoded
from appliance.tls_proxy.tls_server import UNSENT_BYTES, TlsServer

HANDSHAKE_SECONDS = 10.0  # some round trips
CARD_SECONDS = (
    60.0  # where certificates are asked for: in mid-handshake a card signs, once its holder has typed the PIN
)
CONNECT_SECONDS = 5.0  # a socket of this machine answers in microseconds; this is for a portal that is being started
IDLE_SECONDS = (
    200.0  # nothing passes while configd makes a commit, which may take 180 s; who only waits, the portal ends sooner
)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"Strict-Transport-Security: max-age=31536000\r\nX-Content-Type-Options: nosniff\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: 61\r\n\r\n"
    b"The portal does not run. Try again in a moment, or use SSH.\r\n"
)

_log = logging.getLogger(__name__)


class Tickets(Protocol):
    """The way to configd (`appliance.tls_proxy.tickets.Desk`)."""

    async def present(self, certificate: bytes, source: str) -> str:
        """The ticket for a certificate (DER) that was shown from `source`; "" where configd gives none."""

    async def withdraw(self, ticket: str) -> None:
        """The connection of this ticket is over."""


class Relay:
    """`protocol` is what the loop gives an accepted connection to. `asks` says whether the client is asked for a certificate,
    `ended` is called once, when all is over."""

    def __init__(
        self,
        context: SSL.Context,
        source: tuple[str, int],
        destination: tuple[str, int],
        *,
        tickets: Tickets,
        portal: str,
        asks: bool,
        ended: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._destination = source, destination
        self._tickets = tickets
        self._portal_path = portal
        self._ended = ended
        self._spawn = spawn
        self._portal: asyncio.Transport | None = None
        self._joining: asyncio.Task[None] | None = None
        self._early = bytearray()  # what came with the end of the handshake; `TlsServer` reads one chunk of it at most
        self._away = False
        self.asked = False
        """Whether the last word was the client's: most likely something is being answered."""
        self._ticket = ""
        self._moved = self._loop.time()
        self._limit = CARD_SECONDS if asks else HANDSHAKE_SECONDS
        self._timer = self._loop.call_later(self._limit, self._look)
        self.protocol = TlsServer(
            context,
            shaken=self._shaken,
            received=self._from_client,
            lost=self._lost,
            full=self._full,
            empty=self._empty,
        )

    # --- the client's side ---------------------------------------------------------------------------------------

    def _shaken(self) -> None:
        self._limit = IDLE_SECONDS
        self._move()
        self.protocol.pause()
        self._joining = self._spawn(self._join())

    def _from_client(self, data: bytes) -> None:
        self._move()
        self.asked = True
        if self._portal is not None:
            self._portal.write(data)
        elif self._away:
            self._refuse()
        else:
            self._early += data

    def _full(self) -> None:
        if self._portal is not None and not self._portal.is_closing():
            self._portal.pause_reading()

    def _empty(self) -> None:
        if self._portal is not None and not self._portal.is_closing():
            self._portal.resume_reading()

    def _lost(self, why: str) -> None:
        if self._joining is not None:
            self._joining.cancel()
        elif why:
            _log.info("from %s: no handshake: %s", self._source[0], why)
        self._timer.cancel()
        if self._portal is not None:
            self._portal.close()
        if self._ticket:
            self._spawn(self._tickets.withdraw(self._ticket))
        self._ended()

    # --- the portal's side ---------------------------------------------------------------------------------------

    async def _join(self) -> None:
        shown = self.protocol.certificate()
        if shown is not None:
            self._ticket = await self._tickets.present(shown, self._source[0])
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                dialled = self._loop.create_unix_connection(lambda: _PortalSide(self), self._portal_path)
                portal, _protocol = await dialled
        except (OSError, TimeoutError) as error:
            _log.error("the portal does not answer on %s: %s", self._portal_path, str(error) or "no time left")
            self._away = True
            self.protocol.resume()
            if self._early:
                self._refuse()
            return
        self._portal = portal
        portal.set_write_buffer_limits(high=UNSENT_BYTES)
        preface = Preface(*self._source, *self._destination, certificate=shown is not None, ticket=self._ticket)
        portal.write(encoded(preface) + self._early)
        self._early.clear()
        self._move()
        self.protocol.resume()

    def _refuse(self) -> None:
        self._early.clear()
        self.protocol.send(UNAVAILABLE)
        self.protocol.close()

    def from_portal(self, data: bytes) -> None:
        """Bytes for the client."""
        self._move()
        self.asked = False
        self.protocol.send(data)

    def portal_lost(self) -> None:
        """The portal has hung up; what it said before is still sent."""
        self.protocol.close()

    # --- time ----------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        self._moved = self._loop.time()

    def _look(self) -> None:
        """Hang up on who was still for too long, else look again when that could be so."""
        left = self._moved + self._limit - self._loop.time()
        if left <= 0:
            self.protocol.abort()
        else:
            self._timer = self._loop.call_later(left, self._look)


class _PortalSide(asyncio.Protocol):
    """The bytes of the portal."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def data_received(self, data: bytes) -> None:
        self._relay.from_portal(data)

    def pause_writing(self) -> None:
        self._relay.protocol.pause()

    def resume_writing(self) -> None:
        self._relay.protocol.resume()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._relay.portal_lost()
