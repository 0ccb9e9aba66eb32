"""The query of an ActiveSync request: who asks for what, from the plain or the base64 form (MS-ASHTTP 2.2.1.1.1).

Strict in structure, so that a backend cannot read another device or command from the same bytes: a part that is
doubled, missing, out of bounds or contradicted by a header is refused, never guessed. Lenient only where real clients
differ and nothing can be read twice: the URL-safe base64 alphabet, missing padding, names in any case.
"""

import base64
import re
from dataclasses import dataclass

from sentry_runtime.eas import device_id as ids
from sentry_runtime.eas.device_id import DEVICE_ID_CHARS, DeviceId, DeviceIdError, Form

QUERY_BYTES = 4_096  # the longest real query (SmartForward with a LongId) stays below 1 KiB
DEVICE_TYPE_CHARS = 64  # "SAMSUNGSMG930F", "WindowsOutlook15": real ones stay below 32
USER_CHARS = 320  # RFC 3696: 64 of local part, "@", 255 of domain

COMMANDS: dict[int, str] = {
    0: "Sync",
    1: "SendMail",
    2: "SmartForward",
    3: "SmartReply",
    4: "GetAttachment",
    5: "GetHierarchy",
    6: "CreateCollection",
    7: "DeleteCollection",
    8: "MoveCollection",
    9: "FolderSync",
    10: "FolderCreate",
    11: "FolderDelete",
    12: "FolderUpdate",
    13: "MoveItems",
    14: "GetItemEstimate",
    15: "MeetingResponse",
    16: "Search",
    17: "Settings",
    18: "Ping",
    19: "ItemOperations",
    20: "Provision",
    21: "ResolveRecipients",
    22: "ValidateCert",
    23: "Find",
}
VERSIONS: dict[int, str] = {25: "2.5", 120: "12.0", 121: "12.1", 140: "14.0", 141: "14.1", 160: "16.0", 161: "16.1"}

_COMMAND_NAMES = {name.upper(): name for name in COMMANDS.values()}
_VERSION_NAMES = frozenset(VERSIONS.values())
_BASE64_VERSIONS = frozenset({121, 140, 141, 160, 161})  # the base64 form began with 12.1
_PARAMETER_TAGS = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8})  # AttachmentName ... Options, User
_USER_TAG = 8

# What may stand in a plain query. Not ";" and "?": some servers split there, and would read another device than we do.
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,:@/%=\\]*")
_NAME = re.compile(rb"[A-Za-z0-9_]+")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BASE64_ESCAPE = re.compile(rb"%(2[Bb]|2[Ff]|3[Dd])")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\-_]+={0,2}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PLAIN_KEY = re.compile(rb"(?i)((?:^|&)policykey=)[^&]*")
_BASE64_SPECIAL = re.compile(rb"[+/=]")
_BLOB_DEVICE_ID = 4  # where its size stands, behind version, command and locale
_POLICY_KEY = re.compile(r"[0-9]{1,10}")
_UINT32_MAX = 0xFFFF_FFFF


class QueryError(ValueError):
    """The query or the headers that belong to it cannot be taken; the message is one word for the audit line."""


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """What the request says of itself.

    `device_id` and `aliases` are those of `sentry_runtime.eas.device_id`. `protocol` is "" and `policy_key` None where the
    client did not say; `user` is the `User` parameter as sent, decoded, or None.
    """

    device_id: str
    aliases: tuple[str, ...]
    device_type: str
    user: str | None
    command: str
    protocol: str
    policy_key: int | None


def parse(query: bytes, version: str | None = None, policy_key: str | None = None) -> ParsedQuery:
    """Read a query (raw, without "?") with the values of `MS-ASProtocolVersion` and `X-MS-PolicyKey`, if they were sent.

    Raises `QueryError`.
    """
    if len(query) > QUERY_BYTES:
        raise QueryError("query_too_long")
    if not query:
        raise QueryError("query_missing")
    # Base64 has "=" only as padding and never "&"; what has either elsewhere is the plain form.
    text = _BASE64_ESCAPE.sub(_unescape_one, query)
    if b"&" in query or b"=" in text.rstrip(b"="):
        return _plain(query, version, policy_key)
    return _blob(text, version, policy_key)


def is_base64(query: bytes) -> bool:
    """Whether a query that `parse` took is of the base64 form, which holds the policy key itself."""
    return b"&" not in query and b"=" not in _BASE64_ESCAPE.sub(_unescape_one, query).rstrip(b"=")


def with_policy_key(query: bytes, key: int) -> bytes:
    """The query with this policy key (0: none) wherever it had one, else byte for byte; it must be one that `parse` took.

    A base64 form gets room for the key where it had none. The plain form has its key in a header, but for some clients'
    phase 2, which have it in a parameter of their own.
    """
    if not is_base64(query):
        return _PLAIN_KEY.sub(rb"\g<1>%d" % key, query)
    text = _BASE64_ESCAPE.sub(_unescape_one, query)
    blob = bytearray(_decode(text))
    at = _BLOB_DEVICE_ID + 1 + blob[_BLOB_DEVICE_ID]  # the size of the key
    size = 4 if key else blob[at]
    held = bytes((size,)) + key.to_bytes(size, "little")
    if blob[at : at + 1 + blob[at]] == held:
        return query
    blob[at : at + 1 + blob[at]] = held
    digits, bare = base64.b64encode(blob), text.rstrip(b"=")
    if len(digits.rstrip(b"=")) == len(bare):
        digits = digits.rstrip(b"=") + text[len(bare) :]  # as the client wrote it
    elif bare == text and len(bare) % 4:
        digits = digits.rstrip(b"=")  # the client does not pad
    if b"-" in text or b"_" in text:
        digits = digits.translate(_TO_URL_SAFE)
    return _BASE64_SPECIAL.sub(_escape_one, digits) if b"%" in query else digits


def _escape_one(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _plain(query: bytes, version: str | None, policy_key: str | None) -> ParsedQuery:
    if not _PLAIN.fullmatch(query) or _BAD_ESCAPE.search(query):
        raise QueryError("query_characters")
    given = _parameters(query)
    command = _COMMAND_NAMES.get(_text(given.get(b"cmd"), 32).upper())
    if command is None:
        raise QueryError("command_unknown" if b"cmd" in given else "command_missing")
    written = _text(given.get(b"deviceid"), DEVICE_ID_CHARS)
    if not written:
        raise QueryError("device_id_missing")
    device_id = _device_id(Form.PLAIN, written.encode())
    device_type = _text(given.get(b"devicetype"), DEVICE_TYPE_CHARS)
    if not device_type:
        raise QueryError("device_type_missing")
    if version is not None and version not in _VERSION_NAMES:
        raise QueryError("protocol_unknown")
    return ParsedQuery(
        device_id=device_id.canonical,
        aliases=device_id.aliases,
        device_type=device_type,
        user=_text(given[b"user"], USER_CHARS) if b"user" in given else None,
        command=command,
        protocol=version or "",
        policy_key=None if policy_key is None else _number(policy_key),
    )


def _parameters(query: bytes) -> dict[bytes, bytes]:
    given: dict[bytes, bytes] = {}
    for part in query.split(b"&"):
        name, equals, value = part.partition(b"=")
        if not equals or not _NAME.fullmatch(name):
            raise QueryError("parameter_malformed")
        name = name.lower()
        if name in given:
            raise QueryError("parameter_doubled")
        given[name] = value
    return given


def _text(value: bytes | None, bound: int) -> str:
    return "" if value is None else _bounded(_ESCAPE.sub(_unescape_one, value), bound)


def _bounded(value: bytes, bound: int) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise QueryError("parameter_encoding") from None
    if len(text) > bound:
        raise QueryError("parameter_too_long")
    if not text.isprintable():
        raise QueryError("parameter_characters")
    return text


def _unescape_one(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


def _number(text: str) -> int:
    if not _POLICY_KEY.fullmatch(text) or int(text) > _UINT32_MAX:
        raise QueryError("policy_key_malformed")
    return int(text)


class _Fields:
    """Takes fields of given sizes from the front of the blob."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._blob):
            raise QueryError("blob_truncated")
        field = self._blob[self._at : end]
        self._at = end
        return field

    def take_counted(self) -> bytes:
        return self.take(self.take(1)[0])

    @property
    def left(self) -> int:
        return len(self._blob) - self._at


def _blob(text: bytes, version: str | None, policy_key: str | None) -> ParsedQuery:
    fields = _Fields(_decode(text))
    version_code, command_code = fields.take(1)[0], fields.take(1)[0]
    fields.take(2)  # the locale says nothing about who asks
    device_id, key = fields.take_counted(), fields.take_counted()
    device_type = fields.take_counted()
    if version_code not in _BASE64_VERSIONS:
        raise QueryError("protocol_unknown")
    if command_code not in COMMANDS:
        raise QueryError("command_unknown")
    known_as = _device_id(Form.BASE64, device_id)
    if len(key) not in (0, 4):
        raise QueryError("policy_key_malformed")
    user = _blob_user(fields)
    protocol = VERSIONS[version_code]
    number = int.from_bytes(key, "little") if key else None
    _agree(protocol, number, version, policy_key)
    return ParsedQuery(
        device_id=known_as.canonical,
        aliases=known_as.aliases,
        device_type=_ascii(device_type, DEVICE_TYPE_CHARS),
        user=user,
        command=COMMANDS[command_code],
        protocol=protocol,
        policy_key=number,
    )


def _decode(text: bytes) -> bytes:
    if not _BASE64.fullmatch(text):
        raise QueryError("query_characters")
    digits = text.rstrip(b"=").translate(_URL_SAFE)
    if len(digits) % 4 == 1:
        raise QueryError("blob_truncated")
    return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)


def _blob_user(fields: _Fields) -> str | None:
    seen: dict[int, bytes] = {}
    while fields.left:
        tag = fields.take(1)[0]
        if tag not in _PARAMETER_TAGS:
            raise QueryError("parameter_malformed")
        if tag in seen:
            raise QueryError("parameter_doubled")
        seen[tag] = fields.take_counted()
    return _bounded(seen[_USER_TAG], USER_CHARS) if _USER_TAG in seen else None


def _agree(protocol: str, number: int | None, version: str | None, policy_key: str | None) -> None:
    """With the base64 form the headers should not be there; where they are they must say the same."""
    if version is not None and version != protocol:
        raise QueryError("protocol_conflict")
    if policy_key is not None and _number(policy_key) != (number or 0):
        raise QueryError("policy_key_conflict")


def _ascii(value: bytes, bound: int) -> str:
    text = value.decode("latin-1")
    if not text:
        raise QueryError("device_type_missing")
    if len(text) > bound or not text.isascii() or not text.isprintable():
        raise QueryError("parameter_characters")
    return text


def _device_id(form: Form, octets: bytes) -> DeviceId:
    try:
        return ids.read(form, octets)
    except DeviceIdError:
        raise QueryError("device_id_malformed") from None
