"""A signed PUT for S3: AWS Signature Version 4, with the digest of the whole body in it (pure).

Source: AWS General Reference, "Signature Version 4 signing process", and Amazon S3 API Reference, "Authenticating requests:
using the Authorization header (AWS Signature Version 4)". HMAC and SHA-256 are OpenSSL's, by way of `hmac` and `hashlib`.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """Who signs."""

    key_id: str
    secret: str = field(repr=False)
    region: str


def encoded(path: str) -> str:
    """A path as S3 signs it: each octet but the unreserved ones (RFC 3986 2.3) and the slash is written as %XX, once."""
    return quote(path, safe="/-_.~")


def headers(method: str, host: str, path: str, body: bytes, key: AccessKey, when: datetime) -> Mapping[str, str]:
    """The headers that make this request (to `path`, which is encoded already and has no query) the key's, at `when` (UTC)."""
    digest = hashlib.sha256(body).hexdigest()
    moment = when.strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{moment[:8]}/{key.region}/{SERVICE}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    secret = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.digest(secret, to_sign.encode(), "sha256").hex()
    credential = f"Credential={key.key_id}/{scope}"
    return {**signed, "authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}
