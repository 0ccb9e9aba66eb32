"""How much room the devices get that nobody decided about: whoever has one good password can invent device ids for ever.

| what | then |
|---|---|
| a principal has `PER_PRINCIPAL` such devices, or all principals of a user name `PER_USER` | no more; the contact is refused |
| such a device was last reported `KEPT_SECONDS` ago | it is removed; if it comes again it is recorded anew |
| there are `DEVICES` devices of whatever kind | no more; the contact is refused |
| such a removal is `REMOVAL_KEPT_SECONDS` old | the note of it goes, unless an administrator ever spoke of the device |

What an administrator says is never refused and never expires, and neither is what was found wrong with a device.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, delete, func, select
from sqlalchemy.orm import Session, selectinload

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.principal import user_of
from sentry_runtime.uem_server import graces
from sentry_runtime.uem_server.tables import OWNED, Device, Spelling

PER_PRINCIPAL = 20  # a person has three or four devices at a time; an administrator may clear up once in a few years
PER_USER = 200  # `info` of ten domains; bounds who finds that a mail server takes any domain before the user
KEPT_SECONDS = 30 * 86_400  # an administrator who is back from leave still finds the device that waits for him
REMOVAL_KEPT_SECONDS = 30 * 86_400  # a Sentry that was away longer keeps an entry that says what it would be told anew
DEVICES = 1_000_000  # rows in all, three times the largest fleet: a Sentry that invents people has an end, too
RECOUNT = 500  # so many are recorded before the rows are counted again: that takes the database some ten milliseconds
AT_ONCE = 500  # rows in one transaction: some hundred milliseconds, in which contacts wait


# What goes with a device; else each would ask for its own, one after the other.
_LOADS = [
    selectinload(beside)
    for beside in (Device.aliases, Device.assignment, Device.says, Device.wiping, Device.labels, Device.posture)
]


class NoRoomError(RuntimeError):
    """The principal has as many undecided devices as it may have."""


def undecided() -> ColumnElement[bool]:
    """The rows that only a contact made, and with which nobody has found anything wrong."""
    return and_(by_contact(), ~Device.causes.any())


def by_contact() -> ColumnElement[bool]:
    """The rows that no administrator has registered, allowed, blocked or wiped."""
    return and_(Device.registered.is_(False), Device.manual.is_(False), Device.removed.is_(False))


def refusals(session: Session, keys: Iterable[DeviceKey]) -> dict[DeviceKey, NoRoomError]:
    """For which of these new devices, of as many users, there is no room for one more undecided device, and why."""
    by_user = {user_of(key.principal): key for key in keys}
    if not by_user:
        return {}
    of_principal: Counter[str] = Counter()
    of_user: Counter[str] = Counter()
    for user, principal, count in session.execute(_COUNTS, {"users": list(by_user)}).tuples():
        of_principal[principal] = count
        of_user[user] += count
    refused: dict[DeviceKey, NoRoomError] = {}
    for user, key in by_user.items():
        if of_principal[key.principal] >= PER_PRINCIPAL:
            held = f"{key.principal} has {PER_PRINCIPAL}"
        elif of_user[user] >= PER_USER:
            held = f"users called {user} have {PER_USER}"
        else:
            continue
        refused[key] = NoRoomError(f"{held} devices that nobody registered; more are not taken")
    return refused


def _counts() -> Select[tuple[str, str, int]]:
    """How many undecided devices the principals of these `users` have."""
    users: BindParameter[str] = bindparam("users", expanding=True)
    rows = select(Spelling.user, Device.principal, func.count()).join(Spelling, Spelling.device == Device.id)
    return rows.where(Spelling.user.in_(users), undecided()).group_by(Spelling.user, Device.principal)


_COUNTS = _counts()  # made once: to make it takes as long as to ask it


class Ceiling:
    """How many devices there may be at all before no more are recorded that nobody decided about."""

    def __init__(self, most: int = DEVICES) -> None:
        self._most = most
        self._left = 0

    def check(self, session: Session) -> None:
        """Raise `NoRoomError` unless one more may be recorded."""
        if self._left <= 0:
            there = session.scalar(select(func.count()).select_from(Device)) or 0
            self._left = min(RECOUNT, self._most - there)
        if self._left <= 0:
            raise NoRoomError(f"{self._most} devices are known; no more are taken that nobody registered")
        self._left -= 1


def expired(session: Session, now: float) -> Sequence[Device]:
    """Up to `AT_ONCE` undecided devices that have been kept long enough."""
    old = select(Device).where(undecided(), Device.last_seen <= int(now) - KEPT_SECONDS)
    return session.scalars(old.order_by(Device.id).limit(AT_ONCE).options(*_LOADS)).all()


def forget_removals(session: Session, now: float) -> None:
    """Delete up to `AT_ONCE` old notes of removals that no administrator had a part in. That a grace was had is kept."""
    horizon = int(now) - KEPT_SECONDS - REMOVAL_KEPT_SECONDS
    old = (
        select(Device.id)
        .join(Spelling, Spelling.device == Device.id)
        .where(Device.removed.is_(True), Spelling.spoken.is_(False), Device.last_seen <= horizon)
    )
    numbers = session.scalars(old.order_by(Device.id).limit(AT_ONCE)).all()
    graces.keep(session, numbers)
    for column in (*(table.device for table in OWNED), Device.id):
        session.execute(delete(column.class_).where(column.in_(numbers)))
