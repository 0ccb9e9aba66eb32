"""Places in mailboxes: `places` applied to the rows, in the transaction of each change."""

from collections.abc import Collection

from sqlalchemy import BindParameter, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session, aliased, contains_eager

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.uem_server import kin
from sentry_runtime.uem_server.places import Candidate, seat
from sentry_runtime.uem_server.rules import Standing, effective
from sentry_runtime.uem_server.tables import Bound, Device, Link, Place, Spelling

USERS_AT_ONCE = 200  # of one transaction when everybody is looked at: some hundred milliseconds

LAST = 2**31 - 1  # the rank of who has none yet

FULL = Standing(State.BLOCKED, (Reason.MAILBOX_LIMIT,))


def has_none(device: Device) -> bool:
    """Whether the device may not pass because its mailbox is full."""
    return device.place is not None and device.place.waits


def settle(session: Session, users: Collection[str], limit: int) -> list[Device]:
    """Give and take places among the devices of these users; the devices whose word that changes.

    What was changed before must have been flushed.
    """
    if not users:
        return []
    devices = _concerned(session, users)
    restrict = kin.restrictions(session, [device.id for device in devices if _may_want(device)])
    lacked = {device.id for device in devices if has_none(device)}
    by_user: dict[str, dict[Device, Candidate]] = {}
    for device, (user, root) in devices.items():
        word = effective(kin.own(device), restrict.get(device.id, ()))
        if not _may_want(device) or word.state is not State.ALLOWED:
            device.place = None
            continue
        by_user.setdefault(user, {})[device] = _candidate(device, root)
    for candidates in by_user.values():
        seating = seat(candidates.values(), limit)
        rank = {number: at for at, number in enumerate((*seating.seated, *seating.waiting))}
        for device in candidates:
            device.place = device.place or Place()
            device.place.rank, device.place.waits = rank[device.id], rank[device.id] >= len(seating.seated)
    session.flush()
    return [device for device in devices if has_none(device) != (device.id in lacked)]


def waiting(session: Session) -> int:
    """How many devices may not pass because their mailboxes are full."""
    return session.scalar(select(func.count()).select_from(Place).where(Place.waits)) or 0


def some_users(session: Session, after: str) -> list[str]:
    """The next users of whom anything is known, in the order of their names."""
    names = select(Spelling.user).where(Spelling.user > after).distinct().order_by(Spelling.user)
    return list(session.scalars(names.limit(USERS_AT_ONCE)))


def last_limit(session: Session) -> int | None:
    """The limit that the places were last given by; None: by none yet."""
    bound = session.get(Bound, 1)
    return None if bound is None else bound.devices_per_mailbox


def remember_limit(session: Session, limit: int) -> None:
    """The places are all given by this limit."""
    session.merge(Bound(id=1, devices_per_mailbox=limit))


def _concerned(session: Session, users: Collection[str]) -> dict[Device, tuple[str, str]]:
    """The devices that have a place or might want one, in the order of their numbers, with their users and their roots; a
    linked one has the root of the one that it is linked to: they share one place."""
    rows = session.execute(_CONCERNED, {"users": list(users)}).tuples()
    return {device: (user, target or root) for device, user, root, target in rows}


def _wanted() -> Select[tuple[Device, str, str, str | None]]:
    users: BindParameter[str] = bindparam("users", expanding=True)
    target = aliased(Spelling)
    return (
        select(Device, Spelling.user, Spelling.root, target.root)
        .join(Spelling, Spelling.device == Device.id)
        .outerjoin(Device.place)
        .outerjoin(Link, Link.device == Device.id)
        .outerjoin(target, target.device == Link.to)
        .where(Spelling.user.in_(users), or_(Place.device.is_not(None), Device.state == State.ALLOWED))
        .order_by(Device.id)
        .options(contains_eager(Device.place))
    )


_CONCERNED = _wanted()  # made once: to make it takes as long as to ask it


def _may_want(device: Device) -> bool:
    return device.state == State.ALLOWED and not device.removed and not device.manual


def _candidate(device: Device, root: str) -> Candidate:
    place = device.place or Place(rank=LAST, waits=True)
    return Candidate(device.id, root, device.principal, place.rank, place.waits)
