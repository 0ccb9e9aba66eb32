"""What a device, or whoever is in its place, sends: request heads, queries, bodies; and what a balancer says of it."""

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import fits
from sentry_runtime.eas import query
from sentry_runtime.gateway import autodiscover, body, identify, proxy_protocol, rewrite
from sentry_runtime.gateway.gate import forwarded_source, place_of
from sentry_runtime.gateway.head import FIELDS_MAX, Head, HeadError, end_of_head, parse
from sentry_runtime.gateway.identify import DeniedError, Service
from sentry_runtime.gateway.proxy_protocol import Origin, ProxyHeaderError
from sentry_runtime.settings import Backend
from sentry_runtime.uem.messages import ALIASES, check_key, check_words
from tests.fuzz.rooms.credentials import ACCESS, AUTHORIZATIONS
from tests.fuzz.target import Target, one_word, refused_in_order
from tests.gateway.test_smuggling import CORPUS

HEAD_BYTES = 16_384
OUR_FIELDS = 5  # the most that `rewrite` adds
BACKEND = Backend(name="mail", host="mail.lab.test", port=80)
HIDDEN = b"x-client-certificate"


def _parsed(data: bytes) -> Head | None:
    """The head in `data`; None where there is none yet, none that is taken, or one with no room for the fields that we add."""
    try:
        end = end_of_head(data, HEAD_BYTES)
        got = parse(data[:end]) if end else None
        return got if got is not None and len(got.fields) <= FIELDS_MAX - OUR_FIELDS else None
    except HeadError as error:
        refused_in_order(error.status in (400, 417, 431) and error.reason.isidentifier(), error)
        return None


def head(data: bytes) -> None:
    """A request head, and what goes to the backend of it."""
    got = _parsed(data)
    if got is None:
        return
    assert got.length is None or got.length >= 0
    # What else there is to a request's line has been judged before anything is written anew.
    got.query = b"" if b"%" in got.query else got.query
    again = parse(rewrite.request_head(got, BACKEND, "192.0.2.1"))
    framing = (again.length, again.single[b"host"], again.query)
    bodyless = got.length == 0 and got.method != "POST"
    assert framing == (0 if bodyless else got.length, b"mail.lab.test", got.query)


def request(data: bytes) -> None:
    """A whole head: where it leads, who asks for what, and that the backend is told of nobody else."""
    got = _parsed(data)
    if got is None:
        return
    try:
        service = identify.service(got, autodiscover=True)
        if service is Service.ACTIVESYNC:
            _claimed(got)
        elif service is Service.AUTODISCOVER_XML:
            autodiscover.claim(got, service, ACCESS)
        elif service is Service.AUTODISCOVER_JSON:
            reply = autodiscover.of_query(got.query, "mail.lab.test")
            assert reply.reason.isidentifier()
            assert msgspec.json.decode(reply.answer.body, type=dict[str, str])
    except HeadError as error:
        refused_in_order(error.status == 400 and error.reason.isidentifier(), error)
    except DeniedError as error:
        refused_in_order(error.status in (401, 403, 404, 405, 413, 415) and error.reason.isidentifier(), error)


def _claimed(got: Head) -> None:
    claim = identify.identify(got, ACCESS)
    assert claim == identify.identify(got, ACCESS)
    assert claim.key is None or claim.opens or fits(claim.key)
    assert claim.command == "OPTIONS" or claim.command in query.COMMANDS.values()
    assert claim.protocol in ("", *query.VERSIONS.values())
    if claim.key is not None and not claim.opens:
        _check_askable(control.Ask(key=claim.key, aliases=claim.aliases, device_type=claim.device_type))
    written = rewrite.request_head(got, BACKEND, "192.0.2.1", policy_key=7, logged_on=True, hidden=frozenset({HIDDEN}))
    again = parse(written)
    assert b"authorization" not in again.single
    names = [name.lower() for name, _ in again.fields]
    assert not {HIDDEN, b"cookie", b"connection"} & set(names)
    assert [value for name, value in again.fields if name.lower() == b"x-forwarded-for"] == [b"192.0.2.1"]
    if again.query:
        there = identify.identify(_with(again, got.single.get(b"authorization", b"")), ACCESS)
        assert (there.key, there.command, there.policy_key) == (claim.key, claim.command, 7)


def _check_askable(ask: control.Ask) -> None:
    """Agent and UEM take the question about the device: else nobody could ever decide on it."""
    assert control.decode_request(msgspec.json.encode(ask)) == ask
    assert len(ask.aliases) <= ALIASES
    for device_id in (ask.key.device_id, *ask.aliases):
        check_key(device_id, ask.key.principal)
    check_words("$", device_type=ask.device_type)


def _with(again: Head, authorization: bytes) -> Head:
    again.single[b"authorization"] = authorization
    return again


def asked(data: bytes) -> None:
    """A query, in both forms."""
    for version, key in ((None, None), ("14.1", "0")):
        try:
            got = query.parse(data, version, key)
        except query.QueryError as error:
            one_word(error)
            continue
        assert fits(DeviceKey(got.device_id, "anna"))
        assert got.command in query.COMMANDS.values()
        for new in (0, 0x89ABCDEF):
            again = query.parse(query.with_policy_key(data, new), version, None if key is None else str(new))
            assert (again.device_id, again.aliases, again.command) == (got.device_id, got.aliases, got.command)
            assert again.user == got.user
            if new and query.is_base64(data):
                assert again.policy_key == new
            elif key is None and got.policy_key is not None:
                assert again.policy_key == 0


def chunks(data: bytes) -> None:
    """A chunked body, in one piece and in two: the same payload, the same end, or both refused."""

    def outcome(*pieces: bytes) -> tuple[bytes, bool] | None:
        reader, payload = body.Chunked(), b""
        try:
            for piece in pieces:
                payload += reader.take(piece)[0]
        except body.BodyError as error:
            one_word(error)
            return None
        return payload, reader.done

    cut = len(data) // 2
    assert outcome(data) == outcome(data[:cut], data[cut:])


def forwarded(data: bytes) -> None:
    """X-Forwarded-For, a field a line: nothing before the last item matters, and what is taken is an address."""
    values = data.split(b"\n")
    got = forwarded_source(values)
    assert got == forwarded_source([b"203.0.113.9, evil", values[-1]])
    assert got == forwarded_source([b"203.0.113.9," + values[-1].rpartition(b",")[2]])
    if not got:
        return
    address = ip_address(got)
    assert str(address) == got == forwarded_source([got.encode()])
    assert not isinstance(address, IPv6Address) or (address.ipv4_mapped, address.scope_id) == (None, None)
    assert place_of(place_of(got)) == place_of(got)


def proxied(data: bytes) -> None:
    """A PROXY header with what comes behind it: read as a plainer reader reads it, and not a byte more taken."""
    fixed = data[: proxy_protocol.FIXED_BYTES]
    try:
        whole = data[: len(fixed) + proxy_protocol.rest_bytes(fixed)]
        got = proxy_protocol.parse(whole)
    except ProxyHeaderError as error:
        one_word(error)
        refused_in_order(not _told_plainly(data), error)
        return
    assert _told_plainly(data) == (got,)
    assert all(proxy_protocol.may_begin(whole[:size]) for size in range(len(whole)))
    for other in (whole + b"\0", whole[:-1]):
        with contextlib.suppress(ProxyHeaderError):
            proxy_protocol.parse(other)
            raise AssertionError("a header of another length than it says")


def _told_plainly(data: bytes) -> tuple[Origin | None, ...]:
    """What the header says, by the letter of `proxy-protocol.txt` and one address at a time; () for none that is taken."""
    if len(data) < 16:
        return ()
    signature, command, kind, size = struct.unpack_from("!12sBBH", data)
    rest = data[16 : 16 + size]
    family, protocol = divmod(kind, 16)
    well = signature == b"\r\n\r\n\0\r\nQUIT\n" and size <= proxy_protocol.REST_BYTES and len(rest) == size
    if not well or command not in (0x20, 0x21) or family > 3 or protocol > 2:
        return ()
    taken = (0, 12, 36, 216)[family]
    if size < taken or not _extras_plainly(data[: 16 + size], 16 + taken):
        return ()
    return (None,) if command == 0x20 else _addresses_plainly(kind, rest[:taken])


def _addresses_plainly(kind: int, addresses: bytes) -> tuple[Origin, ...]:
    if kind == 0x11:
        four, _, port, _ = struct.unpack("!4s4sHH", addresses)
        return (Origin(str(IPv4Address(four)), port),)
    if kind == 0x21:
        six, _, port, _ = struct.unpack("!16s16sHH", addresses)
        mapped = six[:12] == bytes(10) + b"\xff\xff"
        return (Origin(str(IPv4Address(six[12:]) if mapped else IPv6Address(six)), port),)
    return ()


def _extras_plainly(header: bytes, at: int) -> bool:
    sums = []
    while at < len(header):
        if at + 3 > len(header):
            return False
        size = header[at + 1] * 256 + header[at + 2]
        if at + 3 + size > len(header):
            return False
        if header[at] == 3:
            sums.append((at + 3, size))
        at += 3 + size
    if not sums:
        return True
    where, size = sums[0]
    if len(sums) > 1 or size != 4:
        return False
    summed = bytearray(header)
    summed[where : where + 4] = bytes(4)
    return _crc32c_plainly(bytes(summed)) == int.from_bytes(header[where : where + 4], "big")


def _crc32c_plainly(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 & -(value & 1))
    return ~value & 0xFFFFFFFF


def _proxy_header(kind: int, addresses: bytes, extras: bytes = b"", command: int = 0x21) -> bytes:
    return struct.pack("!12sBBH", proxy_protocol.SIGNATURE, command, kind, len(addresses + extras)) + addresses + extras


def _summed(header: bytes) -> bytes:
    """With its last four bytes as the checksum."""
    return header[:-4] + _crc32c_plainly(header[:-4] + bytes(4)).to_bytes(4, "big")


def _proxy_headers() -> list[bytes]:
    four = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack("!HH", 40_000, 443)
    six = IPv6Address("2001:db8::1").packed + IPv6Address("::ffff:192.0.2.2").packed + struct.pack("!HH", 1, 443)
    mapped = six[16:32] + six[:16] + six[32:]
    checksum = b"\x03\x00\x04" + bytes(4)
    return [
        _proxy_header(0x11, four),
        _proxy_header(0x11, four) + b"\x16\x03\x01",
        _proxy_header(0x11, four, b"\x01\x00\x02h2\x04\x00\x00"),
        _summed(_proxy_header(0x21, six, checksum)),
        _proxy_header(0x11, four, checksum),
        _proxy_header(0x21, mapped),
        _proxy_header(0x31, bytes(216)),
        _proxy_header(0x12, four),
        _proxy_header(0x00, b"", command=0x20),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n",
    ]


QUERIES = [
    b"Cmd=FolderSync&User=anna&DeviceId=PHONE1&DeviceType=iPhone",
    b"Cmd=Sync&User=LAB%5Canna&DeviceId=Appl87025CNUA4S&DeviceType=iPhone&CollectionId=5%3A1&SaveInSent=T",
    b"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l",  # the example of MS-ASHTTP 2.2.1.1.1.1
    b"jRMJBBAAAQIDBAUGBwgJCgsMDQ4PBDoAAAAGaVBob25lBwEB",
    b"jRMJBAZQSE9ORTEAB2FuZHJvaWQIBGFubmE%3D",
]


def _requests() -> list[bytes]:
    start = b"POST /Microsoft-Server-ActiveSync?%s HTTP/1.1\r\nHost: mail.lab.test\r\n"
    rest = b"MS-ASProtocolVersion: 14.1\r\nX-MS-PolicyKey: 7\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: a=b\r\n\r\n"
    whole = [start % QUERIES[0] + b"Authorization: " + one + b"\r\n" + rest for one in AUTHORIZATIONS]
    whole += [start % one + b"Authorization: " + AUTHORIZATIONS[0] + b"\r\n\r\n" for one in QUERIES]
    json = b"/autodiscover/autodiscover.json?Email=anna%40lab.test&Protocol=ActiveSync&RedirectCount=1"
    return [
        *whole,
        b"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\nAuthorization: "
        + AUTHORIZATIONS[0]
        + b"\r\n\r\n",
        b"GET " + json + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /Autodiscover/Autodiscover.xml HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    ]


TARGETS = {
    "head": Target(head, list(CORPUS.values())),
    "request": Target(request, _requests()),
    "query": Target(asked, QUERIES),
    "chunks": Target(
        chunks,
        [
            b"3\r\nabc\r\n0\r\n\r\n",
            b"0\r\n\r\n",
            b"00000a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\nnext",
            b"3;x=y\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nX-Note: a\r\n\r\n",
        ],
    ),
    "forwarded": Target(
        forwarded,
        [
            b"192.0.2.1",
            b"10.0.0.1, 2001:db8::1",
            b"[2001:db8::1]",
            b"::ffff:192.0.2.1",
            b"fe80::1%eth0",
            b"evil\n192.0.2.1 ,\t198.51.100.7",
            b"192.0.2.1:443",
            b"unknown",
            b"",
        ],
    ),
    "proxy": Target(proxied, _proxy_headers()),
}
