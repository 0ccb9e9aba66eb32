"""The host's side of a guest's networks: veth ends, a bridge, and the addresses on both sides."""

import json
from dataclasses import dataclass
from typing import Any

from images.run import CommandError, run

PREFIX = 24  # each zone is a /24


@dataclass(frozen=True, slots=True)
class Link:
    """One veth pair: the host's end, the guest's end, and their addresses.

    With a `bridge` the host's address stands on the bridge and the host's end joins it, so that other guests can too.
    """

    host_interface: str
    guest_interface: str
    host_address: str | None
    guest_address: str
    bridge: str | None = None

    @property
    def nspawn_option(self) -> str:
        """How systemd-nspawn is asked for this pair."""
        return f"--network-veth-extra={self.host_interface}:{self.guest_interface}"


def exists(interface: str) -> bool:
    """Whether the host has an interface of this name."""
    return run(["ip", "link", "show", "dev", interface], check=False).code == 0


def guest_has(leader: int, interface: str) -> bool:
    """Whether the guest's network has an interface of this name yet."""
    return run(["nsenter", "-t", str(leader), "-n", "ip", "link", "show", "dev", interface], check=False).code == 0


def ensure_bridge(name: str, address: str | None) -> None:
    """Make the bridge unless it is there, with the host's address on it."""
    if not exists(name):
        # No forward delay: a guest's first packet must not fall into the learning phase of a spanning tree nobody needs.
        run(["ip", "link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0"])
    if address is not None:
        run(["ip", "address", "replace", f"{address}/{PREFIX}", "dev", name])
    run(["ip", "link", "set", name, "up"])


def remove(name: str) -> None:
    """Remove an interface, unless the kernel did so first: a veth goes with the guest's network, but not at once."""
    gone = run(["ip", "link", "delete", "dev", name], check=False)
    if gone.code != 0 and exists(name):
        raise CommandError(["ip", "link", "delete", "dev", name], f"ended with code {gone.code}", gone.stderr)


def reach(link: Link) -> None:
    """Give the host's end its address and set it up; doing it again changes nothing."""
    if link.bridge is not None:
        ensure_bridge(link.bridge, link.host_address)
        run(["ip", "link", "set", link.host_interface, "master", link.bridge])
    elif link.host_address is not None:
        run(["ip", "address", "replace", f"{link.host_address}/{PREFIX}", "dev", link.host_interface])
    run(["ip", "link", "set", link.host_interface, "up"])


def connect(link: Link, leader: int) -> None:
    """Give the guest's end its address and set it up; doing it again changes nothing."""
    inside = ["nsenter", "-t", str(leader), "-n", "ip"]
    run([*inside, "address", "replace", f"{link.guest_address}/{PREFIX}", "dev", link.guest_interface])
    run([*inside, "link", "set", link.guest_interface, "up"])


def guest_mac(leader: int, interface: str) -> str:
    """The hardware address of a guest's interface."""
    out = run(["nsenter", "-t", str(leader), "-n", "ip", "-json", "link", "show", "dev", interface]).stdout
    shown: list[dict[str, Any]] = json.loads(out)
    return str(shown[0]["address"])
