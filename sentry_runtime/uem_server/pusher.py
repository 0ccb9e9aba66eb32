"""Tells the Sentry of changes at once; a push that gets lost is repaired by the feed of decisions."""

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable

import aiohttp
import msgspec

from sentry_runtime import asking
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.uem.api import Decision, Push
from sentry_runtime.uem.messages import that_fit
from sentry_runtime.uem.trail import Audit

PENDING = 10_000  # devices changed while the Sentry is away; beyond, the oldest are left to the feed
DECISIONS_PER_PUSH = 500  # half a page: a push is read and written in some milliseconds
SECONDS = 5.0  # for one push; the Sentry answers after a commit
FIRST_RETRY_SECONDS = 0.2  # an agent restarts in about a second
LAST_RETRY_SECONDS = 15.0  # a quarter of the resync interval: after that the feed has repaired it anyway


class Pusher:
    """Keeps, per device, the newest decision that the Sentry has not confirmed, and sends until it has."""

    def __init__(
        self, url: str, tls: ssl.SSLContext, *, audit: Audit, draw: Callable[[], float] = random.random
    ) -> None:
        self._url = url.rstrip("/") + "/v1/decisions"
        self._tls = tls
        self._audit = audit
        self._draw = draw
        self._pending: dict[DeviceKey, Decision] = {}
        self._added = asyncio.Event()
        self._failures = 0
        self.sent = 0
        """How many pushes the Sentry has confirmed."""

    @property
    def pending(self) -> int:
        """How many devices' changes wait."""
        return len(self._pending)

    def add(self, decisions: Iterable[Decision]) -> None:
        """Push these as soon as possible. Returns at once."""
        for decision in decisions:
            key = DeviceKey(decision.device_id, decision.principal)
            known = self._pending.pop(key, None)
            self._pending[key] = decision if known is None or decision.version > known.version else known
        while len(self._pending) > PENDING:
            self._pending.pop(next(iter(self._pending)))
        self._added.set()

    async def run(self) -> None:
        """Greet the Sentry, then push what is added, until cancelled."""
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=1)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with asking.session(connector, timeout=timeout) as session:
            # An empty push says that the UEM is there again. If nobody hears it, the Sentry finds out by itself.
            await self._send(session, Push(decisions=()))
            while True:
                await self._added.wait()
                self._added.clear()
                while self._pending:
                    await self._push(session)

    async def _push(self, session: aiohttp.ClientSession) -> None:
        decisions = that_fit(tuple(self._pending.values())[:DECISIONS_PER_PUSH])
        problem = await self._send(session, Push(decisions=decisions))
        if problem:
            if self._failures == 0:
                self._audit("uem_push_failed", count=len(self._pending), detail=problem)
            span = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(self._failures, 10))
            self._failures += 1
            await asyncio.sleep(span * (0.5 + 0.5 * self._draw()))
            return
        self._failures = 0
        self.sent += 1
        for decision in decisions:
            key = DeviceKey(decision.device_id, decision.principal)
            if self._pending.get(key) is decision:  # a newer one may have come while this one was on its way
                del self._pending[key]

    async def _send(self, session: aiohttp.ClientSession, push: Push) -> str:
        """Empty, or why the Sentry did not confirm it."""
        body, headers = msgspec.json.encode(push), {"Content-Type": "application/json"}
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return "" if response.status == 204 else f"{self._url}: answered {response.status}"
        except TimeoutError:
            return f"{self._url}: no answer within {SECONDS:g} s"
        except (aiohttp.ClientError, UnicodeError) as error:  # the latter of a name that DNS cannot have (`a..b`)
            return f"{self._url}: {error}"
