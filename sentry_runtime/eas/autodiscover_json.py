"""Autodiscover by a GET with a JSON answer ("v2"): `?Email=..&Protocol=ActiveSync&RedirectCount=..`, as iOS and Outlook ask.

It is public by design: clients ask before they have credentials, and the answer says nothing about anybody.
"""

import json
import re

from sentry_runtime.eas.query import QUERY_BYTES

PROTOCOL = "ActiveSync"
ECHO_CHARS = 32  # of a protocol that is not served, in the message about it

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]")


class QueryError(ValueError):
    """The query cannot be read; the message is one word for the audit line."""


def requested_protocol(query: bytes) -> str:
    """The value of `Protocol` in a raw query, "" without one; names in any case. Raises `QueryError`.

    The other parameters are passed over: the answer is the same for every address, and there is no redirection to count.
    """
    if len(query) > QUERY_BYTES:
        raise QueryError("query_too_long")
    found: bytes | None = None
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name.lower() == b"protocol":
            if found is not None:
                raise QueryError("parameter_doubled")
            found = value
    try:
        return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), found or b"").decode()
    except UnicodeDecodeError:
        raise QueryError("parameter_encoding") from None


def serves(protocol: str) -> bool:
    """Whether it is ActiveSync; in any case, as servers take it."""
    return protocol.lower() == PROTOCOL.lower()


def settings(url: str) -> bytes:
    """The answer: ActiveSync is at `url`."""
    return _json({"Protocol": PROTOCOL, "Url": url})


def failure(protocol: str) -> bytes:
    """The answer (of a 400) to who asks for another protocol. Of what was sent only letters and digits come back."""
    named = _NOT_PLAIN.sub("", protocol)[:ECHO_CHARS]
    message = f"The given protocol value '{named}' is invalid. Supported values are '{PROTOCOL}'"
    return _json({"ErrorCode": "InvalidProtocol", "ErrorMessage": message})


def _json(content: dict[str, str]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
