"""The kernel's links where systemd-networkd leaves them alone: at a reload it makes new VLANs, but removes none and changes
none (networkctl(1), `reload`), and whether a link is up it looks at when the link appears.

A VLAN is ours when networkd follows a file of ours for it; no other link is ever removed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from appliance.features.base import System

FILES = "/etc/systemd/network/50-sentry-"
UP = "UP"  # IFF_UP (netdevice(7)): an administrator wants it to run
STATE = (
    "/run/systemd/netif/links/"  # what networkd says of each link, by its index; NETWORK_FILE is the file it follows
)


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN's number and the interface it lies on."""

    parent: str
    number: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration says of one link."""

    up: bool
    vlan: Vlan | None = None


class _Data(msgspec.Struct, frozen=True):
    """Of what ip(8) prints about a VLAN, what is looked at; other kinds of links have other things in its place."""

    id: int | str = 0


class _Info(msgspec.Struct, frozen=True):
    """Likewise of a link's kind."""

    info_kind: str = ""
    info_data: _Data = _Data()


class _Link(msgspec.Struct, frozen=True):
    """Likewise of a link."""

    ifname: str = ""
    ifindex: int = 0
    link: str = ""
    flags: tuple[str, ...] = ()
    linkinfo: _Info = _Info()

    @property
    def vlan(self) -> Vlan | None:
        """Its number and parent, if it is a VLAN."""
        return Vlan(self.link, int(self.linkinfo.info_data.id)) if self.linkinfo.info_kind == "vlan" else None


def reconcile(wanted: Mapping[str, Wanted], system: System) -> bool:
    """Remove, make and switch until the links are what `wanted` says; says whether anything had to be done. A physical
    link that is not there is passed over."""
    present = {link.ifname: link for link in _links(system)}
    commands = [*_gone(wanted, present, system), *_come(wanted, present), *_switched(wanted, present)]
    for words in commands:
        system.run(["ip", "link", *words])
    return bool(commands)


def _gone(wanted: Mapping[str, Wanted], present: Mapping[str, _Link], system: System) -> Iterator[list[str]]:
    for name, link in sorted(present.items()):
        kept = name in wanted and wanted[name].vlan == link.vlan
        if link.vlan is not None and not kept and _is_ours(link, system):
            yield ["delete", "dev", name]


def _come(wanted: Mapping[str, Wanted], present: Mapping[str, _Link]) -> Iterator[list[str]]:
    for name, one in sorted(wanted.items()):
        there = name in present and present[name].vlan == one.vlan
        if one.vlan is not None and not there and one.vlan.parent in present:
            kind = ["type", "vlan", "id", str(one.vlan.number)]
            yield ["add", "link", one.vlan.parent, "name", name, *kind]


def _switched(wanted: Mapping[str, Wanted], present: Mapping[str, _Link]) -> Iterator[list[str]]:
    """Up or down, where it is not so; networkd brings a VLAN up that has just been made."""
    for name, one in sorted(wanted.items()):
        if name in present and one.up != (UP in present[name].flags) and present[name].vlan == one.vlan:
            yield ["set", "dev", name, "up" if one.up else "down"]


def _links(system: System) -> list[_Link]:
    return msgspec.json.decode(system.run(["ip", "-json", "-details", "link", "show"]), type=list[_Link])


def _is_ours(link: _Link, system: System) -> bool:
    followed = (system.read(f"{STATE}{link.ifindex}") or "").splitlines()
    return any(line.startswith(f"NETWORK_FILE={FILES}") for line in followed)
