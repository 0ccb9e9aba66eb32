"""Network interfaces: zones, addresses, routes and VLANs, rendered as systemd-networkd's .network and .netdev files.

networkd reads them when the machine starts and at a reload; what it leaves alone at a reload (a VLAN that goes, whether a
link is up) `appliance.features.links` brings in step.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from appliance.features import links, values
from appliance.features.base import Feature, File, Problem, System, Tree, Unit, Zone
from appliance.features.template import filled

ZONES: tuple[Zone, ...] = get_args(Zone)
FILES = f"{links.FILES}*.network"
DEVICES = f"{links.FILES}*.netdev"
INTERFACES = 16
ADDRESSES = 16
ROUTES = 64
MTU_LOW = 1_280  # the least IPv6 works with (RFC 8200 5)
MTU_HIGH = 9_216  # what jumbo-frame switches carry
MTU = 1_500  # Ethernet's usual one
VLAN_LOW, VLAN_HIGH = 1, 4_094  # IEEE 802.1Q: 0 is no VLAN, 4095 is reserved
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
    """The names of the interfaces that carry `zone`; one that is shut down carries none."""
    held = sorted(tree["interfaces"].items())
    return tuple(name for name, interface in held if zone in interface["zones"] and interface["enabled"])


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
    held = sorted(tree["interfaces"].items())
    return tuple(name for name, one in held if one["dhcp"] in (family, "both") and one["enabled"])


def vlans_on(tree: Tree, parent: str) -> tuple[str, ...]:
    """The names of the VLANs on the interface `parent`."""
    held = sorted(tree["interfaces"].items())
    return tuple(name for name, interface in held if "vlan" in interface and interface["vlan"]["parent"] == parent)


def _addresses(interface: Interface) -> tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]:
    return tuple(ipaddress.ip_interface(address) for address in interface["addresses"])


def verify(tree: Tree) -> Iterable[Problem]:
    """Every address once, every gateway on a network of its interface, one default route, somewhere to manage from. One
    that is shut down may have what another has now."""
    held = tree["interfaces"]
    for name, interface in sorted(held.items()):
        carries = bool(vlans_on(tree, name))
        yield from _verify_use(f"interfaces.{name}", interface, carries=carries)
        yield from _verify_one(f"interfaces.{name}", interface)
    if not in_zone(tree, "management"):
        yield Problem("interfaces", "no interface with zone management that is enabled", "at least one")
    up = {name: interface for name, interface in held.items() if interface["enabled"]}
    yield from _verify_unique(up)
    yield from _verify_apart(up)
    yield from _verify_vlans(held)


def _verify_use(path: str, interface: Interface, *, carries: bool) -> Iterator[Problem]:
    """An interface has a zone and an address, unless it is shut down, or only carries VLANs."""
    bare = not interface["addresses"] and interface["dhcp"] == "none"
    if bare and interface["enabled"] and not carries:
        yield Problem(path, "neither addresses nor dhcp", "at least one address, or dhcp ipv4, ipv6 or both")
    if not interface["zones"] and not (bare and carries):
        yield Problem(
            f"{path}.zones", "no zone", f"at least one of {', '.join(ZONES)}; none where it only carries VLANs"
        )


def _verify_vlans(held: Mapping[str, Interface]) -> Iterator[Problem]:
    """A VLAN lies on an interface of the configuration that is none itself, each number once on it."""
    plain = {name for name, interface in held.items() if "vlan" not in interface}
    seen: dict[tuple[str, int], str] = {}
    for name, interface in sorted(held.items()):
        if "vlan" not in interface:
            continue
        path, parent, number = f"interfaces.{name}.vlan", interface["vlan"]["parent"], interface["vlan"]["id"]
        if parent not in plain:
            yield Problem(
                f"{path}.parent", parent, f"an interface that is no VLAN: {', '.join(sorted(plain)) or 'none'}"
            )
            continue
        if interface["enabled"] and not held[parent]["enabled"]:
            yield Problem(f"{path}.parent", f"{parent}, which is shut down", "one that is enabled, or shut both down")
        if (parent, number) in seen:
            yield Problem(f"{path}.id", f"{number}, which {seen[parent, number]} has", f"every number once on {parent}")
        seen.setdefault((parent, number), name)
        most = held[parent].get("mtu", MTU)
        if interface.get("mtu", most) > most:
            yield Problem(f"interfaces.{name}.mtu", str(interface["mtu"]), f"at most {most}, as {parent} has")


def _verify_one(path: str, interface: Interface) -> Iterator[Problem]:
    networks = [address.network for address in _addresses(interface)]
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
                if owner != name and within(to, network):
                    found = f"{to}, which lies in {network} on {owner}"
                    yield Problem(f"interfaces.{name}.routes.{place}.to", found, "networks that are on no interface")


def within(part: Network, whole: Network) -> bool:
    """Whether every address of `part` is one of `whole`."""
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
    """One .network file for each interface, and a .netdev file for each VLAN."""
    files = {
        FILES.replace("*", name): File(filled("network.j2", name=name, interface=interface, vlans=vlans_on(tree, name)))
        for name, interface in tree["interfaces"].items()
    }
    for name, interface in tree["interfaces"].items():
        if "vlan" in interface:
            text = filled("netdev.j2", name=name, number=interface["vlan"]["id"])
            files[DEVICES.replace("*", name)] = File(text)
    return files


def reconcile(tree: Tree, system: System) -> bool:
    """The kernel's links: VLANs that come and go, and what is shut down; see `appliance.features.links`."""
    wanted = {
        name: links.Wanted(
            up=interface["enabled"],
            vlan=links.Vlan(interface["vlan"]["parent"], interface["vlan"]["id"]) if "vlan" in interface else None,
        )
        for name, interface in tree["interfaces"].items()
    }
    return links.reconcile(wanted, system)


def unsettled(tree: Tree, system: System) -> str:
    """Which static addresses the kernel does not have; networkd takes a moment after its reload, and says nothing of what
    it could not read. A link without carrier has none yet, and one that is not there keeps nobody from mending the rest,
    unless no interface to manage from is there."""
    found = {
        link.ifname: link
        for link in msgspec.json.decode(system.run(["ip", "-json", "address", "show"]), type=list[_Link])
    }
    managing = in_zone(tree, "management")
    if not found.keys() & set(managing):
        return f"there is no interface {' or '.join(managing)}, and no other has zone management"
    missing = [
        f"{address} on {name}"
        for name, interface in sorted(tree["interfaces"].items())
        if interface["enabled"] and name in found and CARRIER in found[name].flags
        for address in _addresses(interface)
        if address not in found[name].held
    ]
    if missing:
        return f"the kernel does not have {', '.join(missing)}"
    closed = [name for name, interface in sorted(tree["interfaces"].items()) if not interface["enabled"]]
    still = [name for name in closed if name in found and links.UP in found[name].flags]
    return f"still up, although shut down: {', '.join(still)}" if still else ""


ROUTE = values.group(
    "Route",
    "A network that is reached through a router on this interface.",
    to=values.described(values.NETWORK_KIND, "To", "The network behind the router.", required=True),
    via=values.described(values.ADDRESS_KIND, "Via", "The router's address.", required=True),
)

NAME_KIND = {
    "type": "string",
    "check_with": values.check(lambda name: _NAME.fullmatch(name) and name != "lo", INTERFACE_NAME),
    "meta": {"allowed": INTERFACE_NAME},
}

INTERFACE = values.group(
    "Interface",
    "One network interface.",
    zones=values.several(
        {"type": "string", "allowed": list(ZONES)},
        "Zones",
        "What the interface is for. One interface may carry several zones; several may carry one. None where it only "
        "carries VLANs.",
        most=len(ZONES),
        required=True,
    ),
    enabled=values.switch("Enabled", "Off: the interface is shut down, and keeps its settings.", default=True),
    vlan=values.group(
        "VLAN",
        "A VLAN (IEEE 802.1Q) on another interface; without it the interface is a physical one.",
        parent=values.described(NAME_KIND, "Parent", "The interface whose cable carries the VLAN.", required=True),
        id=values.described(
            {"type": "integer", "min": VLAN_LOW, "max": VLAN_HIGH}, "Number", "The VLAN's number.", required=True
        ),
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
        NAME_KIND,
        INTERFACE,
        "Network interfaces",
        "By the kernel's name, such as eth0; a VLAN by a name of your own.",
        least=1,
        most=INTERFACES,
    ),
    verify=verify,
    render=render,
    reconcile=reconcile,
    unsettled=unsettled,
    units=(Unit("systemd-networkd.service", "reload", (FILES, DEVICES)),),
)
