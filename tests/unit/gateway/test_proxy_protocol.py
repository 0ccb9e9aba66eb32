"""The PROXY protocol, version 2: what is taken, and that nothing else is."""

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.proxy_protocol import (
    FIXED_BYTES,
    REST_BYTES,
    SIGNATURE,
    Origin,
    ProxyHeaderError,
    crc32c,
    may_begin,
    parse,
    rest_bytes,
)

# What HAProxy 2.6 with `send-proxy-v2-ssl-cn` put before the bytes of a client with a certificate.
SEEN = bytes.fromhex(
    "0d0a0d0a000d0a515549540a 21 11 0025 7f000001 7f000001 bd9a 53c3"
    "20 0016 07 00000000 21 0007 544c5376312e33 22 0004 64657631"
)
NO_CERTIFICATE = SEEN.replace(bytes.fromhex("07 00000000"), bytes.fromhex("01 00000000"))


def header(command: int, kind: int, rest: bytes = b"", length: int | None = None) -> bytes:
    """A header with these parts; `length` as it says, where that is not the truth."""
    said = len(rest) if length is None else length
    return SIGNATURE + bytes([command, kind]) + struct.pack("!H", said) + rest


def tlv(kind: int, value: bytes) -> bytes:
    """One TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def checked(command: int, kind: int, addresses: bytes, *, behind: bytes = b"") -> bytes:
    """A header with its checksum."""
    blank = header(command, kind, addresses + tlv(3, bytes(4)) + behind)
    return blank.replace(tlv(3, bytes(4)), tlv(3, struct.pack("!I", crc32c(blank))))


FOUR = IPv4Address("192.0.2.7").packed + IPv4Address("10.0.0.1").packed + struct.pack("!HH", 50_000, 443)
SIX = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + struct.pack("!HH", 50_001, 443)
MAPPED = IPv6Address("::ffff:192.0.2.7").packed + SIX[16:]


@pytest.mark.parametrize(
    ("data", "origin"),
    [
        (SEEN, Origin("127.0.0.1", 48_538)),
        (NO_CERTIFICATE, Origin("127.0.0.1", 48_538)),
        (header(0x21, 0x11, FOUR), Origin("192.0.2.7", 50_000)),
        (header(0x21, 0x21, SIX), Origin("2001:db8::7", 50_001)),
        (header(0x21, 0x21, MAPPED), Origin("192.0.2.7", 50_001)),
        (header(0x21, 0x11, FOUR + tlv(4, b"") + tlv(0xEE, b"unknown")), Origin("192.0.2.7", 50_000)),
        (checked(0x21, 0x11, FOUR), Origin("192.0.2.7", 50_000)),
        (checked(0x21, 0x21, SIX, behind=tlv(2, b"mail.lab.test")), Origin("2001:db8::7", 50_001)),
        (header(0x20, 0x00), None),
        (header(0x20, 0x11, FOUR), None),
        (checked(0x20, 0x00, b""), None),
    ],
)
def test_a_header_tells_the_origin(data: bytes, origin: Origin | None) -> None:
    """Over IPv4 and IPv6, with and without TLVs; a balancer's own connection has none."""
    assert rest_bytes(data[:FIXED_BYTES]) == len(data) - FIXED_BYTES
    assert parse(data) == origin


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n", "proxy_version_1"),
        (b"PROXY UNKNOWN\r\n", "proxy_version_1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20), "proxy_header_missing"),
        (b"GET / HTTP/1.1\r\n\r\n", "proxy_header_missing"),
        (SIGNATURE[:-1] + b"\x00" + bytes(4), "proxy_header_missing"),
        (b"", "proxy_header_cut"),
        (SIGNATURE, "proxy_header_cut"),
        (header(0x21, 0x11, FOUR)[:-1], "proxy_header_cut"),
        (header(0x21, 0x11, FOUR) + b"\x00", "proxy_header_cut"),
        (header(0x21, 0x11, FOUR, REST_BYTES + 1), "proxy_header_too_long"),
        (header(0x21, 0x11, FOUR, 0xFFFF), "proxy_header_too_long"),
        (header(0x11, 0x11, FOUR), "proxy_header_malformed"),
        (header(0x31, 0x11, FOUR), "proxy_header_malformed"),
        (header(0x22, 0x11, FOUR), "proxy_header_malformed"),
        (header(0x2F, 0x11, FOUR), "proxy_header_malformed"),
        (header(0x21, 0x41, FOUR), "proxy_header_malformed"),
        (header(0x21, 0x13, FOUR), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR[:-1]), "proxy_header_malformed"),
        (header(0x21, 0x21, FOUR), "proxy_header_malformed"),
        (header(0x20, 0x11), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR + b"\x04"), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR + b"\x04\x00\x02\x00"), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR + tlv(3, bytes(3))), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR + tlv(3, bytes(4)) * 2), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR + tlv(3, bytes(4))), "proxy_checksum"),
        (checked(0x21, 0x11, FOUR).replace(b"\xc0\x00\x02\x07", b"\xc0\x00\x02\x08"), "proxy_checksum"),
        (checked(0x20, 0x00, b"")[:-1] + b"\x00", "proxy_checksum"),
        (header(0x21, 0x00), "proxy_origin_unknown"),
        (header(0x21, 0x12, FOUR), "proxy_origin_unknown"),
        (header(0x21, 0x31, bytes(216)), "proxy_origin_unknown"),
    ],
)
def test_anything_else_is_refused(data: bytes, word: str) -> None:
    """Version 1, another protocol's first bytes, wrong lengths, wrong sums, and origins nobody can be held to."""
    with pytest.raises(ProxyHeaderError, match=f"^{word}$"):
        parse(data)


def test_the_checksum_is_castagnolis() -> None:
    """The examples of RFC 3720 B.4 and the usual check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
tlvs = st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=40)), max_size=4)


@given(source=addresses, port=st.integers(0, 0xFFFF), more=tlvs, summed=st.booleans())
def test_what_is_written_is_read(
    source: IPv4Address | IPv6Address, port: int, more: list[tuple[int, bytes]], *, summed: bool
) -> None:
    """Any address, port and TLVs, with a checksum or without."""
    kind = 0x11 if source.version == 4 else 0x21
    there = source.packed + bytes(len(source.packed)) + struct.pack("!HH", port, 443)
    behind = b"".join(tlv(one, value) for one, value in more)
    data = checked(0x21, kind, there, behind=behind) if summed else header(0x21, kind, there + behind)
    found = parse(data)
    assert found is not None
    mapped = source.ipv4_mapped if isinstance(source, IPv6Address) else None
    assert (ip_address(found.source), found.port) == (mapped or source, port)


@given(rubbish=st.binary(max_size=64), signed=st.booleans())
def test_rubbish_is_refused_in_no_other_way(*, rubbish: bytes, signed: bool) -> None:
    """Whatever comes, behind a right signature too."""
    data = SIGNATURE + rubbish if signed else rubbish
    with contextlib.suppress(ProxyHeaderError):
        parse(data)
        assert data[12] in (0x20, 0x21)


CHECKED = checked(0x21, 0x21, SIX, behind=tlv(2, b"mail.lab.test"))
CHECKSUMS_TYPE = FIXED_BYTES + len(SIX)  # another type there, and there is no checksum any more


@given(st.integers(0, len(CHECKED) - 1).filter(lambda at: at != CHECKSUMS_TYPE), st.integers(1, 255))
def test_a_header_with_a_checksum_holds_no_changed_byte(at: int, change: int) -> None:
    """Every single changed byte of it is seen."""
    broken = bytearray(CHECKED)
    broken[at] ^= change
    with pytest.raises(ProxyHeaderError):
        parse(bytes(broken))


@pytest.mark.parametrize(
    ("data", "may"),
    [(b"", True), (b"\r", True), (SIGNATURE[:11], True), (SEEN, True), (b"\r\n\r\nG", False), (b"\x16", False)],
)
def test_nobody_waits_for_the_rest_of_what_is_no_header(data: bytes, *, may: bool) -> None:
    """The first wrong byte tells."""
    assert may_begin(data) is may
