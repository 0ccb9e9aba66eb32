"""Fetches revocation lists and asks responders: plain HTTP to the URLs of the site's settings, everything bounded.

What comes is signed, so nothing is gained by TLS; and a certificate's own URLs are never used, since whoever makes one would
have us dial where he likes. Nobody is followed elsewhere.
"""

from types import TracebackType
from typing import Self

import aiohttp

from sentry_runtime import asking

CONNECTIONS = 16  # at one time: a responder answers in milliseconds
SECONDS = 30.0  # for a whole list
ANSWER_SECONDS = 4.0  # for a responder's answer: below the 8 s that a device waits for a decision


class FetchError(RuntimeError):
    """Nothing usable came; the message says why, in words."""


class Fetcher:
    """Used as an async context manager; safe for many tasks at once."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = asking.session(aiohttp.TCPConnector(limit=CONNECTIONS))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, bound: int) -> bytes:
        """What lies there, of at most `bound` bytes. Raises `FetchError`."""
        return await self._call("GET", url, bound, SECONDS)

    async def ask(self, url: str, question: bytes, bound: int) -> bytes:
        """A responder's answer to an OCSP request (RFC 6960 A.1). Raises `FetchError`."""
        return await self._call("POST", url, bound, ANSWER_SECONDS, question)

    async def _call(self, method: str, url: str, bound: int, seconds: float, data: bytes | None = None) -> bytes:
        if self._session is None:
            raise AssertionError("not entered")
        headers = {} if data is None else {"Content-Type": "application/ocsp-request"}
        limit = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False, timeout=limit
            ) as response:
                if response.status != 200:
                    raise FetchError(f"{url} answers {response.status}")
                body = await asking.bounded(response, bound)
                if body is None:
                    raise FetchError(f"{url}: more than {bound} bytes")
                return body
        except TimeoutError:
            raise FetchError(f"{url}: nothing, or not all, within {seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f"{url}: {str(error) or type(error).__name__}") from None
