"""The door of one listening socket: who may come in, counted from the first packet on, what a balancer says of them (PROXY
protocol), and the TLS handshake.

Connections are taken here rather than by asyncio's server, which tells of a connection only when its handshake is over:
those that never finish one must count as well, and leave a trace. And a PROXY header must be read before TLS begins, from
the socket itself and not a byte further. Without such a header no task is made for a connection: see `channels`.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine

from sentry_runtime.gateway import proxy_protocol
from sentry_runtime.gateway.account import Peer
from sentry_runtime.gateway.channels import PlainChannel, TlsChannel, wrapped
from sentry_runtime.gateway.front import NO_BELIEF, Belief, FrontConnection
from sentry_runtime.gateway.gate import Address, Gate, address_of
from sentry_runtime.gateway.listener import HANDSHAKE_SECONDS, Entrance
from sentry_runtime.gateway.proxy_protocol import FIXED_BYTES, Origin, ProxyHeaderError
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.vetting import Vetting
from sentry_runtime.settings import Limits

ACCEPTS_PER_TURN = 16  # then those that are in are served; a handshake takes about a millisecond
REST_SECONDS = 1.0  # without descriptors or memory: until some connections have ended

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class Crowd:
    """Everybody who is in, handshakes among them, and how many come from one place (`Peer.place`)."""

    def __init__(self, limits: Limits) -> None:
        self.fronts: set[FrontConnection] = set()
        self._limits = limits
        self._places: Counter[str] = Counter()
        self._placed: dict[FrontConnection, str] = {}

    def refusal(self, place: str = "") -> str:
        """Why nobody more from this place may come in, as a word for the audit line; "" when one may.

        Without a place: a balancer's connection, which may be anybody's and is held to the bound on all of them only.
        """
        if len(self.fronts) >= self._limits.connections_per_worker:
            return "too_many_connections"
        return self._crowded(place)

    def enter(self, front: FrontConnection, place: str = "") -> None:
        """One more."""
        self.fronts.add(front)
        if place:
            self._places[place] += 1
            self._placed[front] = place

    def place(self, front: FrontConnection, place: str) -> str:
        """It is in, and only now known to come from this place: why it must go again, or ""."""
        reason = self._crowded(place)
        if not reason:
            self.enter(front, place)
        return reason

    def leave(self, front: FrontConnection) -> None:
        """It has gone; a second call does nothing."""
        self.fronts.discard(front)
        place = self._placed.pop(front, "")
        if place:
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]

    def _crowded(self, place: str) -> str:
        return "too_many_from_source" if place and self._places[place] >= self._limits.connections_per_source else ""


class Door:
    """Takes connections from one socket while it is open."""

    def __init__(self, one: socket.socket, entrance: Entrance, services: Services, crowd: Crowd) -> None:
        address, port = one.getsockname()[:2]
        self._name = f"{address}:{port}"
        self._socket = one
        self._entrance = entrance
        self._services = services
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[TlsChannel] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # a header is read, or a certificate looked at
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
        for handshake in list(self._handshakes):
            handshake.abort()
        for task in self._tasks:
            task.cancel()

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
            self._admit(one, address[0], address[1])

    def _admit(self, one: socket.socket, source: str, port: int) -> None:
        gate, address = self._entrance.gate, address_of(source)
        # A balancer's connections are as many devices; behind a PROXY header each is counted where it comes from.
        balancer = gate.is_balancer(address)
        peer = Peer(source, port, self._name, shared=balancer)
        reason = gate.refusal(address) or self._crowd.refusal(peer.place)
        if reason:
            self._turn_away(peer, reason)
            one.close()
            return
        one.settimeout(0)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        belief = _belief(gate, address)
        front = FrontConnection(self._services, peer, self._crowd.leave, belief)
        self._crowd.enter(front, peer.place)
        if gate.proxied:
            self._start(self._introduce(one, front))
        else:
            self._receive(one, front, self._entrance.devices)

    def _start(self, job: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _turn_away(self, peer: Peer, reason: str) -> None:
        self._services.account.counters.connections_refused += 1
        self._services.account.turned_away(peer, "connection_refused", reason)

    async def _introduce(self, one: socket.socket, front: FrontConnection) -> None:
        """A balancer says whose connection it is; or that it is its own."""
        context = self._entrance.devices
        try:
            origin = await self._origin(one)
        except OSError as error:  # TimeoutError is one
            one.close()
            self._failed(front, "handshake_failed", _word(error))
            return
        except ProxyHeaderError as error:
            one.close()
            self._failed(front, "proxy_refused", str(error))
            return
        except asyncio.CancelledError:
            one.close()
            self._crowd.leave(front)
            raise
        if origin is None:
            context = self._entrance.balancers
        elif not self._comes_from(front, origin):
            one.close()
            return
        self._receive(one, front, context)

    async def _origin(self, one: socket.socket) -> Origin | None:
        """Read the PROXY header. Raises `ProxyHeaderError` or `OSError`."""
        try:
            async with asyncio.timeout(self._services.limits.proxy_seconds):
                header = await self._read(one, FIXED_BYTES)
                header += await self._read(one, proxy_protocol.rest_bytes(header))
        except TimeoutError:
            raise ProxyHeaderError("proxy_timeout") from None
        return proxy_protocol.parse(header)

    async def _read(self, one: socket.socket, size: int) -> bytes:
        """So many bytes; fewer where no more come, or where they are no beginning of a header."""
        data = b""
        while len(data) < size:
            piece = await self._loop.sock_recv(one, size - len(data))
            data += piece
            if not piece or (size == FIXED_BYTES and not proxy_protocol.may_begin(data)):
                break
        return data

    def _comes_from(self, front: FrontConnection, origin: Origin) -> bool:
        """The connection is the origin's from here on; whether it may stay."""
        front.peer = Peer(origin.source, origin.port, self._name)
        reason = self._crowd.place(front, front.peer.place)
        if reason:
            self._turn_away(front.peer, reason)
            self._crowd.leave(front)
        return not reason

    def _receive(self, one: socket.socket, front: FrontConnection, context: ssl.SSLContext | None) -> None:
        if context is None:
            PlainChannel(one, front).begin()
            return
        try:
            secured = wrapped(one, context)
        except OSError as error:  # it has gone already
            one.close()
            self._failed(front, "handshake_failed", _word(error))
            return

        def agreed(error: OSError | None) -> None:
            self._handshakes.discard(channel)
            self._greet(front, error)

        channel = TlsChannel(secured, front, agreed)
        self._handshakes.add(channel)
        front.late = lambda: channel.give_up(TimeoutError())
        front.set_deadline(HANDSHAKE_SECONDS)
        channel.agree(first=False)

    def _greet(self, front: FrontConnection, error: OSError | None) -> None:
        """The handshake is over."""
        vetting, certificate = self._services.vetting, front.certificate
        if error is not None:
            front.late = None
            self._failed(front, "handshake_failed", _word(error))
        elif vetting is not None and certificate is not None:
            self._start(self._vet(front, vetting, certificate))

    async def _vet(self, front: FrontConnection, vetting: Vetting, certificate: bytes) -> None:
        front.vetted(await vetting.vet(certificate))

    def _failed(self, front: FrontConnection, event: str, word: str) -> None:
        self._services.account.counters.handshakes_failed += 1
        self._services.account.turned_away(front.peer, event, word)
        self._crowd.leave(front)


def _belief(gate: Gate, address: Address) -> Belief:
    if gate.tls and not (gate.balancers or gate.front_ends):
        return NO_BELIEF
    forwarded_for, front_end = gate.forwarded_for and gate.is_balancer(address), gate.is_front_end(address)
    return Belief(forwarded_for, front_end, pooled=forwarded_for or front_end or not gate.tls)


def _word(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError(reason="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            return "certificate_missing"
        case ssl.SSLError():
            return "tls"
        case TimeoutError():
            return "timeout"
        case _:
            return "closed"
