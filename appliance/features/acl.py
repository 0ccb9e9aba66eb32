"""Access control lists: who of those that the declared flows let in is kept out all the same, and how often one may come.

A list only ever narrows. What comes in passes the lists first and the declared flows (`appliance.features.flows`) after
them, so an entry that permits opens nothing that no feature needs: on this appliance there is no such port, and if there
were one by a mistake, no list of an administrator's should be what opens it. The first entry that fits decides; where none
does, `default_action`. Connections that stand already are not cut.

`judge` says the same as the rendered rules, for whoever must know it beforehand (`appliance.configd.lockout`).
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.features import values
from appliance.features.base import Feature, Problem, Tree
from appliance.features.interfaces import ZONES

NETWORKS = 64
NETWORKS_EACH = 64
SERVICES = 64
LISTS = 32
ENTRIES = 64
PER_MINUTE = 60_000  # a thousand a second; the gateway's own limits are below
SOURCES = 65_535  # that are counted at once; those beyond are refused, not let through uncounted
ANY = "any"
NAME = "a name of 1 to 32 of a-z, 0-9, - and _, beginning with a letter, and not `any`"
CHAIN = "acl"
SITE_PREFIX = 64  # of IPv6, whoever has one address has the whole /64 (RFC 6177)
_NAME = re.compile(r"(?!any\Z)[a-z][a-z0-9_-]{0,31}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FAMILIES = (("ip", 4), ("ip6", 6))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry with its names resolved. `source` and `destination` None: anybody, any address of the appliance;
    `port` None: every service; `zone` "": every zone; `per_minute` 0: as often as one likes."""

    name: str
    permits: bool
    source: tuple[Network, ...] | None = None
    destination: tuple[Network, ...] | None = None
    protocol: str = ""
    ports: tuple[int, int] | None = None
    zone: str = ""
    per_minute: int = 0

    def fits(self, source: str, protocol: str, port: int, zone: str, destination: str | None = None) -> bool:
        """Whether a new connection is this entry's to decide. A `destination` that is not known fits any."""
        return (
            _holds(self.source, source)
            and (destination is None or _holds(self.destination, destination))
            and self.protocol in ("", protocol)
            and (self.ports is None or self.ports[0] <= port <= self.ports[1])
            and self.zone in ("", zone)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the chain in nftables' own words."""

    match: str
    verdict: str
    comment: str


@dataclass(frozen=True, slots=True)
class Meter:
    """A set that counts the sources of one entry, in one address family."""

    name: str
    family: str


@dataclass(frozen=True, slots=True)
class Chain:
    """What the packet filter's template needs: the chain's rules in order, the sets they count in, and the last word."""

    rules: tuple[Rule, ...] = ()
    meters: tuple[Meter, ...] = ()
    permits: bool = True


def entries(tree: Tree) -> tuple[Entry, ...]:
    """Every entry in the order in which they are asked: the lists by `order`, the entries of each by theirs."""
    acl = tree["acl"]
    listed = sorted(acl["lists"].items(), key=lambda item: (item[1]["order"], item[0]))
    return tuple(
        _entry(acl, f"{name} {place}", one) for name, each in listed for place, one in enumerate(each["entries"], 1)
    )


def _entry(acl: Mapping[str, Any], name: str, one: Mapping[str, Any]) -> Entry:
    service = {} if one["service"] == ANY else acl["services"][one["service"]]
    first = service.get("port")
    return Entry(
        name=name,
        permits=one["action"] == "permit",
        source=_networks(acl, one["source"]),
        destination=_networks(acl, one["destination"]),
        protocol=service.get("protocol", ""),
        ports=(first, service.get("last_port", first)) if first is not None else None,
        zone="" if one["zone"] == ANY else one["zone"],
        per_minute=one["connections_per_minute"],
    )


def _networks(acl: Mapping[str, Any], name: str) -> tuple[Network, ...] | None:
    return None if name == ANY else tuple(ipaddress.ip_network(one) for one in acl["networks"][name])


def _holds(networks: tuple[Network, ...] | None, address: str) -> bool:
    here = ipaddress.ip_address(address)
    return networks is None or any(here in network for network in networks)


def judge(
    tree: Tree, source: str, protocol: str, port: int, zone: str, *, destination: str | None = None
) -> Entry | None:
    """The entry that keeps a new connection out; None when the lists let it pass. One that keeps out by default has the
    name `default_action`."""
    for entry in entries(tree):
        if entry.fits(source, protocol, port, zone, destination):
            return None if entry.permits else entry
    permits = tree["acl"]["default_action"] == "permit"
    return None if permits else Entry(name="default_action", permits=False)


def chain(tree: Tree) -> Chain | None:
    """The lists as a chain of nftables; None where there is nothing to ask."""
    found = entries(tree)
    permits = tree["acl"]["default_action"] == "permit"
    if not found and permits:
        return None
    rules: list[Rule] = []
    meters: list[Meter] = []
    for number, entry in enumerate(found):
        counts = entry.permits and entry.per_minute > 0
        for family, match in _matches(entry):
            if counts:
                rules += _counted(number, entry, family, match)
            else:
                rules.append(Rule(match, "return" if entry.permits else "drop", _comment(entry)))
        if counts:
            meters += [Meter(_meter(number, family), family) for family, _version in FAMILIES]
    return Chain(tuple(rules), tuple(meters), permits)


def _comment(entry: Entry) -> str:
    return f"{CHAIN} {entry.name}"


def _meter(number: int, family: str) -> str:
    return f"{CHAIN}_{number}_{family}"


def _counted(number: int, entry: Entry, only: str, match: str) -> Iterator[Rule]:
    """A source within its rate goes on; whoever this entry fits otherwise is refused, those too whom the full set could
    not count. `only`: the one address family that `match` is of, "" for both."""
    rate = f"limit rate {entry.per_minute}/minute burst {entry.per_minute} packets"
    for family, _version in FAMILIES:
        if only in ("", family):
            source = "ip saddr" if family == "ip" else f"ip6 saddr & {_mask()}"
            counting = f"update @{_meter(number, family)} {{ {source} {rate} }}"
            yield Rule(f"{match} {counting}".strip(), "return", _comment(entry))
    yield Rule(match, "drop", f"{_comment(entry)}: too often")


def _mask() -> str:
    return str(ipaddress.ip_network(f"::/{SITE_PREFIX}").netmask)


def _matches(entry: Entry) -> list[tuple[str, str]]:
    """What a packet must be: one match for each address family in which source and destination can meet, with its name;
    a single one without a name where every address will do."""
    zone = f"iifname @zone_{entry.zone}" if entry.zone else ""
    sides = [(word, held) for word, held in (("saddr", entry.source), ("daddr", entry.destination)) if held is not None]
    if not sides:
        return [("", _joined(zone, _service(entry)))]
    matches = []
    for family, version in FAMILIES:
        parts = [_side(family, word, held, version) for word, held in sides]
        if all(parts):
            matches.append((family, _joined(zone, *parts, _service(entry))))
    return matches


def _joined(*parts: str) -> str:
    return " ".join(filter(None, parts))


def _service(entry: Entry) -> str:
    if entry.ports is None:
        return ""
    first, last = entry.ports
    return f"{entry.protocol} dport {first}" + (f"-{last}" if last != first else "")


def _side(family: str, word: str, networks: Iterable[Network], version: int) -> str:
    kept = [str(one) for one in _collapsed(networks, version)]
    return f"{family} {word} {{ {', '.join(kept)} }}" if kept else ""


def _collapsed(networks: Iterable[Network], version: int) -> list[Network]:
    """The networks of one family without any that another contains: a set with overlaps is an error of nftables."""
    if version == 4:
        return list(ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv4Network)))
    return list(ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv6Network)))


def verify(tree: Tree) -> Iterable[Problem]:
    """Every name that an entry has is there, and only what is permitted has a rate."""
    acl = tree["acl"]
    for name, each in sorted(acl["lists"].items()):
        for place, one in enumerate(each["entries"]):
            path = f"acl.lists.{name}.entries.{place}"
            for side in ("source", "destination"):
                yield from _known(f"{path}.{side}", one[side], acl["networks"], "acl.networks")
            yield from _known(f"{path}.service", one["service"], acl["services"], "acl.services")
            if one["action"] == "deny" and one["connections_per_minute"]:
                found = f"{one['connections_per_minute']} with action deny"
                yield Problem(f"{path}.connections_per_minute", found, "0, or action permit")
    for name, service in sorted(acl["services"].items()):
        if service.get("last_port", service["port"]) < service["port"]:
            found = f"{service['last_port']}, which is below port {service['port']}"
            yield Problem(f"acl.services.{name}.last_port", found, "a port that is not below the first")


def _known(path: str, name: str, names: Iterable[str], where: str) -> Iterator[Problem]:
    if name != ANY and name not in names:
        known = ", ".join(sorted(names)) or "none yet"
        yield Problem(path, f"{name}, which is not there", f"{ANY}, or a name of {where}: {known}")


NAME_KIND = {"type": "string", "check_with": values.check(_NAME.fullmatch, NAME), "meta": {"allowed": NAME}}
REFERENCE = f"{ANY}, or a name of your own that is defined beside"
REFERENCE_KIND = {
    "type": "string",
    "check_with": values.check(lambda text: text == ANY or _NAME.fullmatch(text), REFERENCE),
    "meta": {"allowed": REFERENCE},
}

ENTRY = values.group(
    "Entry",
    "Whom it is about, and whether they may go on to the gateway, SSH or the portal.",
    action=values.described(
        {"type": "string", "allowed": ["permit", "deny"]},
        "Action",
        "permit: they go on to what the appliance serves; deny: dropped without a word.",
        required=True,
    ),
    source=values.described(REFERENCE_KIND, "Source", "Where they come from, a name of acl.networks.", default=ANY),
    destination=values.described(
        REFERENCE_KIND, "Destination", "Which of the appliance's addresses, a name of acl.networks.", default=ANY
    ),
    service=values.described(REFERENCE_KIND, "Service", "What they want, a name of acl.services.", default=ANY),
    zone=values.described(
        {"type": "string", "allowed": [ANY, *ZONES]}, "Zone", "The zone in which they come in.", default=ANY
    ),
    connections_per_minute=values.number(
        "Connections per minute",
        f"How many new ones one source (of IPv6: one /{SITE_PREFIX}) may make in a minute, on average; the rest are dropped. "
        "0: any number.",
        low=0,
        high=PER_MINUTE,
        default=0,
    ),
)

FEATURE = Feature(
    name="acl",
    label="Access control lists",
    default={},
    schema=values.group(
        "Access control lists",
        "Who is kept out although the appliance's own rules would let them in. Lists only narrow: they open no port.",
        networks=values.named(
            NAME_KIND,
            values.several(
                values.NETWORK_KIND,
                "Networks",
                "Networks; one host is a /32 or /128.",
                least=1,
                most=NETWORKS_EACH,
            ),
            "Networks and hosts",
            "Groups of networks by a name of your own.",
            most=NETWORKS,
            default={},
        ),
        services=values.named(
            NAME_KIND,
            values.group(
                "Service",
                "A port, or a range of ports.",
                protocol=values.described(
                    {"type": "string", "allowed": ["tcp", "udp"]}, "Protocol", "tcp or udp.", default="tcp"
                ),
                port=values.described(values.PORT_KIND, "Port", "The port, or the first of a range.", required=True),
                last_port=values.described(values.PORT_KIND, "Last port", "The last one of a range."),
            ),
            "Network services",
            "Ports by a name of your own.",
            most=SERVICES,
            default={},
        ),
        lists=values.named(
            NAME_KIND,
            values.group(
                "List",
                "Entries that are asked one after the other; the first one that fits decides.",
                description=values.line("Description", "For people.", characters=80, default=""),
                order=values.number("Order", "Lists with a lower one are asked first.", low=1, high=9_999, default=100),
                entries={
                    "type": "list",
                    "schema": ENTRY,
                    "minlength": 0,
                    "maxlength": ENTRIES,
                    "default": [],
                    "meta": {"label": "Entries", "help": "In the order in which they are asked."},
                },
            ),
            "Lists",
            "Lists by a name of your own.",
            most=LISTS,
            default={},
        ),
        default_action=values.described(
            {"type": "string", "allowed": ["permit", "deny"]},
            "Default action",
            "For whom no entry fits. permit: the appliance's own rules decide; deny: only whom an entry permits comes so far.",
            default="permit",
        ),
    ),
    verify=verify,
    facts=("acl",),
)
