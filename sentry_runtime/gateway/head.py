"""One HTTP/1.1 request head: bytes to a `Head`, or a refusal.

llhttp parses; around it stands a stricter grammar, because a head that front and back can read in two ways is how one
request becomes two (RFC 9112 11.2). Refused are: anything but origin-form targets, paths that are not canonical, line
ends other than CRLF, folded lines, control characters, missing or doubled Host, every doubled field that decides
something, Content-Length together with Transfer-Encoding, any Transfer-Encoding but exactly one `chunked`, and a
`Connection` that names other fields (it would take out of the request what we have judged it by).
"""

import re
from dataclasses import dataclass, field

import httptools

KEPT_HEADS = 4  # of a connection: Ping, Sync and what goes between them
KEPT_BYTES = 2_048  # of a head that is kept; longer ones carry the tokens of a log-on, which do not come twice
FIELDS_MAX = 100  # Apache's default; a phone sends about fifteen

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(
    rb"(?:" + _TOKEN + rb") (?P<target>[!-~]+) HTTP/1\.(?P<minor>[01])\r\n"
    rb"(?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)*\r\n"
)
_END = b"\r\n\r\n"
_BAD_LINE_END = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_PATH = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,=:@/]*")
_NOT_CANONICAL = re.compile(rb"//|/\.{1,2}(?:/|\Z)")
_DIGITS = re.compile(rb"[0-9]{1,15}")  # a petabyte; and short enough that no peer's integer overflows
_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"})
_HOST = re.compile(rb"[A-Za-z0-9.\-_]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

# Fields that decide how a request is read or who asks: one of each, or none.
_SINGLE = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"expect",
        b"content-type",
        b"content-encoding",
        b"user-agent",
        b"ms-asprotocolversion",
        b"x-ms-policykey",
    }
)


class HeadError(ValueError):
    """The request cannot be taken: the HTTP status to answer with and one word for the audit line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Head:
    """A request head that has one reading only.

    `path` is canonical, `query` the raw bytes behind "?" (b"" without one). `fields` are name and value in the order sent;
    `single` has the values of fields that may occur once, by lower-case name. `length` is the body's size, or None when the
    body is chunked.
    """

    method: str
    path: str
    query: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    single: dict[bytes, bytes]
    length: int | None
    expects_continue: bool
    keep_alive: bool
    rewritten: tuple[tuple[object, ...], bytes] | None = field(default=None, init=False, compare=False, repr=False)
    """The last head that `rewrite.request_head` has made of this one, with all else that it was made of."""
    accounted: tuple[object, object, str, str] | None = field(default=None, init=False, compare=False, repr=False)
    """What `account` has last written of this one, with the peer and the claim of which it was."""


def end_of_head(data: bytearray | bytes, bound: int, scanned: int = 0) -> int:
    """Where the head in `data` ends (behind its empty line), or 0 while more is needed.

    `scanned` bytes were looked at by a call before, which found no end: a head that trickles is read once, not anew with
    each byte. Raises `HeadError`: 431 beyond `bound` bytes, 400 as soon as a line ends in anything but CRLF.
    """
    end = data.find(_END, max(0, scanned - 3), bound) + 4
    # One byte back: a CR at the end of what was scanned is judged by what follows it.
    if _BAD_LINE_END.search(data, max(0, scanned - 1), end if end > 3 else bound):
        raise HeadError(400, "line_end")
    if end > 3:
        return end
    if len(data) >= bound:
        raise HeadError(431, "head_too_large")
    return 0


class Heads:
    """Reads the heads of one connection. A phone says the same few again and again, and equal bytes have one reading: the last
    ones are kept with it."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Head] = {}

    def read(self, data: bytearray, bound: int, scanned: int = 0) -> tuple[Head, int] | None:
        """The head at the beginning of `data` and where it ends; None while more is needed. As `end_of_head` and `parse`."""
        end = data.find(_END, max(0, scanned - 3), bound) + 4
        raw = bytes(data[:end]) if end > 3 else b""
        head = self._kept.get(raw)
        if head is not None:
            return head, end
        end = end_of_head(data, bound, scanned)
        if not end:
            return None
        head = parse(raw)
        if end <= KEPT_BYTES:
            if len(self._kept) >= KEPT_HEADS:
                self._kept.clear()
            self._kept[raw] = head
        return head, end


def parse(raw: bytes) -> Head:
    """Read one complete head (with its empty line). Raises `HeadError`."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise HeadError(400, "head_malformed")
    seen = _Seen()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer we do not take up (RFC 9110 7.8); CONNECT falls to the target's form
    except httptools.HttpParserError:
        raise HeadError(400, "head_malformed") from None
    # Two readers, one reading: llhttp must have seen the target that the grammar saw.
    if not seen.complete or seen.target != match["target"] or len(seen.fields) > FIELDS_MAX:
        raise HeadError(400, "head_malformed")
    path, query = _target(seen.target)
    single = _singles(seen.fields)
    minor = int(match["minor"])
    length = _length(single, minor)
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        minor=minor,
        fields=seen.fields,
        single=single,
        length=length,
        expects_continue=_expects_continue(single, minor),
        keep_alive=_keeps_alive(seen.fields) and minor == 1,
    )


class _Seen:
    """What llhttp calls."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self.fields.append((name, (value or b"").strip(b" \t")))  # llhttp leaves what follows the value

    def on_headers_complete(self) -> None:
        self.complete = True


def _target(target: bytes) -> tuple[str, bytes]:
    path, _, query = target.partition(b"?")
    if not _PATH.fullmatch(path) or _NOT_CANONICAL.search(path) or b"#" in query:
        raise HeadError(400, "target_not_canonical")
    return path.decode("ascii"), query


def _singles(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    single: dict[bytes, bytes] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in _SINGLE:
            if lower in single:
                raise HeadError(400, "field_doubled")
            single[lower] = value
    if not _HOST.fullmatch(single.get(b"host", b"")):
        raise HeadError(400, "host_malformed" if b"host" in single else "host_missing")
    return single


def _length(single: dict[bytes, bytes], minor: int) -> int | None:
    coding, length = single.get(b"transfer-encoding"), single.get(b"content-length")
    if coding is None:
        if length is not None and not _DIGITS.fullmatch(length):
            raise HeadError(400, "length_malformed")
        return int(length or b"0")
    if length is not None or minor == 0 or coding.lower() != b"chunked":
        raise HeadError(400, "framing_ambiguous")
    return None


def _expects_continue(single: dict[bytes, bytes], minor: int) -> bool:
    expect = single.get(b"expect")
    if expect is None or minor == 0:  # RFC 9110 10.1.1: an HTTP/1.0 client's expectation is ignored
        return False
    if expect.lower() != b"100-continue":
        raise HeadError(417, "expectation_unknown")
    return True


def _keeps_alive(fields: list[tuple[bytes, bytes]]) -> bool:
    values = [value.lower() for name, value in fields if name.lower() == b"connection"]
    options = {option.strip(b" \t") for value in values for option in value.split(b",")} - {b""}
    if not options <= _CONNECTION_OPTIONS:
        raise HeadError(400, "connection_names_field")
    return b"close" not in options
