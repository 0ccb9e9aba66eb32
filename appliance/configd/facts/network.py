"""Topics about the network: what the kernel has, and what is let through."""

from collections.abc import Iterator, Mapping
from typing import Any

from appliance import render
from appliance.configd.api import Facts, Shown, Table, Text
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context, Topic, json_list, rows, tail, word
from appliance.features.base import Flow
from appliance.system import SOCKET_TABLES, listening_ports

SSHD = (
    "port", "listenaddress", "maxsessions", "maxstartups", "clientaliveinterval", "clientalivecountmax", "banner",
    "permitrootlogin", "passwordauthentication", "pubkeyauthentication", "ciphers", "macs", "kexalgorithms",
    "hostkeyalgorithms",
)  # fmt: skip


def interfaces(context: Context, _argument: str) -> Table:
    """Interfaces, their zone in the configuration, state and addresses."""
    found = json_list(context.system.run(["ip", "-json", "address", "show"]))
    listed = tuple(
        (
            str(link.get("ifname", "")),
            word(_zones(context, str(link.get("ifname", "")))),
            str(link.get("operstate", "")).lower(),
            word([f"{one['local']}/{one['prefixlen']}" for one in link.get("addr_info", ()) if "local" in one]),
            str(link.get("address", "")),
            word(link.get("mtu", "")),
        )
        for link in found
    )
    return Table(
        title="interfaces", columns=("interface", "zone", "state", "addresses", "hardware", "MTU"), rows=listed
    )


def _zones(context: Context, name: str) -> Any:
    settings = context.setting("interfaces", name, default={})
    return settings.get("zones", settings.get("zone", "")) if isinstance(settings, Mapping) else ""


def routes(context: Context, _argument: str) -> Table:
    """Routes of both families."""
    found = [
        *json_list(context.system.run(["ip", "-json", "-4", "route", "show"])),
        *json_list(context.system.run(["ip", "-json", "-6", "route", "show"])),
    ]
    columns = ("dst", "gateway", "dev", "protocol", "metric")
    return Table(title="routes", columns=("to", "via", "interface", "from", "metric"), rows=rows(found, *columns))


def arp(context: Context, _argument: str) -> Table:
    """Neighbours."""
    found = json_list(context.system.run(["ip", "-json", "neighbor", "show"]))
    columns = ("dst", "lladdr", "dev", "state")
    return Table(title="arp", columns=("address", "hardware", "interface", "state"), rows=rows(found, *columns))


def dns(context: Context, _argument: str) -> Text:
    """What the resolver uses."""
    return Text(title="dns", lines=tail(context.system.read("/etc/resolv.conf") or "no resolver is configured"))


def ntp(context: Context, _argument: str) -> Table:
    """chrony's sources (chronyc(1), sources -c)."""
    output = context.system.run(["chronyc", "-n", "-c", "sources"])
    state = {
        "*": "in use",
        "+": "combined",
        "-": "not combined",
        "?": "unreachable",
        "x": "false ticker",
        "~": "variable",
    }
    fields = [line.split(",") for line in output.splitlines()]
    found = tuple((one[2], state.get(one[1], one[1]), one[3], one[6]) for one in fields if len(one) > 6)
    return Table(title="ntp", columns=("server", "state", "stratum", "heard (s ago)"), rows=found)


def ssh(context: Context, _argument: str) -> Facts:
    """What sshd goes by (sshd -T)."""
    lines = [line.partition(" ") for line in context.system.run(["sshd", "-T"]).splitlines()]
    return Facts(title="ssh", facts=tuple((key, value) for key, _space, value in lines if key in SSHD))


def firewall(context: Context, argument: str) -> Shown:
    """The flows that are let through, or with `counters` the kernel's rules and what they counted."""
    if argument == "counters":
        output = context.system.run(["nft", "list", "ruleset"])
        return Text(title="firewall counters", lines=tail("\n".join(_counted(output))))
    if argument:
        raise refused("invalid", f"found {argument!r} after firewall; allowed: counters")
    found = tuple(_flow(flow) for flow in _flows(context))
    columns = ("feature", "direction", "protocol", "port", "zone", "peers", "account")
    return Table(title="firewall", columns=columns, rows=found)


def _counted(ruleset: str) -> Iterator[str]:
    for line in ruleset.splitlines():
        if "counter" in line or line.strip().startswith(("chain", "type filter")):
            yield line.strip()


def _flows(context: Context) -> tuple[Flow, ...]:
    return render.flows(context.tree, context.schema.features) if context.running else ()


def _flow(flow: Flow) -> tuple[str, ...]:
    peers = ", ".join(flow.peers) or "anybody"
    return (flow.feature, flow.direction, flow.protocol, str(flow.port), flow.zone or "every", peers, flow.user or "")


def ports(context: Context, _argument: str) -> Table:
    """The inbound ports the configuration declares, and whether somebody listens; from where is `firewall`'s to tell."""
    listening = {port for table in SOCKET_TABLES for port in listening_ports(context.system.read(table) or "")}
    inbound = [flow for flow in _flows(context) if flow.direction == "in"]
    found = tuple(
        (
            f"{flow.port}/{flow.protocol}",
            flow.feature,
            flow.zone or "every",
            word(flow.port in listening) if flow.protocol == "tcp" else "",
        )
        for flow in inbound
    )
    return Table(title="ports", columns=("port", "feature", "zone", "listening"), rows=found)


def tcp(context: Context, _argument: str) -> Table:
    """Listening TCP sockets and the programs behind them."""
    fields = [line.split() for line in context.system.run(["ss", "-Hltnp"]).splitlines()]
    found = tuple((one[3], one[5] if len(one) > 5 else "") for one in fields if len(one) > 4)
    return Table(title="tcp", columns=("address", "program"), rows=found)


TOPICS = {
    "interfaces": Topic("interfaces and addresses", interfaces),
    "routes": Topic("the routing table", routes),
    "arp": Topic("neighbours", arp),
    "dns": Topic("the resolver", dns),
    "ntp": Topic("time servers", ntp),
    "ssh": Topic("what sshd goes by", ssh),
    "firewall": Topic("the flows that are let through", firewall, argument="counters"),
    "ports": Topic("inbound ports and who listens", ports),
    "tcp": Topic("listening sockets", tcp),
}
