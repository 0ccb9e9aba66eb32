"""Whether a backend's response is no answer to the request, but makes the device provision, or wipe itself.

| response | means |
|---|---|
| 449, with whatever body | provision first; the status in it, if there is one, says why |
| 200 with Status 142, 143 or 144 | the same |
| 200 with Status 140, or 449 with it | a wipe is ordered: the device gets it by a Provision |

Such a 200 holds nothing but its status, so only the smallest bodies are looked at, and none is gathered: the head of a
response waits until it is known that its body is longer, or is no such status.
"""

import zlib

from sentry_runtime.eas import status
from sentry_runtime.gateway.forward import ResponseHead

PEEK_BYTES = 96  # a status alone has at most 24, compressed some 20 more

_LENGTH_DIGITS = 4  # a Content-Length with more is no small one
PROVISION_FIRST = 449  # MS-ASHTTP 2.2.2.1.1
_PROVISION = frozenset({status.DEVICE_NOT_PROVISIONED, status.POLICY_REFRESH, status.INVALID_POLICY_KEY})
_CALLS = _PROVISION | {status.REMOTE_WIPE_REQUESTED}
_GZIP = 16 + zlib.MAX_WBITS


def wants(head: ResponseHead) -> bool:
    """Whether the beginning of the body decides what this response is."""
    if head.status != 200 or not head.has_body:
        return head.status == PROVISION_FIRST
    return head.length is None or (len(head.length) <= _LENGTH_DIGITS and 0 < int(head.length) <= PEEK_BYTES)


def call(head: ResponseHead, body: bytes) -> int | None:
    """The status by which the backend calls for a Provision; None where it does not. `body` is the whole body, or more of its
    beginning than `PEEK_BYTES`."""
    found = status.stated(_plain(head, body)) if len(body) <= PEEK_BYTES else None
    if found in _CALLS:
        return found
    return status.DEVICE_NOT_PROVISIONED if head.status == PROVISION_FIRST else None


def _plain(head: ResponseHead, body: bytes) -> bytes:
    """The body without its compression; nothing where that is not gzip, or what comes out is longer."""
    coding = next((value for name, value in head.fields if name.lower() == b"content-encoding"), b"identity").lower()
    if coding == b"identity":
        return body
    if coding not in (b"gzip", b"x-gzip"):
        return b""
    reader = zlib.decompressobj(_GZIP)
    try:
        plain = reader.decompress(body, PEEK_BYTES)
    except zlib.error:
        return b""
    return plain if reader.eof else b""
