"""The PROXY protocol, version 2 (haproxy's `proxy-protocol.txt`): what a balancer says of a connection before its first byte.

    12 bytes signature | version, command | family, protocol | length (2) | addresses | TLVs

Pure. A header is read in two steps, so that not a byte behind it is taken: its first `FIXED_BYTES`, which say how long it
is, then the rest. Whatever is not exactly as the specification has it is refused, and version 1 (a line of text) is.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES = 16
REST_BYTES = (
    4_080  # with the fixed part a page; what balancers send (addresses, TLS facts, an endpoint's name) is below 600
)
IPV4, IPV6 = 0x11, 0x21  # family and protocol: TCP over either

_VERSION_1 = b"PROXY "
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
# Sizes of the addresses by family; the protocol (stream or datagram) does not change them. Unix: two paths of 108 bytes.
_ADDRESS_BYTES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
_PROTOCOLS = frozenset({0x0, 0x1, 0x2})
_CRC32C = 0x03
_TLV = struct.Struct("!BH")


class ProxyHeaderError(ValueError):
    """No header that we take; the message is one word for the audit line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """From where the connection came to the balancer: a canonical address, and a port."""

    source: str
    port: int


def may_begin(data: bytes) -> bool:
    """Whether a header may begin so; else there is no use in waiting for the rest of it."""
    return data[: len(SIGNATURE)] == SIGNATURE[: len(data)]


def rest_bytes(fixed: bytes) -> int:
    """How many bytes follow the fixed part. Raises `ProxyHeaderError` where that is none, or not all of it."""
    if not may_begin(fixed):
        raise ProxyHeaderError("proxy_version_1" if fixed.startswith(_VERSION_1) else "proxy_header_missing")
    if len(fixed) != FIXED_BYTES:
        raise ProxyHeaderError("proxy_header_cut")
    length = int.from_bytes(fixed[14:16], "big")
    if length > REST_BYTES:
        raise ProxyHeaderError("proxy_header_too_long")
    return length


def parse(header: bytes) -> Origin | None:
    """The origin in a whole header; None for a connection of the balancer's own (LOCAL: its health check).

    Raises `ProxyHeaderError`, also for a connection whose origin the balancer does not tell: nobody could be held to it.
    """
    if rest_bytes(header[:FIXED_BYTES]) != len(header) - FIXED_BYTES:
        raise ProxyHeaderError("proxy_header_cut")
    command, kind = header[12], header[13]
    size = _ADDRESS_BYTES.get(kind >> 4)
    if command not in (_LOCAL, _PROXY) or size is None or kind & 0xF not in _PROTOCOLS:
        raise ProxyHeaderError("proxy_header_malformed")
    if len(header) < FIXED_BYTES + size:
        raise ProxyHeaderError("proxy_header_malformed")
    _check_tlvs(header, FIXED_BYTES + size)
    if command == _LOCAL:
        return None
    addresses = header[FIXED_BYTES : FIXED_BYTES + size]
    if kind == IPV4:
        return Origin(str(IPv4Address(addresses[:4])), int.from_bytes(addresses[8:10], "big"))
    if kind == IPV6:
        source = IPv6Address(addresses[:16])
        # An IPv4 client on a balancer's IPv6 socket is the same client as on its IPv4 socket (RFC 4291 2.5.5.2).
        return Origin(str(source.ipv4_mapped or source), int.from_bytes(addresses[32:34], "big"))
    raise ProxyHeaderError("proxy_origin_unknown")


def _check_tlvs(header: bytes, at: int) -> None:
    """Type, length, value up to exactly the end. Of their contents only the checksum is believed."""
    checksum_at = 0
    while at < len(header):
        if len(header) - at < _TLV.size:
            raise ProxyHeaderError("proxy_header_malformed")
        kind, size = _TLV.unpack_from(header, at)
        at += _TLV.size
        if size > len(header) - at or (kind == _CRC32C and (size != 4 or checksum_at)):
            raise ProxyHeaderError("proxy_header_malformed")
        if kind == _CRC32C:
            checksum_at = at
        at += size
    if checksum_at:
        said = header[checksum_at : checksum_at + 4]
        blank = header[:checksum_at] + bytes(4) + header[checksum_at + 4 :]  # it is made over itself as zeros (2.2.3)
        if crc32c(blank).to_bytes(4, "big") != said:
            raise ProxyHeaderError("proxy_checksum")


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The CRC with Castagnoli's polynomial (RFC 3720 B.4); the one that zlib has is another."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF
