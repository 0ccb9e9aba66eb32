"""Users, labels, app tunnels, and what an administrator says of devices beside their state: reading and changing the rows.

All of these are called within one transaction (`Registry.amend`, `Registry.look`). What a change means for devices is noted
with them (`judging.mark`) and follows.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import check_tunnel
from sentry_runtime.uem.security import Platform
from sentry_runtime.uem_server import judging, labels
from sentry_runtime.uem_server.judging import Security
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.resources import (
    DeviceEntry,
    LabelEntry,
    PostureEntry,
    SentryEntry,
    TunnelEntry,
    UserEntry,
)
from sentry_runtime.uem_server.tables import (
    Device,
    DeviceLabel,
    Label,
    Posture,
    Sentry,
    Tunnel,
    TunnelLabel,
    User,
    UserLabel,
)

LABELS = 1_000  # what a site can keep in its head is far below
TUNNELS = 1_000


class DirectoryError(ValueError):
    """What is asked for cannot be; the message names the place and what is allowed."""


def check_labels(session: Session, names: Iterable[str], place: str = "$.labels") -> None:
    """Raise `DirectoryError` unless there are all of these labels."""
    wanted = set(names)
    missing = sorted(wanted - set(session.scalars(select(Label.name).where(Label.name.in_(wanted)))))
    if missing:
        raise DirectoryError(f"there is no label {missing[0]!r} - at `{place}`")


def put_user(session: Session, entry: UserEntry) -> None:
    """Add the user, or have it say this. The principal is canonical."""
    check_labels(session, entry.labels)
    user = session.get(User, entry.principal) or User(principal=entry.principal)
    before = {one.label for one in user.labels}
    user.full_name = entry.full_name
    user.labels = labels.relabelled(user.labels, entry.labels, UserLabel)
    session.add(user)
    session.flush()
    if set(entry.labels) != before:
        judging.mark(session, labels.of_principal(entry.principal), bump=True)


def drop_user(session: Session, principal: str) -> bool:
    """Forget the user; whether there was one. Their devices stay, without the user's labels."""
    user = session.get(User, principal)
    if user is None:
        return False
    if user.labels:
        judging.mark(session, labels.of_principal(principal), bump=True)
    session.delete(user)
    return True


def users(session: Session, after: str, limit: int) -> list[UserEntry]:
    """Users in the order of their principals, behind this one."""
    rows = select(User).where(User.principal > after).order_by(User.principal).limit(limit)
    return [
        UserEntry(principal=one.principal, full_name=one.full_name, labels=_names(one.labels))
        for one in session.scalars(rows)
    ]


def put_label(session: Session, entry: LabelEntry, policies: Policies, security: Security) -> None:
    """Add the label, or have it say this. Raises the errors of what checks the policies' names."""
    if entry.policy is not None:
        policies.check(entry.policy)
    if entry.security_policy is not None:
        security.check(entry.security_policy)
    label = session.get(Label, entry.name)
    if label is None:
        _check_room(session, Label, LABELS, "labels")
        label = Label(name=entry.name)
    before = (label.rank, label.policy, label.security_policy)
    label.description, label.rank = entry.description, entry.rank
    label.policy, label.security_policy = entry.policy, entry.security_policy
    session.add(label)
    session.flush()
    if before != (label.rank, label.policy, label.security_policy):
        judging.mark(session, labels.having([entry.name]), bump=True)


def drop_label(session: Session, name: str) -> bool:
    """Forget the label, wherever it is; whether there was one."""
    label = session.get(Label, name)
    if label is None:
        return False
    judging.mark(session, labels.having([name]), bump=True)
    for column in (UserLabel.label, DeviceLabel.label, TunnelLabel.label):
        session.execute(delete(column.class_).where(column == name))
    session.delete(label)
    return True


def all_labels(session: Session) -> list[LabelEntry]:
    """All labels, by their names."""
    return [
        LabelEntry(
            name=one.name,
            description=one.description,
            rank=one.rank,
            policy=one.policy,
            security_policy=one.security_policy,
        )
        for one in session.scalars(select(Label).order_by(Label.name))
    ]


def put_tunnel(session: Session, entry: TunnelEntry) -> None:
    """Add the app tunnel, or have it say this. Raises `MessageError`, `DirectoryError`."""
    check_labels(session, entry.labels)
    how = tuple(dict.fromkeys(entry.authentication))
    check_tunnel(AppTunnel(name=entry.name, host=entry.host, port=entry.port, authentication=how))
    tunnel = session.get(Tunnel, entry.name)
    if tunnel is None:
        _check_room(session, Tunnel, TUNNELS, "app tunnels")
        tunnel = Tunnel(name=entry.name)
    before = {one.label for one in tunnel.labels}
    tunnel.host, tunnel.port, tunnel.authentication = entry.host, entry.port, list(how)
    tunnel.labels = labels.relabelled(tunnel.labels, entry.labels, TunnelLabel)
    session.add(tunnel)
    session.flush()
    judging.mark(session, labels.having(before.union(entry.labels)), bump=True)


def drop_tunnel(session: Session, name: str) -> bool:
    """Forget the app tunnel; whether there was one."""
    tunnel = session.get(Tunnel, name)
    if tunnel is None:
        return False
    judging.mark(session, labels.having([one.label for one in tunnel.labels]), bump=True)
    session.delete(tunnel)
    return True


def tunnels(session: Session) -> list[TunnelEntry]:
    """All app tunnels, by their names."""
    return [
        TunnelEntry(
            name=one.name,
            host=one.host,
            port=one.port,
            authentication=labels.as_tunnel(one).authentication,
            labels=_names(one.labels),
        )
        for one in session.scalars(select(Tunnel).order_by(Tunnel.name))
    ]


def sentrys(session: Session) -> list[SentryEntry]:
    """All Sentrys, by their names."""
    return [
        SentryEntry(
            name=one.name,
            subject=one.subject,
            push_url=one.push_url,
            fixed=one.fixed,
            last_seen=one.last_seen,
            cursor=one.cursor,
        )
        for one in session.scalars(select(Sentry).order_by(Sentry.name))
    ]


def label_device(session: Session, device: Device, names: Collection[str]) -> None:
    """The device has these labels of its own, and no others."""
    check_labels(session, names)
    before = {one.label for one in device.labels}
    device.labels = labels.relabelled(device.labels, names, DeviceLabel)
    session.flush()
    if set(names) != before:
        judging.mark(session, labels.with_linked(select(Device.id).where(Device.id == device.id)), bump=True)


def report_device(session: Session, device: Device, told: PostureEntry) -> None:
    """This is what the device is like."""
    put_posture(device, told)
    session.flush()
    judging.mark(session, select(Device.id).where(Device.id == device.id))


def put_posture(device: Device, told: PostureEntry) -> None:
    """Have this in the rows; the caller has the device looked at."""
    device.posture = device.posture or Posture()
    device.posture.platform, device.posture.os_version = told.platform, told.os_version or ""
    device.posture.compromised, device.posture.encrypted = told.compromised, told.encrypted
    device.posture.contact = told.contact


def entry(device: Device, said: Decision, policy: str, held: Sequence[Label]) -> DeviceEntry:
    """What the UEM knows of a device: what is said of it, the name of its policy, its labels."""
    target = None if device.link is None else device.link.target
    return DeviceEntry(
        device_id=device.device_id,
        principal=device.principal,
        state=said.state,
        version=said.version,
        reasons=said.reasons,
        registered=device.registered,
        manual=device.manual,
        device_type=device.device_type,
        note=device.note,
        wipe=said.wipe,
        policy=policy,
        labels=tuple(sorted(label.name for label in held)),
        own_labels=_names(device.labels),
        posture=posture_of(device),
        linked_to=None if target is None else DeviceKey(target.device_id, target.principal),
        tunnels=said.tunnels,
        first_seen=device.first_seen,
        last_seen=device.last_seen,
    )


def posture_of(device: Device) -> PostureEntry | None:
    """What is reported of the device."""
    known = device.posture
    if known is None:
        return None
    return PostureEntry(
        platform=None if known.platform is None else Platform(known.platform),
        os_version=known.os_version or None,
        compromised=known.compromised,
        encrypted=known.encrypted,
        contact=known.contact,
    )


def _check_room(session: Session, kind: type[Label | Tunnel], most: int, what: str) -> None:
    count = session.scalar(select(func.count()).select_from(kind)) or 0
    if count >= most:
        raise DirectoryError(f"there are {most} {what}; more are not taken")


def _names(held: Iterable[UserLabel | DeviceLabel | TunnelLabel]) -> tuple[str, ...]:
    return tuple(sorted(one.label for one in held))
