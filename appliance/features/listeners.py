"""Where the gateway listens, and the balancers in front of it.

A part of the feature `gateway`, which has these groups in its schema.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.features import interfaces, values
from appliance.features.base import Flow, Problem, Tree
from sentry_runtime.settings import Listener

SHORTEST_PREFIX = 8  # as for the management networks: more is no list but nearly everybody
NETWORKS = 64
MORE_LISTENERS = 8
PLAIN_PORT = 80
NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter or digit"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def ports(tree: Tree) -> dict[int, str]:
    """The ports the gateway listens on, with the setting that says so."""
    gateway = tree["gateway"]
    found = {gateway["port"]: "gateway.port"}
    if not gateway["require_client_tls"]:
        found[gateway["plain_port"]] = "gateway.plain_port"
    return found | {one["port"]: f"gateway.listeners.{name}.port" for name, one in sorted(gateway["listeners"].items())}


def verify(tree: Tree) -> Iterable[Problem]:
    """One port for one listener, and nobody is believed who is not listed."""
    yield from _verify_listeners(tree)
    yield from verify_networks("gateway.balancers.networks", tree["gateway"]["balancers"]["networks"])


def _verify_listeners(tree: Tree) -> Iterator[Problem]:
    gateway = tree["gateway"]
    known = [gateway["port"], *([] if gateway["require_client_tls"] else [gateway["plain_port"]])]
    if len(set(known)) < len(known):
        yield Problem("gateway.plain_port", f"{gateway['plain_port']}, which is gateway.port, too", "a port of its own")
    for name, one in sorted(gateway["listeners"].items()):
        path = f"gateway.listeners.{name}"
        if one["port"] in known:
            yield Problem(f"{path}.port", f"{one['port']}, where the gateway listens already", "a port of its own")
        known.append(one["port"])
        if not one["tls"] and gateway["require_client_tls"]:
            yield Problem(f"{path}.tls", "false while gateway.require_client_tls is true", "true, or do not require it")
    yield from _verify_trust(gateway)


def _verify_trust(gateway: Mapping[str, Any]) -> Iterator[Problem]:
    """Whatever lets somebody in, or believes them, because they are a balancer, needs a list of balancers."""
    if gateway["balancers"]["networks"]:
        return
    listed = "gateway.balancers.networks to say who they are; without any"
    if not gateway["require_client_tls"]:
        yield Problem("gateway.require_client_tls", "false", f"plain HTTP is for balancers only: {listed}, true")
    required = [("gateway.balancers.proxy_protocol", gateway["balancers"]["proxy_protocol"])]
    required += [
        (f"gateway.listeners.{name}.proxy_protocol", one["proxy_protocol"])
        for name, one in sorted(gateway["listeners"].items())
    ]
    for path, said in required:
        if said == "required":
            yield Problem(path, said, f"balancers say where connections come from: {listed}, refused")
    if gateway["balancers"]["forwarded_for"]:
        yield Problem("gateway.balancers.forwarded_for", "true", f"balancers are believed: {listed}, false")


def verify_networks(path: str, networks: Iterable[str]) -> Iterator[Problem]:
    """No list of those who are believed holds nearly everybody."""
    for place, network in enumerate(networks):
        if ipaddress.ip_network(network).prefixlen < SHORTEST_PREFIX:
            allowed = f"networks of at least /{SHORTEST_PREFIX}: not nearly everybody"
            yield Problem(f"{path}.{place}", network, allowed)


def listeners(tree: Tree) -> tuple[Listener, ...]:
    """Every listener on every address of the gateway's zones."""
    gateway = tree["gateway"]
    made = [_listener(tree, address, gateway["port"], gateway["balancers"]) for address in _addresses(tree)]
    if not gateway["require_client_tls"]:
        plain = {"tls": False, "proxy_protocol": gateway["plain_proxy_protocol"]}
        made += [_listener(tree, address, gateway["plain_port"], plain) for address in _addresses(tree)]
    for _name, one in sorted(gateway["listeners"].items()):
        made += [_listener(tree, address, one["port"], one) for address in _addresses(tree)]
    return tuple(made)


def _addresses(tree: Tree) -> tuple[str, ...]:
    return interfaces.listen_addresses(tree, tree["gateway"]["zones"])


def _listener(tree: Tree, address: str, port: int, how: Mapping[str, Any]) -> Listener:
    balancers = tree["gateway"]["balancers"]
    required = how["proxy_protocol"] == "required"
    return Listener(
        address=address,
        port=port,
        tls=how.get("tls", True),
        proxy=how["proxy_protocol"],
        forwarded_for=balancers["forwarded_for"] and not required,
        balancers=tuple(balancers["networks"]),
        front_ends=tuple(tree["gateway"]["device_authentication"]["front_ends"]),
    )


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The ways in, in each of the gateway's zones: devices', and balancers' alone where they are the only ones."""
    gateway = tree["gateway"]
    devices, balancers = tuple(tree["firewall"]["device_networks"]), tuple(gateway["balancers"]["networks"])
    found: list[Flow] = []
    for zone in gateway["zones"]:
        anybody = (*devices, *balancers) if devices and zone == "device" else ()
        for port, for_devices in sorted({(one.port, one.tls and one.proxy == "refused") for one in listeners(tree)}):
            found.append(Flow("gateway", "in", "tcp", port, zone, anybody if for_devices else balancers))
    return tuple(found)


PROXY = values.described(
    {"type": "string", "allowed": ["refused", "required"]},
    "PROXY protocol",
    "Whether balancers say with the PROXY protocol, version 2, where a connection comes from. Required: nobody else can connect.",
    default="refused",
)
NAME_KIND = {"type": "string", "check_with": values.check(_NAME.fullmatch, NAME), "meta": {"allowed": NAME}}

BALANCERS = values.group(
    "Balancers",
    "Load balancers in front of this gateway.",
    networks=values.several(
        values.NETWORK_KIND,
        "Networks",
        "Where they are. They alone are believed, and let in without TLS.",
        most=NETWORKS,
        default=[],
    ),
    proxy_protocol=PROXY,
    forwarded_for=values.switch(
        "X-Forwarded-For",
        "Whether the last address in that field of a balancer's request is the device's; where the PROXY protocol is refused.",
        default=False,
    ),
)
LISTENERS = values.named(
    NAME_KIND,
    values.group(
        "Listener",
        "One more port, in the gateway's zones.",
        port=values.described(values.PORT_KIND, "Port", "Where it listens.", required=True),
        tls=values.switch("TLS", "Off: plain HTTP, for balancers only.", default=True),
        proxy_protocol=PROXY,
    ),
    "More listeners",
    "Further ports by a name of your own, such as one for balancers beside the one for devices.",
    most=MORE_LISTENERS,
    default={},
)
REQUIRE_CLIENT_TLS = values.switch(
    "Require client TLS", "Off: plain HTTP on `plain_port` as well, from listed balancers only.", default=True
)
PLAIN = {
    "plain_port": values.described(
        values.PORT_KIND, "Plain port", "Where plain HTTP listens, if it does.", default=PLAIN_PORT
    ),
    "plain_proxy_protocol": PROXY,
}
