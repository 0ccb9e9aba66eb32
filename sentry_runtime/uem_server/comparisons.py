"""`GET /v1/digests` and `GET /v1/buckets/N`: what a Sentry holds its list against."""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from sentry_runtime.uem.api import BucketPage, Digests
from sentry_runtime.uem.digests import BUCKETS
from sentry_runtime.uem.http import answer, problem
from sentry_runtime.uem.messages import MessageError
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.pages import number, page_wanted
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

SECONDS = 2.0  # how long one answer may take to make; below the 5 s that a Sentry waits

_ROOT = re.compile(r"([0-9a-f]{64})?")
_Found = TypeVar("_Found", Digests, BucketPage)


class Comparisons:
    """Answers from the registry's ledger. After a start that is made step by step, with other requests in between."""

    def __init__(self, worker: Worker, audit: Audit) -> None:
        self._worker = worker
        self._audit = audit

    def routes(self) -> list[web.RouteDef]:
        """What is answered here."""
        return [
            web.get("/v1/digests", self._digests, allow_head=False),
            web.get("/v1/buckets/{number}", self._bucket, allow_head=False),
        ]

    async def _digests(self, request: web.Request) -> web.Response:
        root = request.query.get("root", "")
        if not _ROOT.fullmatch(root):
            return problem(
                400, "not a question for digests", "`root` is 64 hexadecimal digits in lower case, or missing"
            )
        return await self._made(lambda registry: registry.digests(root))

    async def _bucket(self, request: web.Request) -> web.Response:
        try:
            bucket = number("bucket", request.match_info["number"], 0, BUCKETS - 1)
            after, limit = page_wanted(request)
        except MessageError as error:
            return problem(400, "not a question for a bucket", str(error))
        return await self._made(lambda registry: registry.bucket(bucket, after, limit))

    async def _made(self, job: Callable[[Registry], _Found | None]) -> web.Response:
        try:
            async with asyncio.timeout(SECONDS):
                return answer(await self._steps(job))
        except TimeoutError:
            return problem(503, "not yet", "the digests are being made; ask again")
        except (OverloadedError, DatabaseError) as error:
            self._audit("uem_failed", detail=str(error))
            return problem(503, "not now", "the UEM cannot use its database")

    async def _steps(self, job: Callable[[Registry], _Found | None]) -> _Found:
        while (found := await self._worker.call(job)) is None:
            pass
        return found
