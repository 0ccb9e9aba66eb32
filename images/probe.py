"""Which ports of a guest answer, seen from outside with nmap: every TCP port, and the UDP ports a machine like it may have."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from xml.etree import ElementTree

from images.run import run

ALL_TCP = "1-65535"
# DNS, DHCP, TFTP, NTP, NetBIOS, SNMP, IKE, syslog, DTLS, mDNS, LLMNR: what has answered unasked on machines like this one.
KNOWN_UDP = "53,67,68,69,123,137,161,162,443,500,514,1900,4500,5353,5355,8443"
PROBE_SECONDS = 240.0
# A dropped port costs a wait, so the rate decides the time: 65,535 ports at 8,000/s twice is 16 s a zone.
_PACE = ("--min-rate", "8000", "--max-retries", "2", "--min-rtt-timeout", "50ms", "--max-rtt-timeout", "200ms")


class ProbeError(RuntimeError):
    """nmap's answer cannot be read or does not say what was asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address to look at, the interface to look through, and the name people know this place by."""

    name: str
    address: str
    interface: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What answered at a target: TCP ports that accept, UDP ports that replied, and how many ports were asked."""

    target: Target
    tcp: frozenset[int]
    udp: frozenset[int]
    asked: int


def look(targets: tuple[Target, ...]) -> tuple[Seen, ...]:
    """Probe all targets at once; needs root for raw sockets."""
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        return tuple(pool.map(_look_at, targets))


def _look_at(target: Target) -> Seen:
    tcp = _nmap(target, "-sS", ALL_TCP)
    udp = _nmap(target, "-sU", KNOWN_UDP)
    tcp_ports, tcp_asked = parse(tcp, "tcp")
    udp_ports, udp_asked = parse(udp, "udp")
    return Seen(target, tcp_ports, udp_ports, tcp_asked + udp_asked)


def _nmap(target: Target, kind: str, ports: str) -> str:
    argv = ["nmap", kind, "-Pn", "-n", "-e", target.interface, *_PACE, "-p", ports, "-oX", "-", target.address]
    return run(argv, seconds=PROBE_SECONDS).stdout


def parse(xml: str, protocol: str) -> tuple[frozenset[int], int]:
    """The open ports of one nmap run and how many ports it asked; `open|filtered` is silence, not an answer.

    Raises `ProbeError` when the run is incomplete, so that an unfinished probe can never look like a closed machine.
    """
    try:
        # nmap on this machine wrote it: there is no hostile author whose entities could hurt.
        report = ElementTree.fromstring(xml)  # noqa: S314
    except ElementTree.ParseError as error:
        raise ProbeError(f"nmap's XML cannot be read: {error}") from error
    finished = report.find("runstats/finished")
    if finished is None or finished.get("exit") != "success":
        raise ProbeError("nmap did not finish its run")
    info = next((one for one in report.iter("scaninfo") if one.get("protocol") == protocol), None)
    if info is None or report.find("host") is None:
        raise ProbeError(f"nmap reports no {protocol} scan of a host")
    found = frozenset(
        int(port.get("portid", "0"))
        for port in report.iterfind("host/ports/port")
        if port.get("protocol") == protocol and _state(port) == "open"
    )
    return found, int(info.get("numservices", "0"))


def _state(port: ElementTree.Element) -> str:
    state = port.find("state")
    return "" if state is None else state.get("state", "")
