"""Words of other routers' command lines, each another way to say a setting of the schema; `no` takes them back.

They change the candidate through the same verbs as the setting's own words, so what is allowed is said in one place.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.cli import configure
from appliance.cli.command import Action, Command, CommandError, Mode
from appliance.cli.configure import Path, Values, current, put_value, remove
from appliance.cli.shell import Shell

CONFIG = frozenset({Mode.CONFIG})
INTERFACE = frozenset({Mode.INTERFACE})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")
SEARCH: Path = ("dns", "search")
SERVERS: Path = ("dns", "servers")
HOSTS: Path = ("dns", "static_hosts")


# --- names -----------------------------------------------------------------------------------------------------------


def add(path: Path, name: str) -> Action:
    """The command that adds the argument `name` to a list."""
    return lambda shell, values: configure.add_item(shell, path, values[name])


def take(path: Path, name: str) -> Action:
    """The command that takes the argument `name` out of a list."""
    return lambda shell, values: remove(shell, path, values[name])


def static_host(shell: Shell, values: Values) -> None:
    """A name that is known without asking DNS."""
    put_value(shell, (*HOSTS, values["name"]), values["address"])


def no_static_host(shell: Shell, values: Values) -> None:
    """Forget such a name."""
    remove(shell, (*HOSTS, values["name"]))


def account_role(shell: Shell, values: Values) -> None:
    """Make an account, or give it another role."""
    put_value(shell, ("users", "accounts", values["user"], "role"), values["role"])


def no_account(shell: Shell, values: Values) -> None:
    """Remove an account."""
    remove(shell, ("users", "accounts", values["user"]))


# --- routes ----------------------------------------------------------------------------------------------------------


def route(shell: Shell, values: Values) -> None:
    """A network behind a router: on the interface that has the router's network. The default route is its gateway."""
    to, via = _route(values)
    held = current(shell, ("interfaces",)) or {}
    name = _interface_of(held, via)
    interface = held[name]
    gateway = interface.get("gateway")
    free = gateway is None or ipaddress.ip_address(gateway).version == to.version
    if str(to) in DEFAULT_ROUTES and free:
        put_value(shell, ("interfaces", name, "gateway"), via)
        return
    routes = interface.get("routes") or []
    there = [place for place, one in enumerate(routes) if one["to"] == str(to)]
    place = there[0] if there else len(routes)
    if routes:
        put_value(shell, ("interfaces", name, "routes", str(place)), {"to": str(to), "via": via})
    else:
        put_value(shell, ("interfaces", name, "routes"), [{"to": str(to), "via": via}])


def no_route(shell: Shell, values: Values) -> None:
    """Remove the route to a network by this router."""
    to, via = _route(values)
    for path in _routes(current(shell, ("interfaces",)) or {}, to, via):
        remove(shell, path)
        return
    raise CommandError(f"Found no route to {to} by {via}; `show interfaces` in this mode lists them.")


def _route(values: Values) -> tuple[Network, str]:
    """Network and router of a line: `NETWORK/PREFIX ROUTER` or `NETWORK MASK ROUTER`."""
    masked = "via" in values
    text = f"{values['network']}/{values['next']}" if masked else values["network"]
    via = values["via"] if masked else values["next"]
    try:
        return ipaddress.ip_network(text), str(ipaddress.ip_address(via))
    except ValueError as error:
        raise CommandError(
            f"Found {text} by {via}; allowed: a network and its router, such as 198.51.100.0/24 192.0.2.1 or "
            "198.51.100.0 255.255.255.0 192.0.2.1."
        ) from error


def _interface_of(held: Mapping[str, Any], via: str) -> str:
    router = ipaddress.ip_address(via)
    networks = {
        ipaddress.ip_interface(address).network: name
        for name, interface in held.items()
        for address in interface.get("addresses") or ()
    }
    found = [name for network, name in networks.items() if router in network]
    if not found:
        known = ", ".join(map(str, networks)) or "none yet"
        raise CommandError(f"Found the router {via}; allowed: one on a network of an interface: {known}.")
    return found[0]


def _routes(held: Mapping[str, Any], to: Network, via: str) -> Iterator[Path]:
    """Where the route stands."""
    for name, interface in held.items():
        if str(to) in DEFAULT_ROUTES and interface.get("gateway") == via:
            yield "interfaces", name, "gateway"
        for place, one in enumerate(interface.get("routes") or ()):
            if (one["to"], one["via"]) == (str(to), via):
                yield "interfaces", name, "routes", str(place)


# --- one interface ---------------------------------------------------------------------------------------------------


def interface_setting(path: Path, *, value: Any) -> Action:
    """The command that sets one setting of the interface to a fixed value."""
    return lambda shell, _values: put_value(shell, ("interfaces", shell.interface, *path), value)


def physical(shell: Shell, values: Values) -> None:
    """On which interface this VLAN lies."""
    put_value(shell, ("interfaces", shell.interface, "vlan", "parent"), values["interface"])


def no_address(shell: Shell, values: Values) -> None:
    """Remove one address of the interface, or all."""
    path = ("interfaces", shell.interface, "addresses")
    remove(shell, path, configure.address_of(values) if "address" in values else None)


def enter_vlan(shell: Shell, values: Values) -> None:
    """Enter the mode of the interface that is called like the VLAN, and make it one."""
    number = values["vlan"]
    name = f"vlan{number}"
    put_value(shell, ("interfaces", name, "vlan", "id"), number)
    configure.enter_interface(name)(shell, values)


COMMANDS: tuple[Command, ...] = (
    Command("ip name-server <address>", "Add a DNS server", add(SERVERS, "address"), CONFIG),
    Command("ip domain-name <name>", "Add a domain that is tried behind short names", add(SEARCH, "name"), CONFIG),
    Command("ip route <network> <next>", "Add a route: network with prefix length, router", route, CONFIG),
    Command("ip route <network> <next> <via>", "The same: network, mask, router", route, CONFIG),
    Command("statichost <name> <address>", "Add a name that is known without DNS", static_host, CONFIG),
    Command(
        "username <user> role <role:administrator|operator|auditor>",
        "Add an account, or change its role",
        account_role,
        CONFIG,
    ),
    Command("shutdown", "Shut this interface down", interface_setting(("enabled",), value=False), INTERFACE),
    Command("physical interface <interface>", "The interface on which this VLAN lies", physical, INTERFACE),
)
NO_COMMANDS: tuple[Command, ...] = (
    Command("ip name-server <address>", "Remove a DNS server", take(SERVERS, "address"), CONFIG),
    Command("ip domain-name <name>", "Remove a domain that is tried behind short names", take(SEARCH, "name"), CONFIG),
    Command("ip route <network> <next>", "Remove a route: network with prefix length, router", no_route, CONFIG),
    Command("ip route <network> <next> <via>", "The same: network, mask, router", no_route, CONFIG),
    Command("statichost <name>", "Remove a name that is known without DNS", no_static_host, CONFIG),
    Command("username <user>", "Remove an account", no_account, CONFIG),
    Command("shutdown", "Bring this interface up", interface_setting(("enabled",), value=True), INTERFACE),
    Command("ip address", "Remove every address of this interface", no_address, INTERFACE),
    Command("ip address <address>", "Remove one address with its prefix length", no_address, INTERFACE),
    Command("ip address <address> <mask>", "The same, with a mask", no_address, INTERFACE),
)
"""What stands behind `no`."""

WORDS = {
    "ip": "Names, routes and addresses in the words of other routers",
    "ip address": "An address of this interface",
    "ip route": "A network behind a router",
    "physical": "The interface on which this VLAN lies",
    "username": "An administrator's account",
    "username <user> role": "Add the account, or change its role",
}
