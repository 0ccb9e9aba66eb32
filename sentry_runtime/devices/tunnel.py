"""App tunnels: which of an organisation's servers the apps of a device may reach through the gateway, as the UEM says.

The gateway does not carry them yet. They are kept with the device's entry, shown, and held against the UEM all the same, so that
the list is whole on the day it does.
"""

import enum
import hashlib
from collections.abc import Collection

import msgspec

TUNNELS = 50  # of one device; a UEM publishes some dozens of services, each under one name
NAME_CHARS = 64
HOST_CHARS = 253  # RFC 1035: a name of 255 octets on the wire


class TunnelAuthentication(enum.StrEnum):
    """How a user may authenticate to the server at a tunnel's end."""

    PASS_THROUGH = "pass_through"  # noqa: S105 - a word, no password
    KERBEROS = "kerberos"


class AppTunnel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server that a device's apps may reach. `host` is a DNS name in lower case or an address; the name is unique within
    the device's tunnels."""

    name: str
    host: str
    port: int
    authentication: tuple[TunnelAuthentication, ...] = (TunnelAuthentication.PASS_THROUGH,)


def digest(tunnels: Collection[AppTunnel]) -> bytes:
    """What tells one device's tunnels from another's, whatever their order; empty for none. `docs/uem-api.md` has the form."""
    if not tunnels:
        return b""
    lines = sorted(
        f"{one.name}\n{one.host}\n{one.port}\n{','.join(sorted(set(one.authentication)))}\n" for one in tunnels
    )
    return hashlib.sha256("".join(lines).encode()).digest()
