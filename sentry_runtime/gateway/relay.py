"""What passes between a device and its backend in one exchange: the request there, the response back."""

from abc import abstractmethod
from collections.abc import Sequence

from sentry_runtime.eas.offer import offered
from sentry_runtime.gateway import peek, rewrite
from sentry_runtime.gateway.account import Peer, Running
from sentry_runtime.gateway.backends import STRANGERS
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.credentials import backend_challenges
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.forward import Receiver, ResponseHead, Upstream
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.intake import Intake
from sentry_runtime.gateway.logon import Logons
from sentry_runtime.gateway.redirects import WRONG_SERVER, location_of
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.upstreams import Upstreams

REQUEST_STALL_SECONDS = 60.0  # a phone that sends nothing of its body for so long has lost its link
RESPONSE_STALL_SECONDS = 300.0  # a begun response that does not move: the device sleeps or the backend hangs

KEPT_BODY_BYTES = (
    65_536  # of a request, until its answer begins, so that a 451 can be followed: all but mails with attachments
)

_UNAUTHORIZED = 401
_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})


class Front(Intake):
    """The device's connection, as its exchange sees it."""

    peer: Peer
    upstream: Upstream | None
    """The backend connection in use, or the last one that was."""
    upstreams: Upstreams
    logons: Logons
    full: bool
    """The device does not take what we write: no response is read until `Exchange.device_ready`."""
    accepted: bytes
    """The credentials that a backend has last accepted on this connection."""

    @abstractmethod
    def identify(self, head: Head) -> Claim:
        """The claim of this head; raises what `identify` raises."""

    @abstractmethod
    def badge(self, head: Head) -> Badge | None:
        """The badge of the certificate that came with this head. Raises `HeadError` or `DeniedError` where one is needed."""

    @abstractmethod
    def note(self, claim: Claim) -> None:
        """Somebody has been read on this connection by another way than `identify`."""

    @abstractmethod
    def adopt(self, upstream: Upstream) -> None:
        """Put this connection, which has just logged on, into use."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send to the device."""

    @abstractmethod
    def hold(self) -> None:
        """Read no more of the request body until `release`."""

    @abstractmethod
    def release(self) -> None:
        """The request body may go on."""

    @abstractmethod
    def set_deadline(self, seconds: float) -> None:
        """`Exchange.expire` is due when so many seconds have passed without another call."""

    @abstractmethod
    def finished(self, exchange: object, *, keep_alive: bool, vouched: bool) -> None:
        """The response is complete; `vouched` when the backend itself has served the device."""

    @abstractmethod
    def cut(self) -> None:
        """End the connection without an end of the response."""


class Owner(Running):
    """The exchange that this relay is a part of."""

    @abstractmethod
    def relayed(self) -> None:
        """The response is complete."""

    @abstractmethod
    def relay_failed(self, reason: str) -> None:
        """There will be no (more of the) response; `reason` is one word for the audit line."""

    @abstractmethod
    def relay_called(self, code: int) -> None:
        """The backend wants a Provision of the device instead of this request; the status `code` says why (see `peek`)."""

    @abstractmethod
    def relay_redirected(self, sender: Target, location: bytes, *, whole: bool) -> None:
        """`sender` does not serve this device and names who does. `whole`: the relay can send the request once more."""


class Relay(Receiver):
    """Takes the request from the front and is the `Receiver` of the upstream's response."""

    def __init__(self, front: Front, services: Services, head: Head, owner: Owner) -> None:
        self.request_done = False
        self.begun = False  # a part of the response has gone to the device
        self.refused = False  # the backend does not accept the credentials
        self.keep_alive = head.keep_alive
        self.provisions = False  # the gateway provisions this device: policy keys are no business of the backend's
        self.status = 0
        self.backend = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.last_word: tuple[tuple[bytes, bytes], ...] = ()  # of the backend, when it let the device log on
        self._front = front
        self._services = services
        self._head = head
        self._owner: Owner | None = owner
        self._waiting: list[bytes] = []  # payload that came before there was a backend to send it to
        self._kept: list[bytes] | None = None  # all payload that was sent, while it could be sent elsewhere
        self._kept_bytes = 0
        self._invited = False
        self._upstream: Upstream | None = None
        self._chunked = False  # the response body is framed by us
        self._peeked: ResponseHead | None = None  # waits for the beginning of its body
        self._beginning = b""
        self._begun = b""  # the response's head, which goes with what follows it in one write, and so in one TLS record
        self._disregards = False  # the request body is read for nobody

    @property
    def served(self) -> bool:
        """Whether the backend has answered that it did what it was asked."""
        return self.begun and 200 <= self.status < 300

    @property
    def sent(self) -> bool:
        """Whether the request has gone to a backend, at least its head."""
        return self._upstream is not None

    @property
    def gathered(self) -> bytes:
        """What has come of the body, while it has gone to no backend."""
        return b"".join(self._waiting)

    @property
    def waits_for_answer(self) -> bool:
        """Whether the backend has the whole request and has not begun to answer."""
        return self.sent and self.request_done and not self.begun

    def body(self, payload: bytes, *, complete: bool) -> None:
        """A part of the request body; `complete` when it is the last."""
        self.request_done = complete
        self.bytes_in += len(payload)
        if self._upstream is None:
            if payload and not self._disregards:
                self._waiting.append(payload)
            return
        self._keep(payload)
        data = self._framed(payload)
        if data:
            self._upstream.write(data)
        self._expect_more()

    def disregard(self) -> None:
        """The request body is for nobody: read it, and keep nothing of it."""
        self._disregards = True
        self._waiting.clear()

    def invite(self) -> None:
        """Tell a client that waits for it to send its body."""
        if self._head.expects_continue and not self.request_done and not self._invited:
            self._invited = True
            self._front.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send(self, upstream: Upstream, policy_key: int | None = None) -> None:
        """Send the head and what has come of the body, and let the rest follow. `policy_key`: see `rewrite.request_head`."""
        backend = upstream.target.backend
        self.backend = backend.name
        self._upstream = upstream
        upstream.begin(self)
        source, hidden, logged_on = self._front.peer.source, self._services.hidden, upstream.logged_on
        if self._services.backends.follows and not logged_on:
            self._kept, self._kept_bytes = [], 0
            for payload in self._waiting:
                self._keep(payload)
        parts = [
            rewrite.request_head(self._head, backend, source, policy_key=policy_key, logged_on=logged_on, hidden=hidden)
        ]
        if self._waiting or self.request_done:
            parts.append(self._framed(b"".join(self._waiting)))
            self._waiting.clear()
        self._front.release()  # before the write, which may find the backend full and hold again
        upstream.write(b"".join(parts))
        self.invite()
        upstream.set_reading(reading=not self._front.full)
        self._expect_more()

    def _keep(self, payload: bytes) -> None:
        if self._kept is None:
            return
        self._kept_bytes += len(payload)
        if self._kept_bytes > KEPT_BODY_BYTES:
            self._kept = None
        else:
            self._kept.append(payload)

    def drop(self) -> None:
        """Let go of the backend's connection, whatever is under way on it."""
        self._waiting.clear()
        self._kept = None
        upstream = self._front.upstream
        if upstream is not None:
            upstream.drop()
            self._front.upstream = None
        self._upstream = None

    def let_go(self) -> None:
        """The exchange has ended: it hears nothing more, and the two hold each other no longer, which would leave them to the
        garbage collector."""
        self._owner = None

    def device_full(self) -> None:
        """The device does not keep up with the response."""
        if self._upstream is not None:
            self._upstream.set_reading(reading=False)

    def device_ready(self) -> None:
        """The device has caught up."""
        if self._upstream is not None:
            self._upstream.set_reading(reading=True)
        if self.begun:
            self._front.set_deadline(RESPONSE_STALL_SECONDS)

    # What the upstream calls.

    def response_head(self, head: ResponseHead, *, more: bool) -> None:
        """The backend answers. A redirection would take the device past the gateway: the gateway follows it, or fails."""
        self._seen(head)
        if head.status == WRONG_SERVER:
            self._redirected(head)
            return
        self._kept = None
        if head.status in _REDIRECTS:
            self._fail("backend_redirects")
            return
        if self.provisions and peek.wants(head):
            self._peeked = head
        else:
            self._begin(head, more=more)

    def _begin(self, head: ResponseHead, *, more: bool) -> None:
        self.begun = True
        self.status = head.status
        self.refused = head.status == _UNAUTHORIZED
        until_end = head.has_body and head.length is None
        self._chunked = until_end and self._head.minor == 1
        if not self.request_done or (until_end and not self._chunked):
            self.keep_alive = False
        close = not self.keep_alive or self._services.draining
        services, length = self._services, head.length
        fields = head.fields
        if head.offers:
            fields = offered(fields, provisions=self.provisions, versions=services.versions)
        if self.refused:
            fields = backend_challenges(fields, services.access.challenges)
        elif self.last_word:
            fields = [*fields, *self.last_word]
        begun = rewrite.response_head(head.status, head.phrase, fields, length, chunked=self._chunked, close=close)
        if more:
            self._begun = begun
        else:
            self._front.write(begun)
        self._front.set_deadline(self._services.limits.backend_answer_seconds)  # some send the head and hold the body

    def response_body(self, pieces: Sequence[bytes]) -> None:
        """More of the backend's answer."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._peeked is not None:
            self._beginning += data
            if len(self._beginning) <= peek.PEEK_BYTES or self._calls(self._peeked, complete=False):
                return
            data = self._beginning
        self._pass(data)

    def _calls(self, head: ResponseHead, *, complete: bool) -> bool:
        """Whether the response whose beginning is there has been found to be a call for a Provision; if not, it begins."""
        called = peek.call(head, self._beginning)
        self._peeked = None
        if called is None:
            self._begin(head, more=bool(self._beginning) or complete)
            return False
        if not complete or not self.request_done:
            self.drop()
        if self._owner is not None:
            self._owner.relay_called(called)
        return True

    def _pass(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._front.write(self._begun + (rewrite.chunk(data) if self._chunked else data))
        self._begun = b""
        self._front.set_deadline(RESPONSE_STALL_SECONDS)

    def response_end(self) -> None:
        """The backend's answer is complete."""
        if self._peeked is not None:
            if self._calls(self._peeked, complete=True):
                return
            if self._beginning:
                self._pass(self._beginning)
        last = rewrite.LAST_CHUNK if self._chunked else b""
        if self._begun or last:
            self._front.write(self._begun + last)
            self._begun = b""
        withdrawn = self.status == _UNAUTHORIZED and self._upstream is not None and self._upstream.logged_on
        if not self.request_done or withdrawn:
            self.drop()  # it will not read the rest, so the connection is out of step; or it has logged the device off
        if self._owner is not None:
            self._owner.relayed()

    def upstream_lost(self, reason: str) -> None:
        """The backend has gone in mid-exchange."""
        self._front.upstream = None
        # On a connection that has served before, a request may have crossed an end that was in order.
        crossed = reason == "backend_closed" and not self.begun
        if self._upstream is not None and not (crossed and self._upstream.served > 1):
            self.blame(reason)
        self._fail(reason)

    def blame(self, reason: str) -> None:
        """The backend owes an answer, and there is none."""
        if self._upstream is not None:
            self._services.backends.answered_badly(self._upstream.target, self._asker, reason)

    def upstream_full(self) -> None:
        """The backend does not keep up with the request body."""
        self._front.hold()

    def upstream_ready(self) -> None:
        """It does again."""
        self._front.release()

    @property
    def _asker(self) -> str:
        claim = None if self._owner is None else self._owner.claim
        return STRANGERS if claim is None or claim.key is None else claim.principal

    def _fail(self, reason: str) -> None:
        if self._owner is not None:
            self._owner.relay_failed(reason)

    def _seen(self, head: ResponseHead) -> None:
        if self._upstream is not None:
            self._services.backends.answered(self._upstream.target, self._asker, head.status, head.fields)

    def _redirected(self, head: ResponseHead) -> None:
        if self._upstream is None:
            return
        sender, kept = self._upstream.target, self._kept
        self.drop()
        self._waiting = kept or []
        if self._owner is not None:
            self._owner.relay_redirected(sender, location_of(head.fields), whole=kept is not None)

    def _framed(self, payload: bytes) -> bytes:
        """The payload as it goes to the backend, with the end of the body when that is reached."""
        if self._head.length is not None:
            return payload
        data = rewrite.chunk(payload) if payload else b""
        return data + rewrite.LAST_CHUNK if self.request_done else data

    def _expect_more(self) -> None:
        limits = self._services.limits
        self._front.set_deadline(limits.backend_answer_seconds if self.request_done else REQUEST_STALL_SECONDS)
