"""The way to the ACME server: HTTPS, checked strictly, and bounds on what a server may say and how long that may take."""

import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter

ANSWER_SECONDS = 30.0  # of silence, and of a whole answer
BODY_BYTES = 262_144  # a chain of ten certificates of RSA 4096 is a tenth of this
HOLDING = (429, 503)  # the answers whose Retry-After is heeded (RFC 8555 6.6, RFC 9110 15.6.4)
_CHUNK = 16_384


class WayError(RuntimeError):
    """The server cannot be talked to; the message says why."""


class Way(HTTPAdapter):
    """Connections of a `requests` session. `hold` is for how many seconds the server's last refusal asked to be left alone."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.hold: float | None = None
        super().__init__()

    def init_poolmanager(self, *args: Any, **rest: Any) -> None:
        """Every connection by our context."""
        super().init_poolmanager(*args, **rest, ssl_context=self._context)

    def send(self, request: requests.PreparedRequest, *_args: Any, **rest: Any) -> requests.Response:
        """Send one request and read its whole answer, within its bounds. Raises `WayError` or what `requests` raises."""
        response = super().send(request, **{**rest, "stream": True})
        response._content = _body(response)  # noqa: SLF001 - where `requests` itself puts what it has read
        response._content_consumed = True  # noqa: SLF001
        if response.status_code in HOLDING:
            self.hold = seconds_of(response.headers.get("Retry-After", ""))
        return response


def session_over(way: Way, session: requests.Session) -> requests.Session:
    """`session` over this way alone: HTTPS, no proxy, no redirection, nothing from the environment."""
    session.trust_env = False
    session.max_redirects = 0
    session.adapters.clear()
    session.mount("https://", way)
    return session


def _body(response: requests.Response) -> bytes:
    deadline = time.monotonic() + ANSWER_SECONDS
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > BODY_BYTES:
            response.close()
            raise WayError(f"the server's answer is longer than {BODY_BYTES} bytes")
        if time.monotonic() > deadline:
            response.close()
            raise WayError(f"the server's answer takes longer than {ANSWER_SECONDS:.0f} seconds")
    return bytes(body)


def seconds_of(text: str, *, now: float | None = None) -> float | None:
    """A Retry-After (RFC 9110 10.2.3: seconds or a date) in seconds from `now`; None where it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))
