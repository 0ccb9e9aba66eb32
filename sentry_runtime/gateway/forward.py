"""The connection to a backend: sends one request at a time and reads its response.

An upstream connection belongs to one front connection, to one device with its principal and to the credentials that they
sent, since a backend may bind what it knows of a client to the connection (NTLM, Kerberos). It is never shared.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import httptools

from sentry_runtime.eas.offer import FIELDS as OFFERS
from sentry_runtime.gateway.credentials import Step
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.intake import Channel, Intake

HEAD_BYTES = 65_536  # Exchange's longest heads (several Negotiate challenges and cookies) stay below 32 KiB
REUSE_SECONDS = 4.0  # Apache closes idle connections after 5 s; a request must not cross its FIN
LOGGED_ON_SECONDS = 60.0  # half of what IIS allows: log-ons are dear, and an end in good order is noticed when it comes

_NO_BODY: Final = frozenset({204, 304})
_WATCHED: Final = frozenset({b"content-length", b"transfer-encoding"}) | OFFERS
_PHRASE = re.compile(rb"[\t -~\x80-\xff]*")  # RFC 9112 4; llhttp takes any byte in it but line ends


class ResponseHead:
    """The head of a backend's final response. `length` is None for a chunked body and for one that ends with the connection.
    `offers`: it may have fields that say what the server offers.

    One is made for each response: a plain class, which is cheap where it is compiled.
    """

    def __init__(
        self,
        status: int,
        phrase: bytes,
        fields: list[tuple[bytes, bytes]],
        length: bytes | None = None,
        *,
        has_body: bool = True,
        offers: bool = True,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.fields = fields
        self.length = length
        self.has_body = has_body
        self.offers = offers


class Receiver(ABC):
    """Who waits for the response."""

    @abstractmethod
    def response_head(self, head: ResponseHead, *, more: bool) -> None:
        """The head is there; the body follows. `more`: a part of it, or the end, comes at once, with the next call."""

    @abstractmethod
    def response_body(self, pieces: Sequence[bytes]) -> None:
        """Parts of the body, none of them empty."""

    @abstractmethod
    def response_end(self) -> None:
        """The response is complete."""

    @abstractmethod
    def upstream_lost(self, reason: str) -> None:
        """There will be no (more of the) response."""

    @abstractmethod
    def upstream_full(self) -> None:
        """Send no more of the request body until `upstream_ready`."""

    @abstractmethod
    def upstream_ready(self) -> None:
        """The request body may go on."""


class _Response:
    """What llhttp has seen of the response so far."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.phrase = b""
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.announced = False
        self.complete = False
        self.keeps_alive = False
        self.fault = ""


class Upstream(Intake):
    """One connection to a backend. `credentials` are what its owner's requests have in `Authorization`.

    `logged_on`: the backend has authenticated the connection itself; such a one serves only requests that rely on that.
    """

    def __init__(self, target: Target, owner: Claim, credentials: bytes = b"") -> None:
        self.target = target
        self.generation = 0  # see `Backends.keeps`
        self.served = 0
        self.logged_on = False
        self._owner = (owner.key, owner.principal)
        self._credentials = credentials
        self._keep_seconds = REUSE_SECONDS
        self._channel: Channel | None = None
        self._receiver: Receiver | None = None
        self._response = _Response()
        self._parser: Any = httptools.HttpResponseParser(self)  # None when it is over: the two hold each other
        self._between = True  # the parser has read a whole response and nothing behind it, or nothing at all
        self._head_bytes = 0
        self._idle_since = 0.0
        self._reusable = True
        self._full = False  # the backend does not take what we write

    def connection_made(self, channel: Channel) -> None:
        self._channel = channel
        self._idle_since = asyncio.get_running_loop().time()

    @property
    def holder(self) -> tuple[str, str]:
        """Device id ("" for none) and principal of the owner."""
        key, principal = self._owner
        return "" if key is None else key.device_id, principal

    def fits(self, claim: Claim, credentials: bytes, now: float) -> bool:
        """Whether a request with this claim and these credentials may go over this connection now."""
        return (
            self._receiver is None
            and self._reusable
            and self._channel is not None
            and self._owner == (claim.key, claim.principal)
            and self._takes(claim, credentials)
            and now - self._idle_since < self._keep_seconds
        )

    def _takes(self, claim: Claim, credentials: bytes) -> bool:
        if not self.logged_on:
            return claim.logon is None and credentials == self._credentials
        if claim.logon is None:
            return False
        return claim.logon.step is Step.HOLDS or credentials == self._credentials

    def usable(self, now: float) -> bool:
        """Whether the connection stands idle and a request might go over it."""
        return self._reusable and self._channel is not None and self._receiver is None and not self.stale(now)

    def stale(self, now: float) -> bool:
        """Whether no request will go over this connection any more."""
        return self._receiver is None and now - self._idle_since >= self._keep_seconds

    def log_on(self, claim: Claim, credentials: bytes) -> None:
        """The backend has authenticated this connection as the claim's principal, for these credentials."""
        self.logged_on = True
        self._owner = (claim.key, claim.principal)
        self._credentials = credentials
        self._keep_seconds = LOGGED_ON_SECONDS

    def keep(self, seconds: float) -> None:
        """How long it may stand idle from now on."""
        self._keep_seconds = seconds

    def begin(self, receiver: Receiver) -> None:
        """The next response is for `receiver`."""
        self._receiver = receiver
        self._response = _Response()
        if not self._between:
            self._parser = httptools.HttpResponseParser(self)
        self._between = False
        self._head_bytes = 0
        self.served += 1

    def write(self, data: bytes) -> None:
        """Send a part of the request."""
        if self._channel is not None:
            self._channel.write(data)

    def set_reading(self, *, reading: bool) -> None:
        """Whether the device keeps up with the response. Between two responses we always read: see `data_received`."""
        if self._channel is None or self._channel.closing or not (reading or self._receiver is not None):
            return
        if reading:
            self._channel.resume_reading()
        else:
            self._channel.pause_reading()

    def drop(self) -> None:
        """Close, whatever is under way; the receiver hears nothing more. It takes the kernel some time, in which a block would
        not reach the other devices that it is for: so the connection itself goes later."""
        self._receiver = None
        self._reusable = False
        self._parser = None
        if self._channel is not None:
            self._channel.abandon()
            self._channel = None

    # What the channel calls.

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self.drop()  # it speaks unasked: whatever that is, it is no answer to a later request
            return
        self._feed(data)
        response = self._response
        if response.head is None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                response.fault = "backend_malformed"
        if response.fault and not response.complete:
            self._lose(response.fault)
            return
        self._deliver(receiver)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = self._parser = None
        receiver, response = self._receiver, self._response
        if receiver is None:
            return
        head = response.head
        until_end = head is not None and head.has_body and head.length is None and not _is_chunked(head.fields)
        self._receiver = None
        if until_end and exc is None:  # nobody has cut it short (RFC 9112 9.8)
            receiver.response_end()
        else:
            receiver.upstream_lost("backend_closed")

    def pause_writing(self) -> None:
        self._full = True
        if self._receiver is not None:
            self._receiver.upstream_full()

    def resume_writing(self) -> None:
        self._full = False
        if self._receiver is not None:
            self._receiver.upstream_ready()

    # What llhttp calls: it only takes notes here, since an error in a callback would look like the backend's.

    def on_message_begin(self) -> None:
        if self._response.complete:
            self._response.fault = "backend_malformed"

    def on_status(self, phrase: bytes) -> None:
        self._response.phrase += phrase

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if self._response.head is None:  # trailers are not passed on (RFC 9110 6.5.1 lets us drop them)
            self._response.fields.append((name, value or b""))

    def on_headers_complete(self) -> None:
        response = self._response
        status = self._parser.get_status_code()
        if status >= 200 and not response.complete and not response.fault:
            response.head = _head(status, response.phrase, response.fields)
            if response.head is None:
                response.fault = "backend_malformed"

    def on_body(self, part: bytes) -> None:
        response = self._response
        if response.head is None:  # an interim response has no body (RFC 9112 6.3); others would read the answer there
            response.fault = response.fault or "backend_malformed"
        elif not response.complete:  # else it is of something that nobody has asked for
            response.pieces.append(part)

    def on_message_complete(self) -> None:
        response = self._response
        if response.head is None:  # an interim response (100, 103): the final one follows
            response.fields, response.phrase = [], b""
            return
        response.complete = True
        response.keeps_alive = self._parser.should_keep_alive()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._response.fault = self._response.fault or "backend_malformed"

    def _deliver(self, receiver: Receiver) -> None:
        response = self._response
        if response.head is None:
            return
        if not response.announced:
            response.announced = True
            receiver.response_head(response.head, more=bool(response.pieces) or response.complete)
        if response.pieces and self._receiver is receiver:
            pieces, response.pieces = response.pieces, []
            receiver.response_body(pieces)
        if response.complete and self._receiver is receiver:
            self._receiver = None
            self._idle_since = asyncio.get_running_loop().time()
            # One that is still full of the last request would never tell the next one that it is.
            self._between = response.keeps_alive and not response.fault
            self._reusable = self._between and not self._full
            self.set_reading(reading=True)
            receiver.response_end()

    def _lose(self, reason: str) -> None:
        receiver = self._receiver
        self.drop()
        if receiver is not None:
            receiver.upstream_lost(reason)


def _head(status: int, phrase: bytes, fields: list[tuple[bytes, bytes]]) -> ResponseHead | None:
    """The final head; None when its framing is not one we can pass on without changing what it says."""
    codings: list[bytes] = []
    lengths: list[bytes] = []
    size, offers = 0, False
    for name, value in fields:
        size += len(name) + len(value)
        lower = name.lower()
        if lower not in _WATCHED:
            continue
        if lower == b"content-length":
            lengths.append(value)
        elif lower == b"transfer-encoding":
            codings.append(value)
        else:
            offers = True
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked" or lengths):
        return None
    if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
        return None
    if size > HEAD_BYTES or not _PHRASE.fullmatch(phrase):
        return None
    has_body = status not in _NO_BODY
    length = lengths[0] if lengths and has_body else None
    return ResponseHead(status, phrase, fields, length, has_body=has_body, offers=offers)


def _is_chunked(fields: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in fields)
