"""A device's connection: bytes to requests, one after the other, and everything that is bounded in time.

Requests that are sent ahead (pipelined) wait their turn. The next head is taken only when

- the one before has its whole response (`_exchange`),
- the device takes what we write to it (`full`): who does not read its answers gets no more of them, and
- the other connections have had their turn (`_turn_over`), since a request that is answered here costs its sender nothing.

While one of these holds and much waits already, or the exchange cannot take more of a body, nothing is read (`_set_held`).
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sentry_runtime.gateway import body, enforce
from sentry_runtime.gateway.account import Peer
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.exchange import Exchange
from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.gate import forwarded_source
from sentry_runtime.gateway.head import Head, HeadError, Heads
from sentry_runtime.gateway.identify import Claim, DeniedError, MemoKey, identify, memo_key
from sentry_runtime.gateway.intake import Channel
from sentry_runtime.gateway.logon import Logons
from sentry_runtime.gateway.relay import REQUEST_STALL_SECONDS, Front
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.upstreams import Upstreams
from sentry_runtime.gateway.vetting import Vetted

PIPELINE_BYTES = 65_536  # what may be sent ahead of an answer; real clients send nothing ahead
DISCARD_BYTES = 262_144  # of a body nobody wants: reading so much is cheaper than a new TLS connection
HEADS_PER_TURN = 8  # about a millisecond of work, then the other connections are served
LINGER_SECONDS = 2.0  # after our last word, so that a client still sending can read it (RFC 9112 9.6)
CLOSE_SECONDS = 60.0  # for the last bytes of a response to reach a device on a poor link
MEMO_CLAIMS = 8  # different queries on one connection that repeat (Ping, Sync ...); the rest is read again

_HOLD_EXCHANGE, _HOLD_PIPELINE = 1, 2


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of who is at the other end: a balancer's word on where a request comes from, a front end's on a
    device's certificate. `pooled`: it speaks HTTP itself, so a request is perhaps not of the device of the one before."""

    forwarded_for: bool = False
    certificates: bool = False
    pooled: bool = False


NO_BELIEF = Belief()


class FrontConnection(Front):
    """One connection of a device (or of a balancer that puts several devices on it), from the end of its handshake on.

    `gone` is called when the connection has been lost. `peer` is who speaks: of a balancer that names them, the client of the
    request that is running; between two, and for one whose head cannot be read, the balancer itself.
    """

    def __init__(
        self,
        services: Services,
        peer: Peer,
        gone: "Callable[[FrontConnection], None]",
        belief: Belief = NO_BELIEF,
    ) -> None:
        self.peer = peer
        self._belief = belief
        self._balancer: Peer | None = None  # whose word on the peer is taken
        self.upstream: Upstream | None = None
        self.upstreams = Upstreams()
        self.logons = Logons(services.backends, services.waiting, services.limits.decision_seconds)
        self.full = False
        self.accepted = b""
        self.certificate: bytes | None = None
        """The device's own (DER), from its handshake."""
        self.vetted_until = float("inf")
        """Until when (seconds since the epoch) what is known of it holds."""
        self._badge: Badge | None = None
        self._unvetted = False  # nobody has said yet whether the certificate is taken
        self.deadline = float("inf")
        self.late: Callable[[], None] | None = None
        """What to do when the deadline passes before the connection stands."""
        self._services = services
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._input = bytearray()
        self._heads = Heads()
        self._scanned = 0  # bytes of `_input` that hold no end of a head
        self._body: body.Body | None = None  # the request body that is being read
        self._exchange: Exchange | None = None
        self._discarded = 0
        self._held = 0
        self._paused = False
        self._asked = False  # something of a request, readable or not, has been answered or forwarded
        self._idle = False  # between two requests
        self._turn_over = False
        self._closing = False
        self._closed = False
        self._advancing = False
        self._memo: dict[MemoKey, Claim] = {}
        self._device_id, self._principal = "", ""  # the first ones that were named
        self._shared = False  # others have been named since: several devices use this connection

    # What the channel calls.

    def connection_made(self, channel: Channel) -> None:
        self._channel, self.late = channel, None
        self._services.account.counters.connections += 1
        if self._closing:  # the gateway began to stop during the handshake
            channel.abort()
            return
        self.set_deadline(self._services.limits.head_seconds)
        if self._services.vetting is not None:
            self.certificate = channel.certificate()
            self._unvetted = self.certificate is not None

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # what comes after our last word is read only so that the word arrives
        if self._body is not None and not self._input:
            self._take_body(data)
            self._advance()
        else:
            self._input += data
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - to a device's connection it is all one
        self._channel = None
        self._closing = True
        self._gone(self)
        if not self._asked and not self._services.draining:
            self._services.account.counters.connections_silent += 1
            self._services.account.turned_away(self.peer, "connection_silent", "no_request")
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
        self._drop_upstreams()

    def pause_writing(self) -> None:
        self.full = True
        if self._exchange is not None:
            self._exchange.device_full()

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._exchange.device_ready()
        self._advance()

    # What the exchange calls.

    def identify(self, head: Head) -> Claim:
        """`identify.identify`, remembered by all that it looks at."""
        badge = self.badge(head)
        key = memo_key(head, badge)
        claim = self._memo.get(key)
        if claim is None:
            claim = identify(head, self._services.access, self._holder, badge)
            self.note(claim)
            if len(self._memo) >= MEMO_CLAIMS:
                self._memo.clear()
            self._memo[key] = claim
        return claim

    def badge(self, head: Head) -> Badge | None:
        """The badge of the certificate that the request comes with: the connection's own, or one that a front end tells of.

        Raises `HeadError` or `DeniedError` where there has to be one.
        """
        vetting = self._services.vetting
        if vetting is None:
            return None
        if vetting.header and self._belief.certificates:
            return vetting.presented(head)
        if self._badge is None:
            raise DeniedError(403, "certificate_missing")
        return self._badge

    def note(self, claim: Claim) -> None:
        """Somebody has been read on this connection.

        Once it has been several, nobody goes by what the connection has logged on as: a request without credentials might
        be anybody's.
        """
        device_id, principal = claim.device_id or self._device_id, claim.principal or self._principal
        if (self._device_id or device_id, self._principal or principal) != (device_id, principal) and not self._shared:
            self._shared = True
            self._memo.clear()
        self._device_id, self._principal = device_id, principal

    def adopt(self, upstream: Upstream) -> None:
        """Put this connection, which has just logged on, into use; one that did so before for the same owner goes."""
        now = self._loop.time()
        for other in self._all_upstreams():
            if other.logged_on and other.holder == upstream.holder:
                other.drop()
        if self.upstream is not None:
            self.upstreams.put(self.upstream, now)
        self.upstreams.tidy(now)
        self.upstream = upstream
        self._memo.clear()  # a certificate names its device without any log-on; from now on that goes by this one

    def write(self, data: bytes) -> None:
        """Send to the device."""
        if self._channel is not None:
            self._channel.write(data)

    def hold(self) -> None:
        """Read no more until `release`."""
        self._set_held(self._held | _HOLD_EXCHANGE)

    def release(self) -> None:
        """Read on."""
        self._set_held(self._held & ~_HOLD_EXCHANGE)

    def set_deadline(self, seconds: float) -> None:
        """Something must happen within so many seconds."""
        self.deadline = self._loop.time() + seconds

    def finished(self, exchange: object, *, keep_alive: bool, vouched: bool) -> None:
        """The response is complete: close, or be ready for the next request.

        `vouched`: the backend itself has served the device, which may keep the connection for its next request. Anybody else
        has as long for the next one as for the first.
        """
        if self._exchange is exchange:
            self._exchange = None
        if self._balancer is not None:
            self.peer = self._balancer  # until the next head names its own: one that cannot be read names nobody
        self._discarded = 0
        self._held &= ~_HOLD_EXCHANGE  # nobody is left who would; what is still held is set free by `_advance`
        if not keep_alive:
            self._close()
            return
        self._idle = True
        limits = self._services.limits
        idle = limits.idle_seconds if vouched else limits.head_seconds
        self.set_deadline(idle if self._body is None else REQUEST_STALL_SECONDS)
        self._advance()

    def cut(self) -> None:
        """End the connection so that the device sees a cut."""
        self._closing = True
        self._exchange = None
        if self._channel is not None:
            self._channel.abort()

    # What the door and the worker call.

    def vetted(self, found: Vetted) -> None:
        """What came out for the connection's certificate, the first time or anew."""
        if self._channel is None or self._closing:
            return
        self.vetted_until = found.until
        if found.badge is None:
            self._turn_out(found.word)
            return
        self._badge = found.badge
        if self._unvetted:
            self._unvetted = False
            self._advance()

    def _turn_out(self, word: str) -> None:
        """A certificate that is not taken (any more): whatever runs ends, and the connection with it."""
        account = self._services.account
        account.counters.certificates_refused += 1
        mark = hashlib.sha256(self.certificate or b"").hexdigest()
        account.turned_away(self.peer, "certificate_refused", word, mark)
        self._asked = True  # it is on record
        if self._exchange is not None:
            self._exchange.expel(word)
        else:
            self._close()

    def tidy(self, now: float) -> None:
        """Let go of backend connections that have lain idle too long to be used again."""
        if self.upstream is not None and self.upstream.stale(now):
            self.upstream.drop()
            self.upstream = None
        self.upstreams.tidy(now)
        self.logons.tidy(now)

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = float("inf")
        if self._channel is None:
            if self.late is not None:
                self.late()
        elif self._closed:
            self.cut()  # it does not even take our last bytes
        elif self._closing:
            self._body = None
            self._close()
        elif self._exchange is not None:
            self._exchange.expire()
        elif self._scanned:
            self._refuse(HeadError(408, "head_too_slow"))
        else:
            self._close()

    def drain(self) -> None:
        """Take no further request; an idle connection closes now."""
        if self._exchange is not None:
            self._exchange.drain()
        elif not self._closing:
            self._close()

    def give_up(self) -> None:
        """End whatever still runs."""
        if self._exchange is not None:
            self._exchange.give_up()
        else:
            self.cut()

    # Bytes to requests.

    @property
    def _waits(self) -> bool:
        """Whether the next head has to wait."""
        return self._exchange is not None or self.full or self._turn_over or self._unvetted

    def _advance(self) -> None:
        if self._advancing:
            return  # an exchange that was answered at once: the loop below goes on by itself
        self._advancing = True
        heads = 0
        while self._input and not self._closing:
            if self._body is not None:
                data = bytes(self._input)
                self._input.clear()
                self._take_body(data)
            elif self._waits or not self._take_head():
                break
            else:
                heads += 1
                if heads == HEADS_PER_TURN:
                    self._turn_over = True
                    self._loop.call_soon(self._next_turn)
        self._advancing = False
        too_much = self._waits and len(self._input) > PIPELINE_BYTES
        self._set_held(self._held | _HOLD_PIPELINE if too_much else self._held & ~_HOLD_PIPELINE)

    def _next_turn(self) -> None:
        self._turn_over = False
        self._advance()

    def _take_head(self) -> bool:
        if self._scanned < 2 and self._input.startswith(b"\r\n"):
            del self._input[:2]  # RFC 9112 2.2: an empty line before a request is no request
            self._scanned = 0
        try:
            found = self._heads.read(self._input, self._services.limits.head_bytes, self._scanned)
            if found is None:
                if self._idle and self._input:
                    self._idle = False  # the clock of a head runs from its first byte, and is not wound up by the next
                    self.set_deadline(self._services.limits.head_seconds)
                self._scanned = len(self._input)
                return False
            self._scanned = 0
            head, end = found
            del self._input[:end]
            self._start(head)
        except HeadError as error:
            self._refuse(error)
            return False
        return True

    def _start(self, head: Head) -> None:
        self._asked = True
        if self._belief.forwarded_for:
            self._named_by_balancer(head)
        reader = body.framing(head.length)
        payload = b""
        if not reader.done and self._input:
            # Read before anything is forwarded: a body that is broken from the start is refused with its head.
            try:
                payload, rest = reader.take(bytes(self._input))
            except body.BodyError as error:
                raise HeadError(400, str(error)) from None
            self._input = bytearray(rest)
        self._body = None if reader.done else reader
        self._exchange = Exchange(self, self._services, head)
        try:
            self._exchange.start(payload, complete=reader.done)
        except HeadError:
            self._exchange = None
            raise

    def _named_by_balancer(self, head: Head) -> None:
        if self._balancer is None:
            self._balancer = self.peer
        values = [value for name, value in head.fields if name.lower() == b"x-forwarded-for"]
        source = forwarded_source(values)
        self.peer = Peer(source, 0, self._balancer.listener) if source else self._balancer

    def _take_body(self, data: bytes) -> None:
        reader = self._body
        if reader is None:
            return
        try:
            payload, rest = reader.take(data)
        except body.BodyError as error:
            if self._exchange is not None:
                self._exchange.bad_body(str(error))
            else:
                self._close()
            return
        if reader.done:
            self._body = None
            self._input[:0] = rest
        if self._exchange is not None:
            self._exchange.body(payload, complete=reader.done)
        else:
            self._discard(len(payload))

    def _discard(self, size: int) -> None:
        """Of a body that came too late for its answer only so much is read."""
        self._discarded += size
        if self._discarded > DISCARD_BYTES:
            self._close()

    def _refuse(self, error: HeadError) -> None:
        self._asked = True
        counters = self._services.account.counters
        counters.malformed += 1
        self._services.account.refused(self.peer, "refused", error.status, error.reason)
        self.write(enforce.of_status(error.status).to_bytes(keep_alive=False))
        self._close(linger=error.status == 431)

    def _close(self, *, linger: bool = False) -> None:
        """Close in good order; while the client is still sending, it first gets the time to read our answer."""
        linger = linger or self._body is not None
        self._closing = True
        self._drop_upstreams()
        self._input.clear()
        if self._channel is None:
            return
        self._set_held(0)
        if linger:
            self.set_deadline(LINGER_SECONDS)
        else:
            self._closed = True
            self.set_deadline(CLOSE_SECONDS)
            self._channel.close()

    def _holder(self, device_id: str) -> str:
        """Who has logged on on this connection for this device id ("": for none), while nobody else has used it."""
        if self._shared or self._belief.pooled or self._services.access.pooled:
            return ""
        now = self._loop.time()
        for upstream in self._all_upstreams():
            if upstream.logged_on and upstream.usable(now) and upstream.holder[0] == device_id:
                return upstream.holder[1]
        return ""

    def _all_upstreams(self) -> list[Upstream]:
        return [*self.upstreams] if self.upstream is None else [self.upstream, *self.upstreams]

    def _drop_upstreams(self) -> None:
        if self.upstream is not None:
            self.upstream.drop()
            self.upstream = None
        self.upstreams.drop()
        self.logons.drop()

    def _set_held(self, held: int) -> None:
        self._held = held
        if self._channel is None or self._channel.closing or self._paused == bool(held):
            return
        self._paused = bool(held)
        if self._paused:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()
