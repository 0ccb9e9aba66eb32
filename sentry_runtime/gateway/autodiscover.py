"""Autodiscover, answered by the gateway with its own URL, so that no client learns of a server behind it. Pure functions.

The answer holds the gateway's URL and the address that was asked about, nothing else. So the address need not be that of
who asks, and nothing of it is kept.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sentry_runtime.eas import autodiscover, autodiscover_json
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.credentials import Access, Credentials
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import ACTIVESYNC_PATH, Claim, DeniedError, Service, authenticated

REQUEST_BYTES = autodiscover.REQUEST_BYTES

_XML_TYPES = frozenset({b"text/xml", b"application/xml"})
_XML = (b"Content-Type", b"text/xml; charset=utf-8")
_JSON = (b"Content-Type", b"application/json; charset=utf-8")
_NOSNIFF = (b"X-Content-Type-Options", b"nosniff")  # a part of what was asked comes back
_NO_STORE = (b"Cache-Control", b"no-store")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, with action and reason for the outcome's line."""

    answer: Answer
    action: str
    reason: str


def claim(head: Head, asked: Service, access: Access, badge: Badge | None = None) -> Claim:
    """Who asks; `badge` is of the certificate that came with it. The JSON form is public by design and names nobody.

    Raises `DeniedError` for the XML form: 401 for missing or unusable credentials, 415 for a body that is not plain XML,
    413 for one that is too large.
    """
    who = Credentials("")
    if asked is Service.AUTODISCOVER_XML:
        who = authenticated(head, access, badge)
        media, _, _ = head.single.get(b"content-type", b"").partition(b";")
        if media.strip(b" \t").lower() not in _XML_TYPES or b"content-encoding" in head.single:
            raise DeniedError(415, "media_type")
        if (head.length or 0) > REQUEST_BYTES:
            raise too_large()
    shown = "" if badge is None else badge.fingerprint
    return Claim(None, (), "", who.principal, "Autodiscover", "", None, who.logon, "", shown, who.vouched)


def too_large() -> DeniedError:
    """The answer to a body beyond `REQUEST_BYTES`."""
    return DeniedError(413, "autodiscover_too_large")


def of_query(query: bytes, host: str) -> Reply:
    """The reply to the JSON form's query."""
    try:
        protocol = autodiscover_json.requested_protocol(query)
    except autodiscover_json.QueryError as error:
        return Reply(_json(400, autodiscover_json.failure("")), "deny", str(error))
    if not autodiscover_json.serves(protocol):
        return Reply(_json(400, autodiscover_json.failure(protocol)), "deny", "autodiscover_protocol")
    return Reply(_json(200, autodiscover_json.settings(_url(host))), "allow", "autodiscover")


def of_document(document: bytes, host: str) -> Reply:
    """The reply to the XML form's body; "allow" only holds for who has proved their credentials."""
    try:
        address = autodiscover.requested_address(document)
    except autodiscover.AutodiscoverError as error:
        time = datetime.now(UTC).strftime("%H:%M:%S.%f0")  # seven digits, as .NET writes it
        return Reply(_xml(autodiscover.failure(error.fault, time)), "deny", str(error))
    return Reply(_xml(autodiscover.settings(address, _url(host))), "allow", "autodiscover")


def _url(host: str) -> str:
    return f"https://{host}{ACTIVESYNC_PATH}"


def _xml(body: bytes) -> Answer:
    return Answer(200, (_XML, _NO_STORE, _NOSNIFF), body)


def _json(status: int, body: bytes) -> Answer:
    return Answer(status, (_JSON, _NO_STORE, _NOSNIFF), body)
