"""Network interfaces: zones, addresses and routes, rendered as systemd-networkd's .network files."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from appliance.features import values
from appliance.features.base import Feature, File, Problem, System, Tree, Unit, Zone
from appliance.features.template import filled

ZONES: tuple[Zone, ...] = get_args(Zone)
FILES = "/etc/systemd/network/50-sentry-*.network"
INTERFACES = 16
ADDRESSES = 16
ROUTES = 64
MTU_LOW = 1_280  # the least IPv6 works with (RFC 8200 5)
MTU_HIGH = 9_216  # what jumbo-frame switches carry
INTERFACE_NAME = "an interface name of at most 15 of a-z, A-Z, 0-9, ., _ and -, not lo"
CARRIER = "LOWER_UP"  # IFF_LOWER_UP (netdevice(7)): networkd gives a link its addresses when it has it
DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,14}")

Interface = Mapping[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Address(msgspec.Struct, frozen=True):
    """Of what ip(8) prints, what is looked at."""

    local: str = ""
    prefixlen: int = 0


class _Link(msgspec.Struct, frozen=True):
    """Likewise of an interface."""

    ifname: str = ""
    flags: tuple[str, ...] = ()
    addr_info: tuple[_Address, ...] = ()

    @property
    def held(self) -> set[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
        """Its addresses."""
        return {ipaddress.ip_interface(f"{one.local}/{one.prefixlen}") for one in self.addr_info if one.local}


def in_zone(tree: Tree, zone: Zone) -> tuple[str, ...]:
    """The names of the interfaces that carry `zone`."""
    return tuple(name for name, interface in sorted(tree["interfaces"].items()) if zone in interface["zones"])


def addresses(tree: Tree, zones: Iterable[Zone] = ZONES) -> tuple[str, ...]:
    """The static addresses, without prefix, of the interfaces that carry one of `zones`."""
    names = sorted({name for zone in zones for name in in_zone(tree, zone)})
    return tuple(str(address.ip) for name in names for address in _addresses(tree["interfaces"][name]))


def listen_addresses(tree: Tree, zones: Iterable[Zone]) -> tuple[str, ...]:
    """Where a service of `zones` listens: on the zones' addresses. With an address from DHCP among them it is not known
    which, so it listens on all, and only the firewall keeps the zones apart."""
    zones = tuple(zones)
    names = {name for zone in zones for name in in_zone(tree, zone)}
    if any(tree["interfaces"][name]["dhcp"] != "none" for name in names):
        return ("0.0.0.0", "::")  # noqa: S104 - see above
    return addresses(tree, zones)


def plain_address(text: str) -> str:
    """The one spelling of an address (RFC 5952), however it was written."""
    return str(ipaddress.ip_address(text))


def dhcp_interfaces(tree: Tree, family: str) -> tuple[str, ...]:
    """The interfaces that ask a DHCP server for an address of `family` (`ipv4`, `ipv6`)."""
    return tuple(name for name, held in sorted(tree["interfaces"].items()) if held["dhcp"] in (family, "both"))


def _addresses(interface: Interface) -> tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]:
    return tuple(ipaddress.ip_interface(address) for address in interface["addresses"])


def verify(tree: Tree) -> Iterable[Problem]:
    """Every address once, every gateway on a network of its interface, one default route, somewhere to manage from."""
    held = tree["interfaces"]
    for name, interface in sorted(held.items()):
        yield from _verify_one(f"interfaces.{name}", interface)
    if not in_zone(tree, "management"):
        yield Problem("interfaces", "no interface with zone management", "at least one")
    yield from _verify_unique(held)
    yield from _verify_apart(held)


def _verify_one(path: str, interface: Interface) -> Iterator[Problem]:
    networks = [address.network for address in _addresses(interface)]
    if not networks and interface["dhcp"] == "none":
        yield Problem(path, "neither addresses nor dhcp", "at least one address, or dhcp ipv4, ipv6 or both")
    hops = [(f"{path}.routes.{place}.via", route["via"]) for place, route in enumerate(interface["routes"])]
    if "gateway" in interface:
        hops.append((f"{path}.gateway", interface["gateway"]))
    for where, hop in hops:
        address = ipaddress.ip_address(hop)
        if not any(address in network for network in networks) and not address.is_link_local:
            yield Problem(where, hop, f"an address on a network of this interface ({_words(networks)})")
    for place, route in enumerate(interface["routes"]):
        if ipaddress.ip_network(route["to"]).version != ipaddress.ip_address(route["via"]).version:
            yield Problem(f"{path}.routes.{place}.via", route["via"], f"an address of the family of {route['to']}")


def _words(networks: Iterable[object]) -> str:
    return ", ".join(map(str, networks)) or "it has none"


def _verify_unique(held: Mapping[str, Interface]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    defaults: dict[int, str] = {}
    for name, interface in sorted(held.items()):
        for place, address in enumerate(map(str, (one.ip for one in _addresses(interface)))):
            if address in owners:
                path = f"interfaces.{name}.addresses.{place}"
                yield Problem(path, f"{address}, which {owners[address]} has too", "every address once")
            owners.setdefault(address, name)
        for path, via in _default_routes(name, interface):
            family = ipaddress.ip_address(via).version
            if family in defaults:
                yield Problem(path, f"a second default route for IPv{family}", f"one in all ({defaults[family]} is it)")
            defaults.setdefault(family, path)


def _verify_apart(held: Mapping[str, Interface]) -> Iterator[Problem]:
    """A network lies on one interface only, and no route leads a part of it elsewhere: the answers to administrators would
    leave through the wrong zone."""
    seen: list[tuple[str, Network]] = []
    for name, interface in sorted(held.items()):
        for place, address in enumerate(_addresses(interface)):
            for owner, network in seen:
                if owner != name and network.version == address.version and network.overlaps(address.network):
                    found = f"{address}, which overlaps with {network} on {owner}"
                    yield Problem(f"interfaces.{name}.addresses.{place}", found, "every network on one interface")
            if not address.is_link_local:
                seen.append((name, address.network))
    for name, interface in sorted(held.items()):
        for place, route in enumerate(interface["routes"]):
            to = ipaddress.ip_network(route["to"])
            for owner, network in seen:
                if owner != name and _within(to, network):
                    found = f"{to}, which lies in {network} on {owner}"
                    yield Problem(f"interfaces.{name}.routes.{place}.to", found, "networks that are on no interface")


def _within(part: Network, whole: Network) -> bool:
    if isinstance(part, ipaddress.IPv4Network) and isinstance(whole, ipaddress.IPv4Network):
        return part.subnet_of(whole)
    if isinstance(part, ipaddress.IPv6Network) and isinstance(whole, ipaddress.IPv6Network):
        return part.subnet_of(whole)
    return False


def _default_routes(name: str, interface: Interface) -> Iterator[tuple[str, str]]:
    if "gateway" in interface:
        yield f"interfaces.{name}.gateway", interface["gateway"]
    for place, route in enumerate(interface["routes"]):
        if route["to"] in DEFAULT_ROUTES:
            yield f"interfaces.{name}.routes.{place}.to", route["via"]


def render(tree: Tree) -> Mapping[str, File]:
    """One .network file for each interface."""
    return {
        FILES.replace("*", name): File(filled("network.j2", name=name, interface=interface))
        for name, interface in tree["interfaces"].items()
    }


def unsettled(tree: Tree, system: System) -> str:
    """Which static addresses the kernel does not have; networkd takes a moment after its reload, and says nothing of what
    it could not read. A link without carrier has none yet, and one that is not there keeps nobody from mending the rest,
    unless no interface to manage from is there."""
    links = {
        link.ifname: link
        for link in msgspec.json.decode(system.run(["ip", "-json", "address", "show"]), type=list[_Link])
    }
    managing = in_zone(tree, "management")
    if not links.keys() & set(managing):
        return f"there is no interface {' or '.join(managing)}, and no other has zone management"
    missing = [
        f"{address} on {name}"
        for name, interface in sorted(tree["interfaces"].items())
        if name in links and CARRIER in links[name].flags
        for address in _addresses(interface)
        if address not in links[name].held
    ]
    return f"the kernel does not have {', '.join(missing)}" if missing else ""


ROUTE = values.group(
    "Route",
    "A network that is reached through a router on this interface.",
    to=values.described(values.NETWORK_KIND, "To", "The network behind the router.", required=True),
    via=values.described(values.ADDRESS_KIND, "Via", "The router's address.", required=True),
)

INTERFACE = values.group(
    "Interface",
    "One network interface.",
    zones=values.several(
        {"type": "string", "allowed": list(ZONES)},
        "Zones",
        "What the interface is for. One interface may carry several zones; several may carry one.",
        least=1,
        most=len(ZONES),
        required=True,
    ),
    addresses=values.several(
        values.INTERFACE_ADDRESS_KIND, "Addresses", "Static addresses with prefix.", most=ADDRESSES, default=[]
    ),
    gateway=values.described(
        values.ADDRESS_KIND,
        "Gateway",
        "Default router. A second one for the other family is a route to ::/0 or 0.0.0.0/0.",
    ),
    routes=values.several(
        ROUTE, "Routes", "Further networks behind routers on this interface.", most=ROUTES, default=[]
    ),
    dhcp=values.described(
        {"type": "string", "allowed": ["none", "ipv4", "ipv6", "both"]},
        "DHCP",
        "Ask a DHCP server for addresses. Name and time servers are never taken from it.",
        default="none",
    ),
    mtu=values.described(
        {"type": "integer", "min": MTU_LOW, "max": MTU_HIGH}, "MTU", "Largest packet, if not the usual."
    ),
    description=values.line("Description", "For people.", characters=80, forbidden="\\", default=""),
)

FEATURE = Feature(
    name="interfaces",
    label="Network interfaces",
    schema=values.named(
        {
            "type": "string",
            "check_with": values.check(lambda name: _NAME.fullmatch(name) and name != "lo", INTERFACE_NAME),
            "meta": {"allowed": INTERFACE_NAME},
        },
        INTERFACE,
        "Network interfaces",
        "By the kernel's name, such as eth0.",
        least=1,
        most=INTERFACES,
    ),
    verify=verify,
    render=render,
    unsettled=unsettled,
    units=(Unit("systemd-networkd.service", "reload", (FILES,)),),
)
