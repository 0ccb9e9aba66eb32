"""Where a redirection may lead: judged on the address that is then dialled, never on a name.

A name is resolved once for each dial, and what is dialled is the address that was judged, so that a name which means
something else a moment later (rebinding) gains nothing.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses that are no mail server's, however large a network the site has listed: the machine itself, its link, groups,
# the metadata services of clouds, and the IPv6 forms that are really some IPv4 address. A site that means one of them lists
# a network that lies within it.
SPECIAL: tuple[Network, ...] = tuple(
    ipaddress.ip_network(one)
    for one in (
        "0.0.0.0/8",  # this network (RFC 1122 3.2.1.3)
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and there 169.254.169.254: metadata of AWS, Azure, Google, OpenStack ...
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.0/24",  # IETF protocol assignments, and there 192.0.0.192: metadata, Oracle
        "224.0.0.0/4",  # groups
        "240.0.0.0/4",  # reserved, and 255.255.255.255
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped; judged as IPv4 where one is dialled
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # NAT64, local use (RFC 8215)
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fd00:ec2::/32",  # metadata, AWS
        "fe80::/10",
        "ff00::/8",
    )
)


class AddressRefusedError(OSError):
    """What a name was resolved to lies nowhere a redirection may lead."""


def networks_of(listed: Iterable[str]) -> tuple[Network, ...]:
    """The networks as values. Raises `ValueError` naming one that is none."""
    return tuple(ipaddress.ip_network(one) for one in listed)


def parsed(text: str) -> Address | None:
    """An address as the resolver gives it, an IPv4 address in IPv6 clothes as what it is; None for what is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def may_dial(address: Address, networks: Iterable[Network], *, own: bool) -> bool:
    """Whether a redirection may lead there. `own`: it is one of this machine's addresses.

    A special address needs a network that lies within the special range, an own one (elsewhere) one that is just it.
    """
    holding = [one for one in networks if one.version == address.version and address in one]
    special = [one for one in SPECIAL if one.version == address.version and address in one]
    if special:
        return any(_within(one, whole) for one in holding for whole in special)
    return any(one.num_addresses == 1 or not own for one in holding)


def _within(part: Network, whole: Network) -> bool:
    return part.prefixlen >= whole.prefixlen and part.network_address in whole


def is_own(address: Address) -> bool:
    """Whether the address is this machine's: the kernel lets nobody bind to another's, and it knows those by DHCP, too."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
        try:
            one.bind((str(address), 0))
        except OSError:
            return False
    return True


def permitted(found: Iterable[str], networks: Iterable[Network], own: Callable[[Address], bool] = is_own) -> list[str]:
    """Of what a name was resolved to, what may be dialled, in its order."""
    listed = tuple(networks)
    addresses = [address for address in map(parsed, found) if address is not None]
    return [str(address) for address in addresses if may_dial(address, listed, own=own(address))]
