"""The name in a bearer token (RFC 6750), where that is a JSON Web Token (RFC 7519). Pure.

Unverified, as a Basic password is: the backend judges the token, and a forged one is refused there. Which claim is the
user's name is the issuer's habit; the first one of the table that the token has counts.

| claim | who writes it |
|---|---|
| `upn` | Active Directory Federation Services, Entra ID (version 1) |
| `preferred_username` | OpenID Connect (Core 5.1), Entra ID (version 2) |
| `unique_name` | Entra ID (version 1), Active Directory Federation Services |
| `email` | OpenID Connect |
"""

import base64
import re

import msgspec

NAME_CLAIMS = ("upn", "preferred_username", "unique_name", "email")

# JWS Compact Serialization (RFC 7515 7.1). An encrypted one has five parts, an opaque token any.
_JWS = re.compile(rb"[A-Za-z0-9\-_]+\.([A-Za-z0-9\-_]+)\.[A-Za-z0-9\-_]*")


class BearerError(ValueError):
    """The token names nobody; one word for the audit line."""


def name(token: bytes) -> str:
    """The user's name in the token. Raises `BearerError` for one that is opaque or cannot be read, or without a name."""
    match = _JWS.fullmatch(token)
    if match is None:
        raise BearerError("token_opaque")
    digits = match[1]
    try:
        payload = msgspec.json.decode(base64.urlsafe_b64decode(digits + b"=" * (-len(digits) % 4)))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise BearerError("token_malformed") from None
    if not isinstance(payload, dict):
        raise BearerError("token_malformed")
    for claim in NAME_CLAIMS:
        if claim in payload:
            found = payload[claim]
            if not isinstance(found, str) or not found:
                raise BearerError("token_malformed")
            return found
    raise BearerError("token_without_name")
