"""What an nftables ruleset does with the first packet of a TCP connection, or a UDP datagram nobody waits for, worked out
from `nft -j list ruleset`.

Only what such a packet can meet is understood; anything else in its way is a `FactError`, never a guess.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stig.errors import FactError

Answer = Literal["accept", "drop"]
Protocol = Literal["tcp", "udp"]
JUMPS = 16  # the kernel's own bound on nested chains
# Below a limit a packet goes on as if it were not there, whether the limit is a rule's or (`set`) each source's own.
_SILENT = frozenset({"counter", "log", "comment", "limit", "set"})
_ENDS: dict[str, Answer] = {"accept": "accept", "drop": "drop", "reject": "drop"}
_PROTOCOLS = frozenset({"tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "udplite", "esp", "ah", "igmp", "arp"})


@dataclass(frozen=True, slots=True)
class Packet:
    """A new TCP connection, or a datagram: the interface it comes in by, who from, and to which port."""

    interface: str
    source: str
    port: int
    protocol: Protocol = "tcp"


class Ruleset:
    """The chains and sets of a ruleset."""

    def __init__(self, listing: Mapping[str, Any]) -> None:
        """Take the tree that `nft -j` printed; `FactError` when it is not one."""
        items = listing.get("nftables")
        if not isinstance(items, list):
            raise FactError("nft: the listing has no member `nftables`")
        self._chains: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._rules: dict[tuple[str, str, str], list[list[Any]]] = {}
        self._sets: dict[tuple[str, str, str], list[Any]] = {}
        for item in items:
            for kind, body in item.items():
                self._take(kind, body)

    def _take(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "chain":
            self._chains[(body["family"], body["table"], body["name"])] = body
        elif kind == "rule":
            self._rules.setdefault((body["family"], body["table"], body["chain"]), []).append(body.get("expr", []))
        elif kind in ("set", "map"):
            self._sets[(body["family"], body["table"], body["name"])] = body.get("elem", [])

    def inward(self, packet: Packet) -> Answer:
        """What becomes of a packet to this machine: every filter chain on the input hook must let it through."""
        version = ipaddress.ip_address(packet.source).version
        families = ("inet", "ip" if version == 4 else "ip6")
        hooks = [
            key
            for key, chain in self._chains.items()
            if chain.get("hook") == "input" and chain.get("type") == "filter" and key[0] in families
        ]
        answers = [self._walk(key, packet, 0) or self._chains[key].get("policy", "accept") for key in hooks]
        return "accept" if all(answer == "accept" for answer in answers) else "drop"

    def _walk(self, key: tuple[str, str, str], packet: Packet, depth: int) -> Answer | None:
        if key not in self._chains or depth > JUMPS:
            raise FactError(f"nft: chain {key[2]} is missing or nested more than {JUMPS} deep")
        for expressions in self._rules.get(key, []):
            answer, end = self._rule(key, expressions, packet, depth)
            if answer is not None or end:
                return answer
        return None

    def _rule(
        self, key: tuple[str, str, str], expressions: list[Any], packet: Packet, depth: int
    ) -> tuple[Answer | None, bool]:
        """The verdict of one rule, and whether the chain ends there."""
        for expression in expressions:
            ((name, body),) = expression.items()
            if name == "match":
                if not self._matches(key, body, packet):
                    return None, False
            elif name == "vmap":
                chosen = self._lookup(key, body, packet)
                return self._verdict(key, chosen, packet, depth) if chosen else (None, False)
            elif name in _SILENT:
                continue
            else:
                return self._verdict(key, expression, packet, depth)
        return None, False

    def _verdict(
        self, key: tuple[str, str, str], statement: Mapping[str, Any], packet: Packet, depth: int
    ) -> tuple[Answer | None, bool]:
        ((name, body),) = statement.items()
        if name in _ENDS:
            return _ENDS[name], True
        if name in ("return", "continue"):
            return None, name == "return"
        if name in ("jump", "goto"):
            answer = self._walk((*key[:2], body["target"]), packet, depth + 1)
            return answer, answer is not None or name == "goto"
        raise FactError(f"nft: the statement {name!r} in chain {key[2]} is not understood")

    def _lookup(self, key: tuple[str, str, str], body: Mapping[str, Any], packet: Packet) -> Mapping[str, Any] | None:
        found = _value(body["key"], packet)
        data = body["data"]
        entries = data["set"] if isinstance(data, dict) else self._named(key, data)
        for element, verdict in entries:
            if found is not None and _equal(found, element):
                chosen: Mapping[str, Any] = verdict
                return chosen
        return None

    def _named(self, key: tuple[str, str, str], name: str) -> list[Any]:
        held = self._sets.get((*key[:2], name.removeprefix("@")))
        if held is None:
            raise FactError(f"nft: chain {key[2]} names the set {name}, which is not there")
        return held

    def _matches(self, key: tuple[str, str, str], body: Mapping[str, Any], packet: Packet) -> bool:
        found = _value(body["left"], packet)
        if found is None:
            return False
        right, operator = body["right"], body["op"]
        if isinstance(right, str) and right.startswith("@"):
            right = {"set": self._named(key, right)}
        elements = right["set"] if isinstance(right, dict) and "set" in right else right
        elements = elements if isinstance(elements, list) else [elements]
        same = any(_equal(found, element) for element in elements)
        if operator in ("==", "in"):
            return same
        if operator == "!=":
            return not same
        raise FactError(f"nft: the comparison {operator!r} in chain {key[2]} is not understood")


def _value(left: Any, packet: Packet) -> str | int | None:
    """What the packet has where a rule looks; None where such a packet has nothing (another protocol)."""
    version = ipaddress.ip_address(packet.source).version
    table: dict[tuple[str, str], str | int] = {
        ("meta", "iifname"): packet.interface,
        ("meta", "iif"): packet.interface,
        ("meta", "l4proto"): packet.protocol,
        ("meta", "nfproto"): "ipv4" if version == 4 else "ipv6",
        ("meta", "protocol"): "ip" if version == 4 else "ip6",
        ("ct", "state"): "new",
        ("ip", "protocol"): packet.protocol,
        ("ip6", "nexthdr"): packet.protocol,
        ("ip" if version == 4 else "ip6", "saddr"): packet.source,
        (packet.protocol, "dport"): packet.port,
        ("th", "dport"): packet.port,
    }
    if not isinstance(left, dict) or len(left) != 1:
        raise FactError(f"nft: the expression {left!r} is not understood")
    ((kind, body),) = left.items()
    where = (body.get("protocol", ""), body.get("field", "")) if kind == "payload" else (kind, body.get("key", ""))
    if where in table:
        return table[where]
    if kind == "payload" and (
        where[0] in _PROTOCOLS - {packet.protocol} or (where[0] == ("ip6" if version == 4 else "ip"))
    ):
        return None
    raise FactError(f"nft: the expression {left!r} is not understood")


def _equal(found: str | int, element: Any) -> bool:
    if isinstance(element, dict):
        if "elem" in element:
            return _equal(found, element["elem"]["val"])
        if "prefix" in element:
            network = f"{element['prefix']['addr']}/{element['prefix']['len']}"
            return ipaddress.ip_address(str(found)) in ipaddress.ip_network(network, strict=False)
        if "range" in element:
            low, high = element["range"]
            return _between(found, low, high)
        raise FactError(f"nft: the value {element!r} is not understood")
    if isinstance(element, str) and isinstance(found, str) and element.endswith("*"):
        return found.startswith(element[:-1])
    return str(found) == str(element)


def _between(found: str | int, low: Any, high: Any) -> bool:
    if isinstance(found, int):
        return int(low) <= found <= int(high)
    address, first, last = (ipaddress.ip_address(str(one)) for one in (found, low, high))
    return address.version == first.version and int(first) <= int(address) <= int(last)
