"""The door of one listening socket: who may come in, counted from the first packet on, and the TLS handshake.

Connections are taken here rather than by asyncio's server, which tells of a connection only when its handshake is over:
those that never finish one must count as well, and leave a trace.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from ipaddress import IPv6Address

from sentry_runtime.gateway.account import Peer
from sentry_runtime.gateway.front import CLOSE_SECONDS, FrontConnection
from sentry_runtime.gateway.listener import HANDSHAKE_SECONDS
from sentry_runtime.gateway.services import Services
from sentry_runtime.settings import Limits

ACCEPTS_PER_TURN = 16  # then those that are in are served; a handshake takes about a millisecond
REST_SECONDS = 1.0  # without descriptors or memory: until some connections have ended

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class Crowd:
    """Everybody who is in, handshakes among them, and how many come from one place."""

    def __init__(self, limits: Limits) -> None:
        self.fronts: set[FrontConnection] = set()
        self._limits = limits
        self._places: Counter[str] = Counter()

    def refusal(self, source: str) -> str:
        """Why nobody more from this address may come in, as a word for the audit line; "" when one may."""
        if len(self.fronts) >= self._limits.connections_per_worker:
            return "too_many_connections"
        if self._places[_place(source)] >= self._limits.connections_per_source:
            return "too_many_from_source"
        return ""

    def enter(self, front: FrontConnection) -> None:
        """One more."""
        self.fronts.add(front)
        self._places[_place(front.peer.source)] += 1

    def leave(self, front: FrontConnection) -> None:
        """It has gone; a second call does nothing."""
        if front not in self.fronts:
            return
        self.fronts.discard(front)
        place = _place(front.peer.source)
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]


class Door:
    """Takes connections from one socket while it is open."""

    def __init__(self, one: socket.socket, context: ssl.SSLContext, services: Services, crowd: Crowd) -> None:
        address, port = one.getsockname()[:2]
        self._name = f"{address}:{port}"
        self._socket = one
        self._context = context
        self._services = services
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to take connections."""
        self._rest = None
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Take no more; the handshakes under way go on."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def abandon(self) -> None:
        """End the handshakes under way."""
        for handshake in self._handshakes:
            handshake.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                one, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("%s: no connection can be taken: %s", self._name, error.strerror)
                self._loop.remove_reader(self._socket)
                self._rest = self._loop.call_later(REST_SECONDS, self.open)
                return
            self._admit(one, Peer(address[0], address[1], self._name))

    def _admit(self, one: socket.socket, peer: Peer) -> None:
        account = self._services.account
        reason = self._crowd.refusal(peer.source)
        if reason:
            account.counters.connections_refused += 1
            account.turned_away(peer, "connection_refused", reason)
            one.close()
            return
        one.settimeout(0)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        front = FrontConnection(self._services, peer, self._crowd.leave)
        self._crowd.enter(front)
        handshake = self._loop.create_task(self._greet(one, front))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _greet(self, one: socket.socket, front: FrontConnection) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: front,
                one,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        except OSError as error:  # TimeoutError and every ssl error are OSErrors
            self._services.account.counters.handshakes_failed += 1
            self._services.account.turned_away(front.peer, "handshake_failed", _word(error))
            self._crowd.leave(front)
        except asyncio.CancelledError:
            self._crowd.leave(front)
            raise


def _word(error: OSError) -> str:
    match error:
        case ssl.SSLError():
            return "tls"
        case TimeoutError():
            return "timeout"
        case _:
            return "closed"


def _place(source: str) -> str:
    """What counts as one source: an IPv4 address, or the 64-bit network that every IPv6 customer has at least."""
    with contextlib.suppress(ValueError):
        return str(IPv6Address(source.partition("%")[0]).packed[:8].hex())
    return source
