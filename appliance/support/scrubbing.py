"""The last look at what leaves: no secret that this appliance knows, and nothing that looks like one, in any usual writing.

Nothing that goes into a bundle should hold a secret to begin with. This is for the day on which something does all the same.
"""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Final

from appliance.config.secrets import MASK

SHORTEST = 6  # characters; shorter ones stand in any text by chance, and no password policy here allows them
KEY_CHARACTERS = 24  # the shortest key of SNMP, in hex, has 32
EDGE = 4  # characters of base64 at either end that depend on the neighbours of what is encoded

_PATTERNS: Final = (
    # RFC 7617, 6750, 4559: what a device or a browser proves itself with.
    re.compile(r"(?i)(\b(?:basic|bearer|negotiate|ntlm)\s+)[A-Za-z0-9+/=_.~-]{8,}"),
    re.compile(r"(?i)((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)[^\s\"',}][^\r\n\"',}]*"),
    re.compile(r"(?i)((?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\r\n\"'}]+"),
    re.compile(r"(?i)(sentry-enable-secret[\"']?\s*[:=]\s*[\"']?)[^\r\n\"'}]+"),
    re.compile(r"(__Host-[A-Za-z-]+=)[^\s;\"']+"),
    re.compile(r"(\bsentry_)[A-Za-z0-9_-]{16,}"),  # a token of the REST API
    re.compile(r"(\$(?:y|gy|7|2[abxy]|5|6|1)\$)[./A-Za-z0-9$=,]{8,}"),  # crypt(5)
    re.compile(r"(https?://)[^/\s@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(\b(?:passphrase|password|passwd|secret|token)[\"']?\s*[=]\s*[\"']?)[^\s\"',}]{3,}"),
)
_PRIVATE = re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)


class Scrubber:
    """Knows the `secrets`; `clean` returns a text without them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        written = {form for secret in secrets for form in forms(secret)}
        # The longest first: what is masked must not leave the rest of a longer one.
        self._forms = tuple(sorted(written, key=lambda form: (-len(form), form)))

    def clean(self, text: str) -> str:
        """`text` with a mask for each of them."""
        text = _PRIVATE.sub(rf"\1 {MASK} \2", text)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


def words(texts: Iterable[str]) -> Iterator[str]:
    """What in files of secrets is a secret by itself: their long words, such as a key beside the name of its user."""
    for text in texts:
        for word in text.split():
            if len(word) >= KEY_CHARACTERS:
                yield word.removeprefix("0x")


def forms(secret: str) -> Iterator[str]:
    """How a secret may be written in a log, each of its lines for itself: as it is, in JSON, in a URL, in hex, in base64 at
    each place that it may have in what is encoded (RFC 4648; `user:password` shifts it)."""
    for line in {secret, *secret.splitlines()}:
        value = line.strip()
        if len(value) < SHORTEST or value.startswith("-----"):
            continue
        data = value.encode()
        yield value
        yield json.dumps(value)[1:-1]
        yield json.dumps(value, ensure_ascii=False)[1:-1]
        yield urllib.parse.quote(value, safe="")
        yield urllib.parse.quote_plus(value)
        yield data.hex()
        yield data.hex().upper()
        for shift in range(3):
            inner = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
            kept = inner[EDGE if shift else 0 : -EDGE]
            if len(kept) >= SHORTEST:
                yield kept
                yield kept.replace("+", "-").replace("/", "_")
