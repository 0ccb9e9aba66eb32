"""Whom a listener lets in, and what it believes of them: the settings' networks, read once. No input or output."""

import contextlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from sentry_runtime.settings import Listener, SettingsError

SHORTEST_PREFIX = 8  # a network larger than 10.0.0.0/8 is no list of balancers but nearly everybody

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """The rules of one listener. All of them speak of the address at the other end of the TCP connection itself."""

    name: str
    tls: bool
    proxied: bool
    forwarded_for: bool
    balancers: Networks
    front_ends: Networks

    @classmethod
    def of(cls, listener: Listener, path: str = "gateway.listeners") -> Self:
        """Raises `SettingsError` naming the place (below `path`) for a network that is none, and for a listener that lets
        everybody say who they are."""
        exclusive = "a plain listener" if not listener.tls else "a listener that requires the PROXY protocol"
        if (not listener.tls or listener.proxy == "required") and not listener.balancers:
            raise SettingsError(f"{path}.balancers: {exclusive} is for listed balancers only; found none")
        if listener.forwarded_for and not listener.balancers:
            raise SettingsError(f"{path}.forwarded_for: X-Forwarded-For is believed of listed balancers; found none")
        if listener.forwarded_for and listener.proxy == "required":
            raise SettingsError(f"{path}.forwarded_for: the PROXY protocol already says where a connection comes from")
        return cls(
            name=f"{listener.address}:{listener.port}",
            tls=listener.tls,
            proxied=listener.proxy == "required",
            forwarded_for=listener.forwarded_for,
            balancers=_networks(listener.balancers, f"{path}.balancers"),
            front_ends=_networks(listener.front_ends, f"{path}.front_ends"),
        )

    def refusal(self, address: Address) -> str:
        """Why nobody may come in from there, as a word for the audit line; "" when one may."""
        if self.tls and not self.proxied:
            return ""
        return "" if self.is_balancer(address) else "not_a_balancer"

    def is_balancer(self, address: Address) -> bool:
        """Whether what it says of addresses is believed."""
        return any(address in network for network in self.balancers)

    def is_front_end(self, address: Address) -> bool:
        """Whether what it says of certificates is believed."""
        return any(address in network for network in self.front_ends)


def _networks(texts: tuple[str, ...], path: str) -> Networks:
    found = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from None
        if network.prefixlen < SHORTEST_PREFIX:
            raise SettingsError(
                f"{path}: {text}; networks of at least /{SHORTEST_PREFIX} are allowed: not nearly everybody"
            )
        found.append(network)
    return tuple(found)


def address_of(text: str) -> Address:
    """The address in what a socket or a balancer tells of a peer. Raises `ValueError` for what is none.

    An interface's name behind it (`%eth0`) says nothing here; an IPv4 one that is written as IPv6 is IPv4.
    """
    found = ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def place_of(source: str) -> str:
    """What counts as one source: an IPv4 address, or the 64-bit network that every IPv6 customer has at least."""
    if ":" not in source:
        return source
    with contextlib.suppress(ValueError):
        address = IPv6Address(source.partition("%")[0])
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return source


def forwarded_source(values: list[bytes]) -> str:
    """The client's address in the X-Forwarded-For fields of a balancer's request, in the order sent; "" where there is none.

    The last item is the balancer's own word: what stands before it came with the client's request (RFC 7239 8.1 says the
    same of its successor), and may be anything.
    """
    if not values:
        return ""
    last = values[-1].rpartition(b",")[2].strip(b" \t").decode("latin-1")
    if "%" in last:  # an interface's name, which may be any text
        return ""
    try:
        return str(address_of(last.removeprefix("[").removesuffix("]")))
    except ValueError:
        return ""
