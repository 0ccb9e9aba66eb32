"""The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt): what the TLS proxy says of a connection before its bytes.

Pure: a `Preface` to bytes and back. Beside the addresses it holds whether the client showed a certificate (PP2_TYPE_SSL), and
the ticket that configd gave out for that certificate (a type of our own, from the range for private use).
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_AND_PROXY = 0x21
TCP4, TCP6 = 0x11, 0x21
TYPE_SSL = 0x20
TYPE_TICKET = 0xE0  # the first of PP2_TYPE_MIN_CUSTOM to PP2_TYPE_MAX_CUSTOM
CLIENT_SSL, CLIENT_CERT_CONN = 0x01, 0x02
MOST_BYTES = 512  # addresses of IPv6, a ticket and the head are below 160; the rest is for fields of a later version
TICKET_CHARACTERS = 64

_HEAD = struct.Struct("!12sBBH")
_FIELD = struct.Struct("!BH")
_SSL = struct.Struct("!BI")
_ADDRESSES = {TCP4: struct.Struct("!4s4sHH"), TCP6: struct.Struct("!16s16sHH")}


class PrefaceError(ValueError):
    """Bytes that are no preface of ours; the message says why."""


@dataclass(frozen=True, slots=True)
class Preface:
    """One connection: from where it came, to which address and port, whether a client certificate was shown, and the ticket for
    it ("": there is none)."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    certificate: bool = False
    ticket: str = ""


def encoded(preface: Preface) -> bytes:
    """The preface as it goes before the first byte. Raises `ValueError` for what is no address, or two of different families."""
    source, destination = ipaddress.ip_address(preface.source), ipaddress.ip_address(preface.destination)
    if source.version != destination.version:
        raise ValueError(f"found {source} and {destination}; allowed: addresses of one family")
    family = TCP4 if source.version == 4 else TCP6
    ports = preface.source_port, preface.destination_port
    body = _ADDRESSES[family].pack(source.packed, destination.packed, *ports)
    shown = CLIENT_SSL | (CLIENT_CERT_CONN if preface.certificate else 0)
    body += _field(TYPE_SSL, _SSL.pack(shown, 0))
    if preface.ticket:
        body += _field(TYPE_TICKET, preface.ticket.encode("ascii"))
    return _HEAD.pack(SIGNATURE, VERSION_AND_PROXY, family, len(body)) + body


def _field(kind: int, value: bytes) -> bytes:
    return _FIELD.pack(kind, len(value)) + value


def decoded(data: bytes) -> tuple[Preface, int] | None:
    """The preface at the start of `data` and its length; None while it is not whole. Raises `PrefaceError`."""
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise PrefaceError("no PROXY protocol of version 2")
    if len(data) < _HEAD.size:
        return None
    _signature, command, family, length = _HEAD.unpack_from(data)
    if command != VERSION_AND_PROXY or family not in _ADDRESSES:
        raise PrefaceError(f"command {command:#x} with family {family:#x}; allowed: a proxied TCP connection")
    end = _HEAD.size + length
    if end > MOST_BYTES:
        raise PrefaceError(f"{end} bytes; allowed: at most {MOST_BYTES}")
    if len(data) < end:
        return None
    return _read(data[_HEAD.size : end], _ADDRESSES[family]), end


def _read(body: bytes, addresses: struct.Struct) -> Preface:
    if len(body) < addresses.size:
        raise PrefaceError("the addresses are cut short")
    source, destination, source_port, destination_port = addresses.unpack_from(body)
    certificate, ticket = False, ""
    for kind, value in _fields(body[addresses.size :]):
        if kind == TYPE_SSL and len(value) >= _SSL.size:
            certificate = bool(_SSL.unpack_from(value)[0] & CLIENT_CERT_CONN)
        elif kind == TYPE_TICKET:
            ticket = _ticket(value)
    return Preface(
        str(ipaddress.ip_address(source)),
        source_port,
        str(ipaddress.ip_address(destination)),
        destination_port,
        certificate,
        ticket,
    )


def _ticket(value: bytes) -> str:
    if len(value) > TICKET_CHARACTERS or not value.isalnum():  # of bytes: ASCII alone
        raise PrefaceError("a ticket that is none")
    return value.decode("ascii")


def _fields(rest: bytes) -> Iterator[tuple[int, bytes]]:
    while rest:
        if len(rest) < _FIELD.size:
            raise PrefaceError("a field is cut short")
        kind, length = _FIELD.unpack_from(rest)
        value, rest = rest[_FIELD.size : _FIELD.size + length], rest[_FIELD.size + length :]
        if len(value) < length:
            raise PrefaceError("a field is cut short")
        yield kind, value
