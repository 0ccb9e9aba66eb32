"""What a backend answers: responses, the statuses that are no answer, the place of a redirection, what it offers its clients."""

import asyncio
import re
import zlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from sentry_runtime.eas import offer, status
from sentry_runtime.eas.query import COMMANDS, VERSIONS
from sentry_runtime.gateway import peek, redirects, rewrite
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.credentials import backend_challenges
from sentry_runtime.gateway.dial import Target as Dialled
from sentry_runtime.gateway.forward import Receiver, ResponseHead, Upstream
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.settings import Backend, Redirects
from tests.fuzz.rooms.credentials import ACCESS
from tests.fuzz.target import Target, one_word
from tests.still_channel import StillChannel

BACKEND = Backend(name="mail", host="mail.lab.test", port=8443)
RULES = Redirects(hosts=("mail2.lab.test", ".pool.lab.test"))
ASKER = Claim(None, (), "", "anna", "OPTIONS", "", None)

_TEXT = rb"[\t -~\x80-\xff]*\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 [0-9]{3} " + _TEXT + rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: " + _TEXT + rb")*\r\n")
_LEADS_AWAY = (b"location:", b"x-ms-location:", b"set-cookie:", b"refresh:")


class _Waits(Receiver):
    """The `Receiver` of one response: what came, and whether all of it did."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.over = self.complete = False

    def response_head(self, head: ResponseHead, *, more: bool) -> None:
        assert not self.over
        assert self.head is None
        self.head = head

    def response_body(self, pieces: Sequence[bytes]) -> None:
        assert not self.over
        assert self.head is not None
        assert all(pieces)
        self.body += b"".join(pieces)

    def response_end(self) -> None:
        assert not self.over
        assert self.head is not None
        self.over = self.complete = True

    def upstream_lost(self, reason: str) -> None:
        assert not self.over
        assert reason.isidentifier()
        self.over = True

    def upstream_full(self) -> None:
        pass

    def upstream_ready(self) -> None:
        pass


def response(data: bytes) -> None:
    """A response, in one piece and in several: the same, or lost; what goes to the device of it is one head."""
    asyncio.run(_respond(data))


async def _respond(data: bytes) -> None:
    third = len(data) // 3
    whole, pieces = _heard(data), _heard(data[:third], data[third : 2 * third], data[2 * third :])
    probe = Probe(Dialled(BACKEND, None), b"")
    probe.connection_made(StillChannel())
    probe.data_received(data)
    probe.connection_lost(None)
    fault = probe.status.exception()
    assert isinstance(fault, BackendsDownError | None)
    said = 0 if fault else probe.status.result()
    assert _read(whole) == _read(pieces)
    if whole.head is None or not whole.complete:
        return
    assert whole.body == pieces.body
    head = whole.head
    assert head.status >= 200
    assert said in (0, head.status)  # a probe minds what comes behind the answer, too
    assert head.length is None or int(head.length) == len(whole.body)
    framed = head.has_body and head.length is None
    challenged = backend_challenges(offer.offered(head.fields, provisions=True), ACCESS.challenges)
    for fields in (head.fields, challenged):
        written = rewrite.response_head(head.status, head.phrase, fields, head.length, chunked=framed, close=True)
        assert _HEAD.fullmatch(written)
        lines = written.lower().split(b"\r\n")[1:]
        assert not [line for line in lines if line.startswith(_LEADS_AWAY)]
        assert sum(line.startswith((b"content-length:", b"transfer-encoding:")) for line in lines) <= 1


def _read(waits: _Waits) -> tuple[object, ...]:
    head = waits.head
    if head is None or not waits.complete:
        return (waits.complete,)
    return waits.complete, head.status, head.phrase, head.fields, head.length, head.has_body


def _heard(*pieces: bytes) -> _Waits:
    upstream, waits = Upstream(Dialled(BACKEND, None), ASKER), _Waits()
    upstream.connection_made(StillChannel())
    upstream.begin(waits)
    for piece in pieces:
        if piece:
            upstream.data_received(piece)
    upstream.connection_lost(None)
    assert waits.over
    return waits


def peeked(data: bytes) -> None:
    """The beginning of a body (the first byte picks status and coding): small, of few meanings, the same when compressed."""
    if not data:
        return
    code, coding = (200, 449)[data[0] & 1], (b"identity", b"gzip", b"x-gzip", b"br")[data[0] >> 1 & 3]
    body = data[1:]
    head = ResponseHead(code, b"", [(b"Content-Encoding", coding)], b"%d" % len(body))
    called = peek.call(head, body)
    assert called in (None, status.REMOTE_WIPE_REQUESTED, *range(142, 145))
    assert called is not None or code == 200
    if code == 200 and called is not None:
        assert len(body) <= peek.PEEK_BYTES
        assert peek.wants(head)
    plain = ResponseHead(code, b"", [], b"%d" % len(body))
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(body) + packer.flush()
    if max(len(body), len(packed)) <= peek.PEEK_BYTES:
        zipped = ResponseHead(code, b"", [(b"content-encoding", b"GZIP")], b"%d" % len(packed))
        assert peek.call(zipped, packed) == peek.call(plain, body)


def location(data: bytes) -> None:
    """X-MS-Location: the host and port that others read, and nowhere that is not listed."""
    try:
        found = redirects.read(data)
    except redirects.RedirectError as error:
        one_word(error)
        return
    assert len(data) <= redirects.LOCATION_BYTES
    try:
        other = urlsplit(data.decode("latin-1"))
        port = {"http": 80, "https": 443}[found.scheme] if other.port is None else other.port
    except ValueError:  # an address that is none, a port beyond the last
        other = None
    if other is not None:
        assert (found.scheme, found.host, found.port) == (other.scheme, other.hostname, port)
    try:
        to = redirects.permitted(found, BACKEND, RULES)
    except redirects.RedirectError as error:
        one_word(error)
        return
    assert to.port in (80, 443, 8443)
    assert to.host == "mail2.lab.test" or to.host.endswith(".pool.lab.test")
    assert to.name == to.host == found.host


def offered(data: bytes) -> None:
    """Lists of versions and commands, a field a line: cut to what can be read, and cut once."""
    names = (b"MS-ASProtocolVersions", b"MS-ASProtocolCommands", b"X-MS-RP", b"Server")
    fields = [(names[number % len(names)], value) for number, value in enumerate(data.split(b"\n"))]
    up_to = offer.versions_up_to("14.1")
    left = offer.offered(fields, provisions=True, versions=up_to)
    assert offer.offered(left, provisions=True, versions=up_to) == left
    assert [value for name, value in left if name == names[3]] == [value for name, value in fields if name == names[3]]
    for name, value in left:
        items = [one.strip(b" \t") for one in value.split(b",")]
        known = {one.upper().encode() for one in COMMANDS.values()} if name == names[1] else up_to
        assert name == names[3] or {one.upper() for one in items if one} <= known
    assert up_to < {one.encode() for one in VERSIONS.values()}


def _responses() -> list[bytes]:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ms-sync.wbxml\r\n"
    return [
        start + b"Content-Length: 3\r\n\r\nabc",
        start + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: a\r\n\r\n",
        start + b"Connection: close, X-Own\r\nX-Own: 1\r\n\r\nuntil the end",
        start + b"Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n",
        start + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        start + b"X-Long: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nMS-ASProtocolVersions: 2.5,12.0,99\r\n\r\n",
        b"HTTP/1.1 451 \r\nX-MS-Location: https://mail2.lab.test/Microsoft-Server-ActiveSync\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM TlRMTVNTUAA=\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Up\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI",
        b"HTTP/1.0 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ]


def _peeks() -> list[bytes]:
    bodies = [body for code in (129, 140, 142, 144) if (body := status.status_body("Sync", code)) is not None]
    packed = []
    for body in [*bodies, bytes(200_000)]:
        packer = zlib.compressobj(wbits=31)
        packed.append(b"\x02" + packer.compress(body) + packer.flush())
    return [b"\0" + body for body in bodies] + [b"\1" + body for body in bodies] + packed


_PATH = b"/Microsoft-Server-ActiveSync"

TARGETS = {
    "response": Target(response, _responses()),
    "peek": Target(peeked, _peeks()),
    "location": Target(
        location,
        [
            b"https://mail2.lab.test" + _PATH,
            b"HTTPS://A.Pool.lab.test:8443" + _PATH + b"/default.eas?Cmd=Sync",
            b"http://[2001:db8::1]:80" + _PATH,
            b"https://mail2.lab.test:99999" + _PATH,
            b"https://mail2.lab.test@evil.test" + _PATH,
            b"https://mail2.lab.test/owa",
            b"mail2.lab.test",
        ],
        longest=redirects.LOCATION_BYTES + 16,
    ),
    "offer": Target(
        offered,
        [
            b"2.5,12.0,12.1,14.0,14.1,16.0,16.1\nSync,SendMail,FolderSync,GetHierarchy\n2.5, 12.0\nSOGo",
            b"99.0\nsync,SYNC,Unknown\n\nx",
            b" 14.1 ,,14.1\t\nProvision,provision",
        ],
    ),
}
