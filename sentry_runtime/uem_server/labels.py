"""Labels: which a device has, and what they give it.

A device has its own labels, those of the user under whose principal it is, and, where it is linked, those of the device that
it is linked to. Of several labels that name a policy the one with the lowest rank speaks; of equal ranks the first by name.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import BindParameter, Select, SelectBase, bindparam, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.tunnel import TUNNELS, AppTunnel, TunnelAuthentication
from sentry_runtime.uem_server.tables import Device, DeviceLabel, Label, Link, Tunnel, TunnelLabel, UserLabel

_Held = TypeVar("_Held", UserLabel, DeviceLabel, TunnelLabel)


def _held() -> Select[tuple[int, Label]]:
    """The labels of the devices `numbers`, in the order in which they speak."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    selves = select(Device.id.label("device"), Device.id.label("by")).where(Device.id.in_(numbers))
    either = selves.union_all(select(Link.device, Link.to).where(Link.device.in_(numbers))).subquery()
    own = select(either.c.device, DeviceLabel.label.label("name")).join(DeviceLabel, DeviceLabel.device == either.c.by)
    users = select(either.c.device, UserLabel.label).join(Device, Device.id == either.c.by)
    every = own.union(users.join(UserLabel, UserLabel.principal == Device.principal)).subquery()
    return select(every.c.device, Label).join(Label, Label.name == every.c.name).order_by(Label.rank, Label.name)


_HELD = _held()  # made once: to make it takes as long as to ask it


def of_devices(session: Session, numbers: Collection[int]) -> dict[int, list[Label]]:
    """Per number of a device, its labels in the order in which they speak. One query, however many devices."""
    found: dict[int, list[Label]] = {}
    if not numbers:
        return found
    for number, label in session.execute(_HELD, {"numbers": list(numbers)}).tuples():
        found.setdefault(number, []).append(label)
    return found


def having(names: Collection[str]) -> Select[tuple[int]]:
    """The numbers of the devices that have one of these labels."""
    own = select(DeviceLabel.device).where(DeviceLabel.label.in_(names))
    users = (
        select(Device.id)
        .join(UserLabel, UserLabel.principal == Device.principal)
        .where(UserLabel.label.in_(names), Device.removed.is_(False))
    )
    return with_linked(own.union(users))


def of_principal(principal: str) -> Select[tuple[int]]:
    """The numbers of the devices that have the labels of this user."""
    return with_linked(select(Device.id).where(Device.principal == principal, Device.removed.is_(False)))


def with_linked(numbers: SelectBase) -> Select[tuple[int]]:
    """These devices, and those that are linked to them."""
    first = next(iter(numbers.subquery().c))
    either = select(first.label("id")).union(select(Link.device).where(Link.to.in_(select(first)))).subquery()
    return select(either.c.id)


def tunnels(session: Session, held: Mapping[int, Sequence[Label]]) -> dict[int, tuple[AppTunnel, ...]]:
    """Per number of a device, the app tunnels that its labels (`held`) give it, by their names.

    A decision has room for `TUNNELS`; what is beyond is left out, the last names first.
    """
    names = {label.name for those in held.values() for label in those}
    if not names:
        return {}
    rows = select(TunnelLabel.label, Tunnel).join(Tunnel, Tunnel.name == TunnelLabel.tunnel)
    by_label: dict[str, dict[str, AppTunnel]] = {}
    for label, tunnel in session.execute(rows.where(TunnelLabel.label.in_(names))).tuples():
        by_label.setdefault(label, {})[tunnel.name] = as_tunnel(tunnel)
    found: dict[int, tuple[AppTunnel, ...]] = {}
    for number, those in held.items():
        all_of_them = {name: one for label in those for name, one in by_label.get(label.name, {}).items()}
        found[number] = tuple(one for _, one in sorted(all_of_them.items())[:TUNNELS])
    return found


def relabelled(held: Sequence[_Held], names: Iterable[str], kind: type[_Held]) -> list[_Held]:
    """The rows of these labels, which become those `held`; of a label that stays it is the row that is there."""
    there = {one.label: one for one in held}
    return [there.get(name) or kind(label=name) for name in sorted(set(names))]


def as_tunnel(row: Tunnel) -> AppTunnel:
    """The app tunnel as Sentrys are told of it."""
    how = tuple(TunnelAuthentication(one) for one in row.authentication)
    return AppTunnel(name=row.name, host=row.host, port=row.port, authentication=how)
