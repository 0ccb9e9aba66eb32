"""A stream of packets, of which no more than the headers is kept (pure).

tcpdump can only cut each packet at one length, which leaves the beginning of what people say to each other in the shorter ones.
So each is read up to where its transport header ends; what is not understood is cut behind its link header.
"""

import struct
from collections.abc import Iterator
from typing import Final

FILE_HEADER, RECORD_HEADER = 24, 16  # draft-ietf-opsawg-pcap: of the file, and before each packet
ETHERNET = 1  # LINKTYPE_ETHERNET
_LITTLE: Final = (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")  # times in microseconds, in nanoseconds
_BIG: Final = (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d")
_LINK, _TAG = 14, 4  # IEEE 802.3, 802.1Q
_VLAN: Final = (0x8100, 0x88A8)
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_SHORT: Final = {_UDP: 8, _ICMP: 8, _ICMP6: 8}  # RFC 768, 792, 4443
_EXTENSIONS: Final = frozenset({0, 43, 60})  # RFC 8200: hop-by-hop, routing, destination options
_MOST_EXTENSIONS = 8


class NoCaptureError(ValueError):
    """What came is no stream of packets that is known here."""


class Cutter:
    """Takes the stream as it comes and gives it back record by record, each packet as long as its headers, or `whole`."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._left = bytearray()
        self._order = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What is complete now: first the file's header, then records. Raises `NoCaptureError`."""
        self._left += data
        if not self._order:
            if len(self._left) < FILE_HEADER:
                return
            yield self._begin()
        while (record := self._record()) is not None:
            yield record

    def _begin(self) -> bytes:
        header, self._left = bytes(self._left[:FILE_HEADER]), self._left[FILE_HEADER:]
        if header[:4] not in (*_LITTLE, *_BIG):
            raise NoCaptureError(f"found {header[:4].hex()} at the beginning; allowed: a capture's own number")
        self._order = "<" if header[:4] in _LITTLE else ">"
        link = int.from_bytes(header[20:24], "little" if self._order == "<" else "big") & 0xFFFF
        if link != ETHERNET and not self._whole:
            raise NoCaptureError(f"found the link type {link}; allowed: Ethernet, or whole packets")
        return header

    def _record(self) -> bytes | None:
        if len(self._left) < RECORD_HEADER:
            return None
        seconds, fraction, held, length = struct.unpack_from(f"{self._order}IIII", self._left)
        end = RECORD_HEADER + held
        if len(self._left) < end:
            return None
        packet, self._left = bytes(self._left[RECORD_HEADER:end]), self._left[end:]
        kept = packet if self._whole else packet[: header_bytes(packet)]
        return struct.pack(f"{self._order}IIII", seconds, fraction, len(kept), length) + kept


def header_bytes(packet: bytes) -> int:
    """How many bytes of an Ethernet frame are headers: of the link, the network and the transport. Never more than it has."""
    kind, at = _number(packet, 12), _LINK
    for _tag in range(2):  # QinQ has two
        if kind not in _VLAN:
            break
        kind, at = _number(packet, at + 2), at + _TAG
    if kind == _ARP:
        end = at + 28  # RFC 826, for IPv4 over Ethernet
    elif kind == _IPV4:
        end = _ipv4(packet, at)
    elif kind == _IPV6:
        end = _ipv6(packet, at)
    else:
        end = at
    return min(end, len(packet))


def _ipv4(packet: bytes, at: int) -> int:
    """RFC 791. Only the first of several fragments has a transport header."""
    end = at + 4 * (_byte(packet, at) & 0x0F)
    return end if _number(packet, at + 6) & 0x1FFF else _transport(packet, end, _byte(packet, at + 9))


def _ipv6(packet: bytes, at: int) -> int:
    """RFC 8200. A fragment's header is the last that is looked at."""
    kind, end = _byte(packet, at + 6), at + 40
    for _extension in range(_MOST_EXTENSIONS):
        if kind not in _EXTENSIONS or end + 2 > len(packet):
            break
        kind, end = _byte(packet, end), end + 8 * (_byte(packet, end + 1) + 1)
    return _transport(packet, end, kind)


def _transport(packet: bytes, at: int, kind: int) -> int:
    if kind == _TCP:
        return at + 4 * (_byte(packet, at + 12) >> 4)  # RFC 9293 3.1
    return at + _SHORT.get(kind, 0)


def _byte(packet: bytes, at: int) -> int:
    return packet[at] if at < len(packet) else 0


def _number(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 2], "big") if at + 2 <= len(packet) else 0
