"""What the two HTTPS servers of the UEM protocol have in common: every error is a `Problem` in JSON."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from sentry_runtime.uem.api import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(message: msgspec.Struct) -> web.Response:
    """200 with this message."""
    return web.Response(body=msgspec.json.encode(message), content_type="application/json")


def problem(status: int, title: str, detail: str = "") -> web.Response:
    """An error with this status."""
    body = msgspec.json.encode(Problem(title=title, detail=detail))
    return web.Response(status=status, body=body, content_type="application/problem+json")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn aiohttp's own errors (no such path, no such method, too large) and late bodies into `Problem`s."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        refusal = problem(error.status, error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            refusal.headers["Allow"] = error.headers["Allow"]
        return refusal
    except TimeoutError:
        return problem(408, "too slow", "the body did not arrive in time")
