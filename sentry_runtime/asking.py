"""How the data plane's processes ask others over HTTP: no cookie and no proxy of the environment, and of an answer no more than
was wanted."""

from collections.abc import Mapping

import aiohttp

LONGEST = aiohttp.ClientTimeout(total=300.0)  # of a request that brings none of its own


def session(
    connector: aiohttp.BaseConnector,
    headers: Mapping[str, str] | None = None,
    timeout: aiohttp.ClientTimeout = LONGEST,
) -> aiohttp.ClientSession:
    """A session of requests with these headers too."""
    return aiohttp.ClientSession(
        connector=connector,
        headers={"Accept-Encoding": "identity", "User-Agent": "Sentry", **(headers or {})},
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # an answer of 1 MiB stays one
        trust_env=False,
    )


async def bounded(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The answer's body; None when it is longer than that."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)
