"""Which devices restrict which: the rows that may be the same phone of the same person under another spelling. A linked device
is restricted by what restricts the one that it is linked to, unless an administrator has said another word of it by hand."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import BindParameter, CompoundSelect, Select, bindparam, or_, select, union_all
from sqlalchemy.orm import Session, aliased

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem_server.rules import Standing
from sentry_runtime.uem_server.tables import Alias, Device, Link, Spelling

_Row = TypeVar("_Row", bound=tuple[Any, ...])

_mine, _theirs = aliased(Spelling), aliased(Spelling)
_restricted, _restricting = aliased(Device), aliased(Device)


def own(device: Device) -> Standing:
    """The word on this row, before anything restricts it."""
    return Standing(State(device.state), tuple(Reason(reason) for reason in device.reasons))


def _words() -> CompoundSelect[tuple[int, str, str, str, list[str]]]:
    """Of the devices `numbers`: the number, the name under which it is restricted, and the name and the word of what does so."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    selves = select(Spelling.device.label("device"), Spelling.device.label("by")).where(Spelling.device.in_(numbers))
    linked = select(Link.device, Link.to).join(Device, Device.id == Link.device)
    either = union_all(selves, linked.where(Link.device.in_(numbers), Device.manual.is_(False))).subquery()
    rows = (
        select(either.c.device, _restricted.principal, _restricting.principal, _restricting.state, _restricting.reasons)
        .select_from(either)
        .join(_mine, _mine.device == either.c.by)
        .join(_restricted, _restricted.id == either.c.by)
        .where(_restricting.removed.is_(False), _restricting.state != State.ALLOWED)
    )
    return union_all(*_related(rows))


def restrictions(session: Session, numbers: Collection[int]) -> dict[int, list[Standing]]:
    """Per number of a device, the words that restrict it. One query, however many devices."""
    found: dict[int, list[Standing]] = {}
    if numbers:
        for number, name, other, state, reasons in session.execute(_WORDS, {"numbers": list(numbers)}).tuples():
            if same_person(name, other):
                found.setdefault(number, []).append(Standing(State(state), tuple(map(Reason, reasons))))
    return found


def restricted_by(session: Session, devices: Sequence[Device]) -> list[Device]:
    """The devices whose word depends on these', in the order of their numbers; these may just have been removed."""
    numbers = {device.id for device in devices}
    pairs = session.execute(_RESTRICTED, {"numbers": list(numbers)}).tuples() if numbers else ()
    found = {number for number, name, other in pairs if same_person(name, other)}
    if not found:
        return []
    followers = select(Link.device).where(Link.to.in_(found))
    either = or_(Device.id.in_(found), Device.id.in_(followers)) & Device.id.not_in(numbers)
    return list(session.scalars(select(Device).where(either, Device.removed.is_(False)).order_by(Device.id)))


def _those_restricted() -> CompoundSelect[tuple[int, str, str]]:
    """Of the devices that `numbers` restrict: the number, its name, and the name of what restricts it."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    rows = select(_restricted.id, _restricted.principal, _restricting.principal)
    rows = rows.select_from(_restricted).join(_mine, _mine.device == _restricted.id)
    return union_all(*_related(rows.where(_theirs.device.in_(numbers), _restricted.removed.is_(False))))


def _related(rows: Select[_Row]) -> tuple[Select[_Row], Select[_Row]]:
    """What is `_restricting` for `_mine`, by spelling and by alias."""
    person = (_theirs.user == _mine.user) & (_theirs.device != _mine.device)
    both = rows.join(_theirs, person).join(_restricting, _restricting.id == _theirs.device)
    by_alias = both.join(Alias, (Alias.device == _mine.device) & (Alias.alias == _restricting.device_id))
    return both.where(_theirs.root == _mine.root), by_alias


_RESTRICTED = _those_restricted()
_WORDS = _words()  # made once: to make it takes as long as to ask it
