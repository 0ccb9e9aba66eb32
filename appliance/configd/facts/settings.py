"""Topics that are read from the running configuration, as flat lists that are quick to search."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from appliance.config.secrets import masked
from appliance.configd.api import Facts, Table
from appliance.configd.facts.context import Context, Topic, word

ACL_CHAIN = ("nft", "-j", "list", "chain", "inet", "sentry", "acl")
ACL_COLUMNS = ("entry", "action", "source", "destination", "service", "zone", "per minute", "packets")


def properties(context: Context) -> Iterator[tuple[str, str]]:
    """Every setting of the running configuration by its path, secrets masked."""
    yield from _flat(masked(context.tree), ())


def _flat(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _flat(value, (*path, str(name)))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for place, item in enumerate(tree):
            yield from _flat(item, (*path, str(place)))
    elif tree is not None:
        yield ".".join(path), word(tree)


def config_properties(context: Context, argument: str) -> Table:
    """The settings whose path holds the argument."""
    wanted = argument.lower()
    found = tuple(pair for pair in properties(context) if wanted in pair[0].lower())
    return Table(title="configuration", columns=("property", "value"), rows=found)


def static_hosts(context: Context, _argument: str) -> Table:
    """Names that are known without asking DNS."""
    held = context.setting("dns", "static_hosts", default={})
    return Table(title="static hosts", columns=("name", "address"), rows=tuple(sorted(held.items())))


def domain_name(context: Context, _argument: str) -> Facts:
    """The appliance's own domain, and those that are tried behind short names."""
    name = str(context.setting("hostname", default=""))
    return Facts(
        title="domain name",
        facts=(
            ("domain", name.partition(".")[2] or "not configured"),
            ("search", word(context.setting("dns", "search", default=[])) or "none"),
        ),
    )


def portal_acl(context: Context, _argument: str) -> Table:
    """From where each way in answers."""
    management = context.setting("firewall", "management_networks", default=[])
    own = context.setting("portal", "networks", default=[])
    devices = context.setting("firewall", "device_networks", default=[])
    found = (
        ("SSH", word(management), "firewall management_networks"),
        ("portal", word(own or management), "portal networks" if own else "firewall management_networks"),
        ("gateway", word(devices) or "anywhere", "firewall device_networks"),
    )
    return Table(title="portal ACL", columns=("way in", "networks", "setting"), rows=found if management else ())


class _Rule(msgspec.Struct, frozen=True):
    """Of a rule as nft(8) prints it in JSON, what is looked at."""

    comment: str = ""
    expr: tuple[dict[str, Any], ...] = ()


class _Item(msgspec.Struct, frozen=True):
    """Likewise of one item of its list."""

    rule: _Rule | None = None


class _Listing(msgspec.Struct, frozen=True):
    """The whole of what it prints."""

    nftables: tuple[_Item, ...] = ()


def counted(listing: str) -> dict[str, int]:
    """How many packets the kernel's rules have seen, by their comments, in `nft -j list`."""
    seen: dict[str, int] = {}
    if not listing.strip():
        return seen
    for item in msgspec.json.decode(listing, type=_Listing).nftables:
        if item.rule is None or not item.rule.comment:
            continue
        for one in item.rule.expr:
            counter = one.get("counter")
            if isinstance(counter, Mapping):
                seen[item.rule.comment] = seen.get(item.rule.comment, 0) + int(counter.get("packets", 0))
    return seen


def acl(context: Context, _argument: str) -> Table:
    """The access control lists in the order in which they are asked, with what the kernel has counted for each entry."""
    held = context.setting("acl", default={})
    lists = sorted(held.get("lists", {}).items(), key=lambda item: (item[1]["order"], item[0]))
    seen = counted(context.attempt(list(ACL_CHAIN)).output) if held else {}
    found = [
        (
            f"{name} {place}",
            one["action"],
            one["source"],
            one["destination"],
            one["service"],
            one["zone"],
            word(one["connections_per_minute"] or ""),
            _packets(seen, f"acl {name} {place}"),
        )
        for name, each in lists
        for place, one in enumerate(each["entries"], 1)
    ]
    if held:
        last = ("default_action", held["default_action"], "any", "any", "any", "any", "")
        found.append((*last, _packets(seen, "acl default_action")))
    return Table(title="access control lists", columns=ACL_COLUMNS, rows=tuple(found))


def _packets(seen: Mapping[str, int], comment: str) -> str:
    """What an entry let through, and what of it came too often."""
    much = seen.get(f"{comment}: too often")
    passed = str(seen[comment]) if comment in seen else ""
    return passed if much is None else f"{passed}, too often {much}"


TOPICS = {
    "acl": Topic("access control lists", acl),
    "config-properties": Topic("settings by their paths", config_properties, argument="part of a path"),
    "static-hosts": Topic("names known without DNS", static_hosts),
    "domain-name": Topic("the domain", domain_name),
    "portal-acl": Topic("from where each way in answers", portal_acl),
}
