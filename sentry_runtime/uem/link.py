"""Sentry's calls to the UEM (docs/uem-api.md): HTTPS with mutual TLS, one typed error per thing that can go wrong."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from sentry_runtime import asking
from sentry_runtime.json_text import decoded
from sentry_runtime.plain import plain
from sentry_runtime.uem.api import (
    DECISIONS_PER_PAGE,
    BucketPage,
    Contact,
    Decision,
    DecisionPage,
    Digests,
    Information,
    Problem,
    WipeReport,
)
from sentry_runtime.uem.cloud_api import Candidates, CloudSettings
from sentry_runtime.uem.digests import bucket_of
from sentry_runtime.uem.enrolment import ENROLMENTS, RENEWALS, Enrol, Enrolled, Renew
from sentry_runtime.uem.enrolment import decode as decode_enrolment
from sentry_runtime.uem.messages import MESSAGE_BYTES, MessageError, decode

CONNECTIONS = 8  # questions at the UEM at one time; the rest queue at our side, where they can be refused

# The only words of a network that nobody is there. Everything else may be an overload, which whoever causes it must not
# turn into an admission: a full accept queue is a connection that does not come about, and no errno at all.
_NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH})
_NO_SUCH_NAME = frozenset(
    {socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAIL}
)  # EAI_AGAIN is a name server's silence
_TLS_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # a connection that ended, no word on TLS
# A TLS alert is the word of somebody who is there. Most are about our certificate (one that has ended; a handshake failure is
# about one that is missing), some about its own trouble. Only these say that TLS cannot be agreed at all.
_ALERT = "ALERT"
_NO_AGREEMENT = ("ALERT_PROTOCOL_VERSION", "ALERT_INSUFFICIENT_SECURITY")

_FULL = 429
_UNAVAILABLE = 503
_Message = TypeVar("_Message", Decision, DecisionPage, Digests, BucketPage, Candidates, CloudSettings)


class LinkError(RuntimeError):
    """The UEM gave no usable answer. What it or the network said of it is in words that any terminal and log can take."""

    def __init__(self, words: str) -> None:
        super().__init__(plain(words))


class LinkDownError(LinkError):
    """The network says that nobody is there, or somebody is with whom TLS cannot be agreed. Only this is an outage."""


class LinkSlowError(LinkError):
    """No connection or no answer came about in time. Somebody may be there."""


class LinkLocalError(LinkError):
    """We could not even dial: file handles, memory, local ports. Says nothing of the UEM."""


class LinkRefusedError(LinkError):
    """The UEM answered an error, or something that is not of the protocol."""


class LinkBusyError(LinkRefusedError):
    """The UEM answered that it cannot do that now (503)."""


class LinkFullError(LinkRefusedError):
    """The UEM answered that it takes no more of what was asked (429): of a contact, that this person has as many undecided
    devices as one may have."""


class _BrokenError(LinkRefusedError):
    """The connection ended in the middle. Once may be chance; twice in a row the UEM fails at this request."""


class UemLink:
    """One session to one UEM. Used as an async context manager; safe for many tasks at once."""

    def __init__(
        self, url: str, tls: ssl.SSLContext, timeout_seconds: float, trouble: Callable[[], str] = lambda: ""
    ) -> None:
        """`trouble` says why nothing is to be sent now, if so: then each call raises `LinkRefusedError` with that."""
        self._url = url.rstrip("/")
        self._tls = tls
        self._seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._trouble = trouble
        self._leaving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session, self._fresh = self._made(kept=True), self._made(kept=False)
        return self

    def _made(self, *, kept: bool) -> aiohttp.ClientSession:
        """A session that keeps its connections, or has a new one for each request."""
        return asking.session(
            aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS, force_close=not kept),
            {"Accept": "application/json"},
            aiohttp.ClientTimeout(total=self._seconds, sock_connect=self._seconds / 2),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()

    def use_new_connections(self) -> None:
        """From now on dial anew, with the certificate that the context has now; what is under way ends as it began."""
        left, self._session = self._session, self._made(kept=True)
        if left is not None:
            task = asyncio.get_running_loop().create_task(self._leave(left))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, session: aiohttp.ClientSession) -> None:
        try:
            await asyncio.sleep(self._seconds)  # the longest that a call may take
        finally:
            await session.close()

    async def enrol(self, asked: Enrol) -> Enrolled:
        """Ask for the first certificate. Sent once: a token that may have been redeemed is not sent again."""
        status, text = await self._exchange(self._fresh, "POST", ENROLMENTS, msgspec.json.encode(asked))
        return _enrolled(status, text)

    async def renew(self, asked: Renew) -> Enrolled:
        """Ask for the next certificate with the present one."""
        status, text = await self._sent("POST", RENEWALS, msgspec.json.encode(asked))
        return _enrolled(status, text)

    async def contact(self, contact: Contact) -> Decision:
        """Report a first contact. The decision is for exactly the device and principal of the contact."""
        decision = await self._call("POST", "/v1/contacts", Decision, body=msgspec.json.encode(contact))
        _check_same(decision, contact)
        if decision.removed:
            raise LinkRefusedError("the UEM answered a contact with a removal - at `$.removed`")
        return decision

    async def report_wipe(self, report: WipeReport) -> Decision:
        """Report what has come of a wipe. The decision, a removal perhaps, is for exactly the device and principal of it."""
        decision = await self._call("POST", "/v1/wipes", Decision, body=msgspec.json.encode(report))
        _check_same(decision, report)
        return decision

    async def decisions(self, after: int, limit: int = DECISIONS_PER_PAGE) -> DecisionPage:
        """The page of decisions with versions above `after`."""
        return await self._call("GET", f"/v1/decisions?after={after}&limit={limit}", DecisionPage)

    async def digests(self, root: str) -> Digests:
        """What the UEM knows in digests; those of the buckets only where its root is not this one."""
        return await self._call("GET", f"/v1/digests?root={root}", Digests)

    async def bucket(self, number: int, after: int, limit: int = DECISIONS_PER_PAGE) -> BucketPage:
        """The page of one bucket's decisions with versions above `after`."""
        page = await self._call("GET", f"/v1/buckets/{number}?after={after}&limit={limit}", BucketPage)
        if any(bucket_of(one.device_id, one.principal) != number for one in page.decisions):
            raise LinkRefusedError(f"the UEM answered for another bucket than {number} - at `$.decisions`")
        return page

    async def inform(self, information: Information) -> None:
        """Say what a device says of itself."""
        status, text = await self._sent("POST", "/v1/information", msgspec.json.encode(information))
        if status != 204:
            raise LinkRefusedError(f"the UEM answered {status}{_detail(text)}")

    async def _call(self, method: str, path: str, kind: type[_Message], body: bytes | None = None) -> _Message:
        status, text = await self._sent(method, path, body)
        return read(status, text, kind)

    async def _sent(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if trouble := self._trouble():
            raise LinkRefusedError(trouble)
        try:
            return await self._exchange(self._session, method, path, body)
        except _BrokenError:
            # A kept connection that the UEM closed meanwhile. Every request may be repeated, so one is, on a new connection: of
            # a UEM that has just died all kept ones are broken, and only a new one tells that nobody is there.
            return await self._exchange(self._fresh, method, path, body)

    async def _exchange(
        self, session: aiohttp.ClientSession | None, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        if session is None:
            raise RuntimeError("the link is used outside of its context")
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with session.request(
                method, self._url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                body = await asking.bounded(response, MESSAGE_BYTES)
                if body is None:
                    raise LinkRefusedError(f"an answer of more than {MESSAGE_BYTES} bytes")
                return response.status, body
        except aiohttp.ClientConnectorError as error:
            raise _unconnected(self._url, error) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise LinkSlowError(f"{self._url}: no connection with TLS within {self._seconds / 2:g} s") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise _BrokenError(f"{self._url}: the connection broke before the answer: {error}") from error
        except TimeoutError as error:
            raise LinkSlowError(f"{self._url}: no answer within {self._seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise LinkRefusedError(f"{self._url}: {error}") from error


def _check_same(decision: Decision, asked: Contact | WipeReport) -> None:
    if (decision.device_id, decision.principal) != (asked.device_id, asked.principal):
        raise LinkRefusedError("the UEM answered for another device or principal than it was asked about")


def _unconnected(url: str, error: aiohttp.ClientConnectorError) -> LinkError:
    """What it means that no connection came about."""
    certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
    kind = LinkDownError if certificate else meaning(error.os_error)
    broken = "the connection broke off: " if kind is _BrokenError else ""
    return kind(f"{url}: {broken}{error}")


def meaning(cause: OSError) -> type[LinkError]:
    """What an error of connecting says: nobody usable is there, a silence, a connection that ended, or our own trouble."""
    down = slow = broken = False
    match cause:
        case ssl.SSLError():
            broken = isinstance(cause, _TLS_ENDED) or _is_refusal(getattr(cause, "reason", None) or "")
            down = not broken
        case socket.gaierror():
            down, slow = cause.errno in _NO_SUCH_NAME, cause.errno == socket.EAI_AGAIN
        case _:
            down, slow = cause.errno in _NOBODY_THERE, isinstance(cause, TimeoutError)
            broken = isinstance(cause, ConnectionError)
    if down:
        return LinkDownError
    return LinkSlowError if slow else _BrokenError if broken else LinkLocalError


def _is_refusal(reason: str) -> bool:
    return _ALERT in reason and not reason.endswith(_NO_AGREEMENT)


_decode_problem = msgspec.json.Decoder(Problem).decode
_REFUSALS: dict[int, type[LinkRefusedError]] = {_FULL: LinkFullError, _UNAVAILABLE: LinkBusyError}


def read(status: int, text: bytes, kind: type[_Message]) -> _Message:
    """The message in an answer of this status. Raises `LinkRefusedError`."""
    if status != 200:
        raise _REFUSALS.get(status, LinkRefusedError)(f"the UEM answered {status}{_detail(text)}")
    try:
        return decode(text, kind)
    except MessageError as error:
        raise LinkRefusedError(f"the UEM's answer is not of the protocol: {error}") from error


def _enrolled(status: int, text: bytes) -> Enrolled:
    if status != 200:
        raise LinkRefusedError(f"the UEM answered {status}{_detail(text)}")
    try:
        return decode_enrolment(text, Enrolled)
    except MessageError as error:
        raise LinkRefusedError(f"the UEM's answer is not of the protocol: {error}") from error


def _detail(text: bytes) -> str:
    try:
        problem = decoded(_decode_problem, text)
    except msgspec.MsgspecError:  # whatever it is, it is no word of the UEM's
        return ""
    return f": {problem.title[:200]} {problem.detail[:200]!r}"
