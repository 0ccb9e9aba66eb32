"""Which traffic there may be, and what must not listen."""

import ipaddress
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from stig.errors import FactError
from stig.facts import Facts
from stig.parse import words
from stig.parse.nft import Packet, Ruleset
from stig.platform.proof import Proof, Setting, Want, found_lines, judged, listed
from stig.verdict import Point, Verdict

HOOKS = ("input", "forward", "output")
# What an appliance answers on: SSH, the gateway and its second listener, the portal, the UEM's way in, SNMP.
PORTS = {("tcp", 22), ("tcp", 80), ("tcp", 443), ("tcp", 8443), ("tcp", 9090), ("udp", 161)}
# A client of DHCP hears the answers there (RFC 2131, RFC 8415).
CLIENT_PORTS = {("udp", 68), ("udp", 546)}
RESOLVERS = 2
EPHEMERAL = 32_768  # the kernel chooses from here on (net.ipv4.ip_local_port_range)
STRANGERS = {4: "192.0.2.77", 6: "2001:db8::77"}  # documentation networks (RFC 5737, RFC 3849): nobody's
STARTS = 10


def policies(tree: dict[str, Any]) -> Verdict:
    """Each way through the machine is closed but for what a rule lets through."""
    chains = [item["chain"] for item in tree["nftables"] if "chain" in item]
    points = []
    for hook in HOOKS:
        found = [
            chain.get("policy", "accept")
            for chain in chains
            if chain.get("hook") == hook and chain.get("type") == "filter"
        ]
        points.append(
            Point(f"nft -j list ruleset: policy of {hook}", ", ".join(found) or "no chain", "drop", "drop" in found)
        )
    return Verdict(tuple(points))


def limited(tree: dict[str, Any], starts: str | None, penalties: str | None) -> Verdict:
    """Nobody can ask so often that others are not heard: echo requests in the packet filter, log-ons in sshd."""
    rules = [item["rule"] for item in tree["nftables"] if "rule" in item and item["rule"].get("chain") == "input"]
    echoes = [rule["expr"] for rule in rules if _lets_echoes_in(rule["expr"])]
    unlimited = [expressions for expressions in echoes if not any("limit" in one for one in expressions)]
    first = (starts or "").partition(":")[0]
    return Verdict(
        (
            Point(
                "nft -j list ruleset: echo requests let in without a limit",
                f"{len(unlimited)} of {len(echoes)} rules",
                "none",
                not unlimited,
            ),
            Point(
                "sshd -T: maxstartups",
                starts or "not set",
                f"at most {STARTS} at once that have not logged on",
                first.isdigit() and 0 < int(first) <= STARTS,
            ),
            Point(
                "sshd -T: persourcepenalties",
                penalties or "not set",
                "who fails has to wait",
                (penalties or "no") != "no",
            ),
        )
    )


def _lets_echoes_in(expressions: list[dict[str, Any]]) -> bool:
    echo = any("echo-request" in str(one.get("match", {}).get("right", "")) for one in expressions)
    return echo and any("accept" in one for one in expressions)


def reachable(facts: Facts, port: int) -> bool:
    """Whether the packet filter lets a datagram to this port in, on any interface, from its own network or from a stranger."""
    rules = Ruleset(facts.tree("nft"))
    packets = []
    for link in facts.tree("interfaces"):
        for one in link.get("addr_info", []):
            if link["ifname"] != "lo":
                near = ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}").network.network_address + 1
                far = STRANGERS[ipaddress.ip_address(one["local"]).version]
                packets += [Packet(link["ifname"], str(source), port, "udp") for source in (near, far)]
    return any(rules.inward(packet) == "accept" for packet in packets)


def listening(rows: Iterable[str], let_in: Callable[[int], bool]) -> Verdict:
    """Nothing that another machine could reach listens on a port that is not the appliance's. A program that sends datagrams
    has a port that the kernel chose; where `let_in` says that the packet filter has none of it, nobody reaches that."""
    strangers = []
    for row in rows:
        fields = row.split()
        if len(fields) < 5:
            raise FactError(f"ss -Htuln: cannot read {row!r}")
        address, _, port = fields[4].rpartition(":")
        known = (fields[0], int(port)) in PORTS | CLIENT_PORTS
        if fields[0] == "udp" and int(port) >= EPHEMERAL and not let_in(int(port)):
            continue
        if not known and not _is_own(address):
            strangers.append(f"{fields[0]} {fields[4]}")
    allowed = ", ".join(f"{kind} {port}" for kind, port in sorted(PORTS))
    return Verdict(
        (
            Point(
                "ss -Htuln: ports that are not the appliance's",
                listed(strangers),
                f"none beside {allowed}",
                not strangers,
            ),
        )
    )


def _is_own(address: str) -> bool:
    """Whether only the machine itself can send there."""
    bare = address.partition("%")[0].strip("[]")
    return bare not in ("", "*") and ipaddress.ip_address(bare).is_loopback


def promiscuous(tree: Iterable[dict[str, Any]]) -> Verdict:
    """No interface takes what is not for it."""
    found = [link["ifname"] for link in tree if "PROMISC" in link.get("flags", [])]
    return Verdict((Point("ip -j address show: interfaces that take everything", listed(found), "none", not found),))


def wireless(lines: Iterable[str]) -> Verdict:
    """No radio."""
    found = [line.removesuffix("/wireless").rpartition("/")[2] for line in lines]
    return Verdict((Point("find /sys/class/net -name wireless", listed(found), "none", not found),))


def resolvers(lines: Iterable[str]) -> Verdict:
    """Two servers for names, so that one may fail."""
    found = [words_of[1] for line in lines if len(words_of := line.split()) == 2 and words_of[0] == "nameserver"]
    want = f"at least {RESOLVERS} servers"
    return Verdict(
        (Point("cat /etc/resolv.conf: nameserver", listed(found), want, len(set(found)) >= RESOLVERS, "configured"),)
    )


def _limited(facts: Facts) -> Verdict:
    sshd = words.settings(facts.lines("sshd"))
    return limited(facts.tree("nft"), sshd.get("maxstartups"), sshd.get("persourcepenalties"))


def closed_clock(facts: Facts) -> Verdict:
    """chronyd serves nobody the time, and takes orders from nobody over the network."""
    values = words.settings(facts.lines("chrony_configuration"))
    none = Want("0", lambda found: found == "0")
    return Verdict(judged([Setting("", "port", none), Setting("", "cmdport", none)], "chronyd -p", values))


PROOFS = (
    Proof("SENTRY-OS-0831", lambda facts: policies(facts.tree("nft"))),
    Proof("SENTRY-OS-0832", _limited),
    Proof("SENTRY-OS-0833", lambda facts: listening(facts.lines("listening"), partial(reachable, facts))),
    Proof("SENTRY-OS-0834", lambda facts: promiscuous(facts.tree("interfaces"))),
    Proof("SENTRY-OS-0835", lambda facts: wireless(found_lines(facts, "wireless"))),
    Proof("SENTRY-OS-0836", lambda facts: resolvers(facts.lines("resolvers"))),
    Proof("SENTRY-OS-0837", closed_clock),
)
