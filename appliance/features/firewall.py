"""The packet filter: nftables rendered from every feature's flows; what no flow names is dropped, in, out and through."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from appliance.features import acl, interfaces, uem, values
from appliance.features.base import Check, Feature, File, Flow, Problem, Tree, Unit
from appliance.features.template import filled

CONFIGURATION = "/etc/nftables.conf"
NETWORKS = 64
SHORTEST_PREFIX = 8  # 10.0.0.0/8 is the largest network one organisation manages from; ULA sites are /48
FAMILIES = (("ip", 4), ("ip6", 6))
SERVICE_ACCOUNTS = (
    "sentry-gateway",
    "sentry-agent",
    "sentry-uem",
    "sentry-portal",
    "sentry-tls-proxy",
    "sentry-alerts",
    "sentry-acme",
    "sentry-offsite",
    "sentry-directory",
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Flows = Callable[[Tree], tuple[Flow, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a chain: `match` is nftables' own words."""

    match: str
    comment: str


def rules(flow: Flow) -> tuple[Rule, ...]:
    """The rules of one flow: one for each address family its peers have, one without addresses when anybody may be it."""
    service = f"{flow.protocol} dport {flow.port}"
    if flow.user is not None:
        service += f' meta skuid "{flow.user}"'
    return _rules(flow, service, outward=flow.direction == "out")


def answers(flow: Flow) -> tuple[Rule, ...]:
    """What lets a service go on talking on connections that were open before the rules were first loaded.

    Connection tracking knows nothing of them and takes our next segment for the start of a connection of ours; without
    these rules the very session that makes the first commit would hang. A segment without SYN opens nothing.
    """
    if flow.direction != "in" or flow.protocol != "tcp":
        return ()
    return _rules(flow, f"tcp sport {flow.port} tcp flags & (syn | ack) == ack", outward=True)


def _rules(flow: Flow, service: str, *, outward: bool) -> tuple[Rule, ...]:
    zone = f"{'oifname' if outward else 'iifname'} @zone_{flow.zone} " if flow.zone else ""
    side = "daddr" if outward else "saddr"
    peers = [f"{family} {side} {{ {', '.join(found)} }} " for family, found in _families(flow.peers)] or [""]
    return tuple(Rule(f"{zone}{peer}{service}", flow.feature) for peer in peers)


def _families(peers: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The peers by nftables family, without any that another one contains (a set with overlaps is an error)."""
    kept = _collapsed(ipaddress.ip_network(peer) for peer in peers)
    families = ((name, [_written(one) for one in kept if one.version == version]) for name, version in FAMILIES)
    return [(family, found) for family, found in families if found]


def _written(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def ruleset(tree: Tree, flows: Iterable[Flow]) -> str:
    """The whole of /etc/nftables.conf; nft(8) loads a file as one transaction."""
    listed = sorted(set(flows), key=_order)
    return filled(
        "nftables.conf.j2",
        zones={zone: interfaces.in_zone(tree, zone) for zone in interfaces.ZONES},
        guarded=guarded(listed),
        acl=acl.chain(tree),
        dhcp4=interfaces.dhcp_interfaces(tree, "ipv4"),
        dhcp6=interfaces.dhcp_interfaces(tree, "ipv6"),
        inward=[rule for flow in listed if flow.direction == "in" for rule in rules(flow)],
        answers=[rule for flow in listed for rule in answers(flow)],
        outward=[rule for flow in listed if flow.direction == "out" for rule in rules(flow)],
    )


@dataclass(frozen=True, slots=True)
class Guarded:
    """Ports of this machine that `accounts` have no business with, not even over loopback."""

    accounts: tuple[str, ...]
    ports: tuple[int, ...]


def guarded(flows: Iterable[Flow]) -> tuple[Guarded, ...]:
    """What keeps a service that was taken over from the management ports and from the UEM: on loopback the management
    networks' rules do not hold. The agent alone calls the UEM, and the UEM alone pushes to the agent."""
    inward = [flow for flow in flows if flow.direction == "in" and flow.protocol == "tcp"]
    devices = {flow.port for flow in inward if flow.feature == "gateway"}
    management = tuple(sorted({flow.port for flow in inward if flow.zone == "management"} - devices))

    def but(caller: str) -> tuple[str, ...]:
        return tuple(account for account in SERVICE_ACCOUNTS if account != caller)

    return (
        Guarded(SERVICE_ACCOUNTS, management),
        Guarded(but("sentry-agent"), (uem.PORT,)),
        Guarded(but("sentry-uem"), (uem.PUSH_PORT,)),
    )


def _order(flow: Flow) -> tuple[str, str, int, str, str]:
    return flow.feature, flow.protocol, flow.port, flow.zone or "", ",".join(flow.peers)


def verify(tree: Tree) -> Iterable[Problem]:
    """Management from everywhere is no management network (V-250983), however it is put together."""
    written = [ipaddress.ip_network(network) for network in tree["firewall"]["management_networks"]]
    for whole in _collapsed(written):
        if whole.prefixlen < SHORTEST_PREFIX:
            place = next(place for place, one in enumerate(written) if _overlap(one, whole))
            found = str(whole) if whole in written else f"{written[place]}, which with others makes {whole}"
            allowed = f"networks of at least /{SHORTEST_PREFIX}, also together: not half the Internet"
            yield Problem(f"firewall.management_networks.{place}", found, allowed)


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in as few networks as possible."""
    listed = list(networks)
    kept4 = ipaddress.collapse_addresses(one for one in listed if isinstance(one, ipaddress.IPv4Network))
    kept6 = ipaddress.collapse_addresses(one for one in listed if isinstance(one, ipaddress.IPv6Network))
    return [*kept4, *kept6]


def feature(flows: Flows) -> Feature:
    """The firewall over `flows`, which says for a tree what all features need (`appliance.features.flows`)."""

    def render(tree: Tree) -> Mapping[str, File]:
        return {CONFIGURATION: File(ruleset(tree, flows(tree)), mode=0o600)}

    return Feature(
        name="firewall",
        label="Firewall",
        schema=values.group(
            "Firewall",
            "Who may reach the appliance. The ports follow from the other settings.",
            management_networks=values.several(
                values.NETWORK_KIND,
                "Management networks",
                "From here, and from nowhere else, SSH (22) and the portal answer, in the management zone (V-250983).",
                least=1,
                most=NETWORKS,
                required=True,
            ),
            device_networks=values.several(
                values.NETWORK_KIND,
                "Device networks",
                "From here devices may reach the gateway. Empty: from anywhere.",
                most=NETWORKS,
                default=[],
            ),
        ),
        verify=verify,
        render=render,
        checks=(Check(("nft", "-c", "-f", f"{{{CONFIGURATION}}}"), needs=(CONFIGURATION,)),),
        units=(Unit("nftables.service", "reload", (CONFIGURATION,)),),
    )
