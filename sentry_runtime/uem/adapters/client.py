"""HTTPS to the one host that a vendor's API is at: bounded, at the host's pace, with the link's typed errors.

Nobody is followed to another host, and no error's words hold more of an answer than its status: they end in the audit trail.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from sentry_runtime import asking
from sentry_runtime.uem.adapters.pace import Pace, retry_after
from sentry_runtime.uem.link import (
    CONNECTIONS,
    LinkDownError,
    LinkLocalError,
    LinkRefusedError,
    LinkSlowError,
    meaning,
)

ATTEMPTS = 6  # of one request, for who has time: with the waits between them, up to some minutes
PATIENCE_SECONDS = 120.0  # who has time waits so long for a host to be asked again, and else tries in the next round

_URL = re.compile(r"[!-~]+")

Sleep = Callable[[float], Awaitable[None]]


class NotFoundError(LinkRefusedError):
    """404."""


class DeniedError(LinkRefusedError):
    """401 or 403."""


class _UnfitError(LinkRefusedError):
    """An answer after which the same may be asked again: throttled, 5xx, or a connection that broke off."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `data` makes it a POST of a form. `patient`: nobody waits at a device for it, so waits are kept and what fails
    is tried again."""

    url: URL
    headers: Mapping[str, str]
    bound: int
    seconds: float
    patient: bool = False
    data: Mapping[str, str] | None = None


class Client:
    """One session to one host. Used as an async context manager; safe for many tasks at once."""

    def __init__(
        self,
        base: str,
        tls: ssl.SSLContext,
        pace: Pace,
        *,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.base = URL(base.rstrip("/"))
        self.pace = pace
        self._tls = tls
        self._sleep = sleep
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS)
        self._session = asking.session(connector, {"Accept": "application/json"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def at(self, path: str, query: Mapping[str, str | int] | None = None) -> URL:
        """This path below the base."""
        asked = urlencode(
            query or {}, quote_via=quote, safe="$,()'"
        )  # a blank is %20: not every server reads a plus as one
        return URL(f"{self.base / path}{'?' if asked else ''}{asked}", encoded=True)

    def next(self, link: str) -> URL:
        """Where an answer says that it goes on: the same host, and below the base. Raises `LinkRefusedError`.

        It is asked for as it is written, so what no URL can hold is refused, and so is any name or password in it.
        """
        try:
            url = URL(link, encoded=True)
            same = url.origin() == self.base.origin() and url.path.startswith(f"{self.base.path.rstrip('/')}/")
        except ValueError:
            same = False
        if not same or (url.user, url.password) != (None, None) or not _URL.fullmatch(link):
            raise LinkRefusedError(f"{self.base}: the next page is said to lie elsewhere")
        return url

    async def ask(self, call: Call) -> bytes:
        """The body of the 200 that comes. Raises `LinkError`: `NotFoundError` and `DeniedError` for these two answers."""
        for attempt in range(1, ATTEMPTS + 1):
            await self._await_turn(call)
            try:
                body = await self._exchange(call)
            except _UnfitError:
                if not call.patient or attempt == ATTEMPTS:
                    raise
            else:
                self.pace.answered()
                return body
        raise AssertionError("the last attempt returns or raises")

    async def _await_turn(self, call: Call) -> None:
        while (wait := self.pace.wait) > 0:
            if not call.patient or wait > PATIENCE_SECONDS:
                raise LinkRefusedError(f"{self._shown(call)}: is not to be asked for {wait:.0f} s more")
            await self._sleep(wait)

    async def _exchange(self, call: Call) -> bytes:
        if self._session is None:
            raise RuntimeError("the client is used outside of its context")
        limit = aiohttp.ClientTimeout(total=call.seconds, sock_connect=call.seconds / 2)
        method = "GET" if call.data is None else "POST"
        try:
            async with self._session.request(
                method, call.url, data=call.data, headers=call.headers, allow_redirects=False, timeout=limit
            ) as response:
                self._check(call, response)
                body = await asking.bounded(response, call.bound)
                if body is None:
                    raise LinkRefusedError(f"{self._shown(call)}: an answer of more than {call.bound} bytes")
                return body
        except aiohttp.ClientConnectorError as error:
            raise self._unconnected(call, error) from None
        except aiohttp.ConnectionTimeoutError:
            raise LinkSlowError(f"{self._shown(call)}: no connection with TLS within {call.seconds / 2:g} s") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
            raise self._broken(call) from None
        except TimeoutError:
            raise LinkSlowError(f"{self._shown(call)}: no answer within {call.seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise LinkRefusedError(f"{self._shown(call)}: {type(error).__name__}") from None

    def _check(self, call: Call, response: aiohttp.ClientResponse) -> None:
        status, later = response.status, retry_after(response.headers.get("Retry-After"), self._now())
        if status == 200:
            return
        words = f"{self._shown(call)} answered {status}"
        if status == 429 or (status == 503 and later is not None):
            self.pace.throttled(later)
            raise _UnfitError(f"{words}, come back in {self.pace.wait:.0f} s")
        if status >= 500:
            self.pace.failed()
            raise _UnfitError(words)
        if status in (401, 403):
            raise DeniedError(words)
        if 300 <= status < 400:
            raise LinkRefusedError(f"{words}: nobody is followed elsewhere")
        raise NotFoundError(words) if status == 404 else LinkRefusedError(words)

    def _unconnected(self, call: Call, error: aiohttp.ClientConnectorError) -> Exception:
        """What it means that no connection came about; `sentry_runtime.uem.link` has the same for our own protocol."""
        certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
        kind = LinkDownError if certificate else meaning(error.os_error)
        if kind in (LinkDownError, LinkSlowError, LinkLocalError):
            return kind(f"{self._shown(call)}: {error}")
        return self._broken(call)

    def _broken(self, call: Call) -> _UnfitError:
        self.pace.failed()
        return _UnfitError(f"{self._shown(call)}: the connection broke off")

    def _shown(self, call: Call) -> str:
        """Where it went, without what was asked."""
        return str(call.url.with_query(None))
