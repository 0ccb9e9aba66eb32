"""The portal's way to configd: so many questions at a time that its connections are never used up."""

import asyncio
from typing import Any, Protocol, TypeVar, overload

from appliance.configd.api import Verb

CALLS = 12  # at once; configd keeps 24 connections for one account, and log-ins and the API need some

T = TypeVar("T")


class Caller(Protocol):
    """`appliance.configd.client.AsyncClient`, or a test's."""

    async def call(self, verb: Verb, result_type: Any = Any) -> Any:
        """Send one verb and return its result; raises `Refused` or `Unreachable`."""


class Desk:
    """Asks `client` no more than `CALLS` questions at a time; the others wait for their turn."""

    def __init__(self, client: Caller) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(CALLS)
        self.stopping = asyncio.Event()
        """Set when the portal ends: what is still being followed ends too."""
        self.streams = 0
        """Logs that are followed now, by all."""

    @overload
    async def call(self, verb: Verb, result_type: type[T]) -> T: ...
    @overload
    async def call(self, verb: Verb, result_type: Any = Any) -> Any: ...
    async def call(self, verb: Verb, result_type: Any = Any) -> Any:
        """Send one verb and return its result. Raises `Refused` or `Unreachable`."""
        async with self._turns:
            return await self._client.call(verb, result_type)
