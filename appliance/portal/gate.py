"""What every request passes, whatever its path: the Host check, the log-in, the form token, the headers of the answer.

The portal denies by default. `OPEN` is the whole list of what is served without a log-in; a route that is not on it, a path
nobody serves and a method nobody handles are all the same to a stranger: a JSON 401 below `/api`, else a 303 to the log-in.
"""

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from appliance.configd.client import Unreachable
from appliance.portal.pages import Pages
from appliance.portal.serving import BODY_SECONDS, note_arrival
from appliance.portal.sessions import LogIn, LogIns
from appliance.portal.settings import Settings

OPEN = frozenset(
    {
        ("GET", "/login"),
        ("HEAD", "/login"),
        ("POST", "/login"),
        ("POST", "/login/certificate"),
        ("GET", "/static/portal.css"),
        ("HEAD", "/static/portal.css"),
    }
)
STREAMS = frozenset({("POST", "/software/upload")})
"""Forms with a file that fits into no memory: their page reads them part by part, and looks at their token first."""
COOKIE = "__Host-sentry"
FORM_COOKIE = "__Host-sentry-form"  # ties a log-in form to the browser that asked for it, before there is a session
FORM_FIELD = "token"
FORM_BYTES = 524_288  # of who is logged in: the longest setting, a bundle of certificates, has 262,144 characters
LOG_IN = "log_in"
"""The request's key for its `LogIn`."""

_API = re.compile(r"/+api(?:/|$)", re.IGNORECASE)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_SAFE = frozenset({"GET", "HEAD"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

FormFields = Mapping[str, str | bytearray | bytes | web.FileField]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(__name__)


async def harden(_request: web.Request, response: web.StreamResponse) -> None:
    """Headers on every answer; nothing says what software or version this is."""
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)


class Gate:
    """The one middleware. `by_token` says which requests are the REST API's."""

    def __init__(
        self, settings: Settings, log_ins: LogIns, pages: Pages, by_token: Callable[[web.Request], bool]
    ) -> None:
        self._by_token = by_token
        self._hosts = frozenset(name.lower() for name in settings.hosts)
        self._port = settings.port
        self._log_ins = log_ins
        self._pages = pages

    @web.middleware
    async def pass_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through or answer it here; errors of handlers become pages that tell nothing of the inside."""
        note_arrival(request)
        if not self._host_is_ours(request):
            return self._error(request, 421, "This name does not belong to this appliance.")
        if self._by_token(request):  # it asks for a token itself; a cookie opens nothing there but the page about it
            request[LOG_IN] = self._log_ins.find(request.cookies.get(COOKIE, ""))
            return await handler(request)
        if (request.method, request.raw_path) not in OPEN:
            held = self._log_ins.find(request.cookies.get(COOKIE, ""))
            if held is None:
                return self._stranger(request)
            request = request.clone(client_max_size=FORM_BYTES)
            request[LOG_IN] = held
        return await self._handled(request, handler)

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not await self._came_from_our_form(request):
                return self._error(request, 403, "This form is not ours or is too old. Go back and try again.")
            return await handler(request)
        except web.HTTPException as answer:
            if answer.status < 400:
                raise
            return self._error(request, answer.status, answer.reason)
        except Unreachable as error:
            _log.warning("%s", error)
            return self._error(request, 503, "The configuration service does not answer. Try again in a moment.")
        except Exception:  # noqa: BLE001 - the process boundary: nobody outside learns what broke, the journal does
            _log.exception("%s %s failed", request.method, request.rel_url.path)
            return self._error(request, 500, "Something went wrong here. The appliance's log has the details.")

    def _host_is_ours(self, request: web.Request) -> bool:
        match = _HOST.fullmatch(request.headers.get("Host", ""))
        if match is None or int(match["port"] or "443") != self._port:
            return False
        return match["name"].strip("[]").lower() in self._hosts

    async def _came_from_our_form(self, request: web.Request) -> bool:
        """Whether a request that may change something carries its session's token; the log-in form has one of its own."""
        held: LogIn | None = request.get(LOG_IN)
        if held is None or request.method in _SAFE:
            return True
        if (request.method, request.raw_path) in STREAMS:
            return same_origin(request)
        form = await form_of(request)
        return same_origin(request) and matches(form.get(FORM_FIELD), held.csrf)

    def _stranger(self, request: web.Request) -> web.StreamResponse:
        if _API.match(request.path):
            return web.json_response({"title": "Authentication required"}, status=401)
        return web.Response(status=303, headers={"Location": "/login"})

    def _error(self, request: web.Request, status: int, words: str) -> web.StreamResponse:
        if _API.match(request.path):
            return web.json_response({"title": words}, status=status)
        return self._pages.error(status, words)


async def form_of(request: web.Request) -> FormFields:
    """The form a request carries. Raises HTTP 408 when it does not come in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.post()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error


def same_origin(request: web.Request) -> bool:
    """Whether a form was sent from our own pages. A client that states no Origin (no browser) is judged by the token."""
    origin = request.headers.get("Origin")
    return origin is None or origin == f"https://{request.headers['Host']}"


def matches(found: object, expected: str) -> bool:
    """Whether a form's token is the expected one, in constant time."""
    return isinstance(found, str) and bool(expected) and hmac.compare_digest(found.encode(), expected.encode())
