"""Places in mailboxes: `places` applied to the rows, in the transaction of each change."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.uem_server import kin
from sentry_runtime.uem_server.places import Candidate, seat
from sentry_runtime.uem_server.rules import Standing, effective
from sentry_runtime.uem_server.tables import Bound, Device, Link, Place, Spelling

USERS_AT_ONCE = 200  # of one transaction when everybody is looked at: some hundred milliseconds

LAST = 2**31 - 1  # the rank of who has none yet

FULL = Standing(State.BLOCKED, (Reason.MAILBOX_LIMIT,))


def settle(session: Session, users: Collection[str], limit: int) -> list[Device]:
    """Give and take places among the devices of these users; the devices whose word that changes, in the order of their numbers.

    What was changed before must have been flushed. Places are read and written as rows, not by `Device.place`: a person may
    have thousands of devices, of which a change moves a few.
    """
    if not users:
        return []
    there = session.execute(_CONCERNED, {"users": list(users)}).all()
    restrict = kin.restrictions(session, [row.id for row in there if _may_want(row)])
    by_user: dict[str, list[Candidate]] = {}
    for row in there:
        if _may_want(row) and effective(Standing(State.ALLOWED), restrict.get(row.id, ())).state is State.ALLOWED:
            by_user.setdefault(row.user, []).append(_candidate(row))
    places: dict[int, tuple[int, bool]] = {}
    for candidates in by_user.values():
        seating = seat(candidates, limit)
        for rank, number in enumerate((*seating.seated, *seating.waiting)):
            places[number] = rank, rank >= len(seating.seated)
    _put(session, {row.id: (row.rank, row.waits) for row in there if row.rank is not None}, places)
    changed = [row.id for row in there if bool(row.waits) != places.get(row.id, (0, False))[1]]
    if not changed:
        return []
    return list(session.scalars(select(Device).where(Device.id.in_(changed)).order_by(Device.id)))


def _put(session: Session, before: Mapping[int, tuple[int, bool]], after: Mapping[int, tuple[int, bool]]) -> None:
    """Have these places, by the numbers of their devices, where those stood."""
    gone = before.keys() - after.keys()
    moved = [number for number in after if number in before and before[number] != after[number]]
    fresh = [number for number in after if number not in before]
    if gone:
        session.execute(delete(Place).where(Place.device.in_(gone)))
    for statement, numbers in ((update(Place), moved), (insert(Place), fresh)):
        if numbers:
            rows = [{"device": number, "rank": after[number][0], "waits": after[number][1]} for number in numbers]
            session.execute(statement, rows)


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


def _concerned() -> Select[Any]:
    """The devices of these `users` that have a place or might want one, in the order of their numbers; a linked one has the
    root of the one that it is linked to: they share one place."""
    users: BindParameter[str] = bindparam("users", expanding=True)
    target = aliased(Spelling)
    device = (Device.id, Device.principal, Device.state, Device.removed, Device.manual)
    return (
        select(*device, Spelling.user, func.coalesce(target.root, Spelling.root).label("root"), Place.rank, Place.waits)
        .join(Spelling, Spelling.device == Device.id)
        .outerjoin(Place, Place.device == Device.id)
        .outerjoin(Link, Link.device == Device.id)
        .outerjoin(target, target.device == Link.to)
        .where(Spelling.user.in_(users), or_(Place.device.is_not(None), Device.state == State.ALLOWED))
        .order_by(Device.id)
    )


_CONCERNED = _concerned()  # made once: to make it takes as long as to ask it


def _may_want(device: Row[Any]) -> bool:
    return device.state == State.ALLOWED and not device.removed and not device.manual


def _candidate(device: Row[Any]) -> Candidate:
    rank, waits = (LAST, True) if device.rank is None else (device.rank, device.waits)
    return Candidate(device.id, device.root, device.principal, rank, waits)
