"""Which devices restrict which: the rows that may be the same phone of the same person under another spelling. A linked device
is restricted by what restricts the one that it is linked to, unless an administrator has said another word of it by hand."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, aliased

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem_server.rules import Standing
from sentry_runtime.uem_server.tables import Alias, Device, Link, Spelling

_mine, _theirs = aliased(Spelling), aliased(Spelling)
_restricted, _restricting = aliased(Device), aliased(Device)


def own(device: Device) -> Standing:
    """The word on this row, before anything restricts it."""
    return Standing(State(device.state), tuple(Reason(reason) for reason in device.reasons))


def restrictions(session: Session, devices: Sequence[Device]) -> dict[int, list[Standing]]:
    """Per number of a device, the words that restrict it. Three queries, however many devices."""
    found: dict[int, list[Standing]] = {}
    numbers = [device.id for device in devices]
    rows = select(Link.device, Link.to).join(Device, Device.id == Link.device).where(Device.manual.is_(False))
    targets = dict(session.execute(rows.where(Link.device.in_(numbers))).tuples().all())
    both = {*numbers, *targets.values()}
    for restricted, other in _pairs(session, _mine.device.in_(both), _restricting.removed.is_(False)):
        found.setdefault(restricted.id, []).append(own(other))
    for number, target in targets.items():
        found[number] = [*found.get(number, ()), *found.get(target, ())]
    return found


def restricted_by(session: Session, devices: Sequence[Device]) -> list[Device]:
    """The devices whose word depends on these', in the order of their numbers; these may just have been removed."""
    numbers = [device.id for device in devices]
    pairs = _pairs(session, _theirs.device.in_(numbers), _restricted.removed.is_(False))
    found = {restricted for restricted, _ in pairs}
    followers = select(Device).join(Link, Link.device == Device.id).where(Device.removed.is_(False))
    found |= set(session.scalars(followers.where(Link.to.in_([restricted.id for restricted in found]))))
    return sorted(found - set(devices), key=lambda restricted: restricted.id)


def _pairs(session: Session, *chosen: ColumnElement[bool]) -> list[tuple[Device, Device]]:
    """(restricted, restricting) by spelling and by alias."""
    person = (_theirs.user == _mine.user) & (_theirs.device != _mine.device)
    rows = (
        select(_restricted, _restricting)
        .join(_mine, _mine.device == _restricted.id)
        .join(_theirs, person)
        .join(_restricting, _restricting.id == _theirs.device)
        .where(*chosen)
    )
    by_spelling = rows.where(_theirs.root == _mine.root)
    by_alias = rows.join(Alias, (Alias.device == _mine.device) & (Alias.alias == _restricting.device_id))
    found = [pair for query in (by_spelling, by_alias) for pair in session.execute(query).tuples()]
    return [(one, other) for one, other in found if same_person(one.principal, other.principal)]
