"""What goes wrong, in the words of RFC 9457 (`application/problem+json`): what was found, and what is allowed."""

from typing import Any

import msgspec
from aiohttp import web

from appliance.configd.api import Refusal, RefusalKind

TYPE = "/api/v1/docs#problem-{}"
STATUS: dict[RefusalKind, int] = {
    "authentication": 401,
    "session": 401,
    "permission": 403,
    "privilege": 403,
    "conflict": 409,
    "lockout": 409,
    "invalid": 422,
    "apply": 422,
    "locked": 429,
    "unavailable": 503,
}
TITLES: dict[str, str] = {
    "authentication": "The token or the secret is not good",
    "no_token": "No token was sent",
    "no_password": "No name and password were sent",
    "session": "The token's session has ended; repeat the request",
    "permission": "The token is not for this",
    "privilege": "The enable secret or another scope is needed",
    "conflict": "Something else has changed the configuration, or is changing it",
    "lockout": "The token could not come back after this; with a time limit to confirm (confirm_minutes) it is allowed",
    "invalid": "A value is not allowed",
    "apply": "The configuration could not be applied; the one before stands",
    "locked": "Too many failed attempts",
    "unavailable": "A part of the appliance does not answer",
    "unknown": "There is no such resource",
    "method": "The resource has no such method",
    "malformed": "The request cannot be read",
    "media": "The body is of another type",
    "large": "The body is too large",
    "slow": "The body did not come in time",
    "changed": "The configuration is not the one that If-Match names",
    "internal": "Something went wrong here; the appliance's log has the details",
}
"""Each kind of problem, and its title; the kind is the end of its `type`."""
LOCK_SECONDS = 900  # V-250986; what a site has set instead is the appliance's business
BUSY_SECONDS = 5


class ProblemError(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str = "",
        *,
        problems: tuple[str, ...] = (),
        allow: str = "",
        retry_seconds: int = 0,
    ) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.problems = problems
        self.allow = allow
        self.retry_seconds = retry_seconds or (LOCK_SECONDS if status == 429 else BUSY_SECONDS)
        super().__init__(detail or TITLES[kind])


def of_refusal(refusal: Refusal, *, matched: bool = False) -> ProblemError:
    """What configd refused; `matched`: the request had an `If-Match`."""
    if refusal.kind == "conflict" and matched:
        return ProblemError(412, "changed", refusal.message)
    return ProblemError(STATUS[refusal.kind], refusal.kind, refusal.message, problems=refusal.problems)


def response(error: ProblemError) -> web.Response:
    """The answer."""
    said: dict[str, Any] = {
        "type": TYPE.format(error.kind),
        "title": TITLES[error.kind],
        "status": error.status,
        # What was found may be no text at all: bytes of a header that are no UTF-8 come as lone surrogates.
        "detail": (error.detail or TITLES[error.kind]).encode(errors="backslashreplace").decode(),
    }
    if error.problems:
        said["problems"] = error.problems
    answer = web.Response(status=error.status, body=msgspec.json.encode(said), content_type="application/problem+json")
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="sentry"'
    if error.status in (429, 503):
        answer.headers["Retry-After"] = str(error.retry_seconds)
    if error.allow:
        answer.headers["Allow"] = error.allow
    return answer
