"""What is to be captured: typed fields, of which the words for tcpdump are made. There is no filter that somebody writes."""

import ipaddress
import re
from typing import Final, Literal

import msgspec

Protocol = Literal["any", "tcp", "udp", "icmp", "arp"]
SECONDS_LOW, SECONDS_HIGH = 1, 300  # who needs longer has not found out yet what to look for
SECONDS_USUAL = 60
PACKETS = 50_000  # of headers these are five megabytes
FILE_BYTES = 16_777_216  # what waits to be fetched at most (`appliance.support.shelf.FILE_BYTES`)
HEADER_BYTES = 192  # read of each packet: the longest headers, of which `headers` keeps no more than there are
WHOLE_BYTES = 262_144  # tcpdump's own most
UNIT: Final = "sentry-capture.service"
PLACE: Final = "/run/sentry-capture/request.json"
RESULT: Final = "/run/sentry-captured/capture.pcap"
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")  # IFNAMSIZ, and nothing that could be an option
_WORDS: Final[dict[Protocol, tuple[str, ...]]] = {
    "any": (),
    "tcp": ("tcp",),
    "udp": ("udp",),
    "icmp": ("(", "icmp", "or", "icmp6", ")"),
    "arp": ("arp",),
}


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One capture. `host` is an address or empty, `port` None is any; `whole`: packets as they are, else their headers;
    `user` asked for it, at `began` (ISO 8601)."""

    interface: str
    protocol: Protocol = "any"
    host: str = ""
    port: int | None = None
    seconds: int = SECONDS_USUAL
    whole: bool = False
    user: str = ""
    began: str = ""


def read(text: str | None) -> Request | None:
    """What the file of the running capture says; None where there is none, or nothing that can be read."""
    try:
        return msgspec.json.decode(text, type=Request) if text else None
    except msgspec.MsgspecError:
        return None


def flaw(request: Request) -> str:
    """What of it is not allowed, in the reader's words; empty where all is."""
    host, port = request.host[:64], request.port
    if not _INTERFACE.fullmatch(request.interface):
        return f"interface: found {request.interface[:64]!r}; allowed: an interface of the configuration"
    if not SECONDS_LOW <= request.seconds <= SECONDS_HIGH:
        return f"seconds: found {request.seconds}; allowed: {SECONDS_LOW} to {SECONDS_HIGH}"
    if port is not None and not 1 <= port <= 65_535:
        return f"port: found {port}; allowed: 1 to 65535"
    if port is not None and request.protocol in ("icmp", "arp"):
        return f"port: found one with the protocol {request.protocol}, which has none; allowed: none, or tcp or udp"
    return _flaw_of_host(host, request.protocol) if host else ""


def _flaw_of_host(host: str, protocol: Protocol) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"host: found {host!r}; allowed: an IPv4 or IPv6 address"
    if "%" in host or (protocol == "arp" and address.version == 6):
        return f"host: found {host!r}; allowed: an address without a zone, for ARP an IPv4 address"
    return ""


def words(request: Request) -> tuple[str, ...]:
    """The filter as tcpdump's words (pcap-filter(7))."""
    parts = [_WORDS[request.protocol]]
    if request.host:
        parts.append(("host", str(ipaddress.ip_address(request.host))))
    if request.port is not None:
        parts.append(("port", str(request.port)))
    made: tuple[str, ...] = ()
    for part in filter(None, parts):
        made += (("and",) if made else ()) + part
    return made


def argv(request: Request) -> list[str]:
    """The command: packets to standard output, no names asked for, the interface not promiscuous. Raises `ValueError`."""
    problem = flaw(request)
    if problem:
        raise ValueError(problem)
    size = WHOLE_BYTES if request.whole else HEADER_BYTES
    options = ["-n", "-p", "-U", "-i", request.interface, "-s", str(size), "-c", str(PACKETS), "-w", "-"]
    return ["tcpdump", *options, "--", *words(request)]


def told(request: Request) -> str:
    """In one line, for people and for the audit."""
    parts = [request.interface, request.protocol]
    parts += [f"host {request.host}"] if request.host else []
    parts += [f"port {request.port}"] if request.port is not None else []
    return " ".join([*parts, f"{request.seconds} s", "whole packets" if request.whole else "headers"])
