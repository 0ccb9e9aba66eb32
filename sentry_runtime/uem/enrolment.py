"""The messages by which a Sentry gets its client certificate, and a new one before that ends (docs/uem-api.md, Enrolment).

The Sentry makes its key and keeps it; what it sends is a request for a certificate (PKCS #10), of which only the public key
counts: name, usage and times in the certificate are the UEM's word.
"""

from typing import Annotated, TypeVar

import msgspec

from sentry_runtime.json_text import decoded
from sentry_runtime.settings import PeerName
from sentry_runtime.uem.messages import MessageError

ENROLMENTS = "/v1/enrolments"
RENEWALS = "/v1/renewals"
CSR_CHARS = 8_192  # the largest RSA key that is taken makes 1,700
CERTIFICATE_CHARS = 16_384  # one certificate, no chain: 700 with the keys that are made here

Token = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z")]
"""256 bits by chance, in URL-safe base64."""
Csr = Annotated[str, msgspec.Meta(min_length=1, max_length=CSR_CHARS)]
Certificate = Annotated[str, msgspec.Meta(min_length=1, max_length=CERTIFICATE_CHARS)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every message refuses fields it does not know."""


class Enrol(_Message, frozen=True, kw_only=True):
    """The Sentry of this name asks for its first certificate, with the token that an administrator of the UEM has given out."""

    sentry: PeerName
    token: Token
    csr: Csr


class Renew(_Message, frozen=True, kw_only=True):
    """Who calls with a certificate that was enrolled asks for the next one."""

    csr: Csr


class Enrolled(_Message, frozen=True, kw_only=True):
    """The certificate (PEM, without its authority's: the UEM has that)."""

    certificate: Certificate


_Kind = TypeVar("_Kind", Enrol, Renew, Enrolled)


def decode(body: bytes, kind: type[_Kind]) -> _Kind:
    """The message in a body. Raises `MessageError` naming the place, and never what was found there: it may be a token."""
    try:
        return decoded(msgspec.json.Decoder(kind).decode, body)
    except msgspec.MsgspecError as error:
        raise MessageError(str(error)) from error
