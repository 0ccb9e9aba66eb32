"""What a Sentry in the Cloud manner asks of the registry: who a device might be, whose word is by hand, who is new."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, false, or_, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas import device_id
from sentry_runtime.eas.principal import same_person, user_of
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.cloud_api import CANDIDATES, Tunnel
from sentry_runtime.uem_server.tables import Alias, Device, Spelling

_WIPES = (State.WIPE_PENDING, State.WIPED)


def by_hand() -> ColumnElement[bool]:
    """The devices whose word is an administrator's: allowed, blocked or wiped by hand, or removed. That of all others follows
    from their compliance."""
    return or_(Device.manual.is_(True), Device.removed.is_(True), Device.state.in_(_WIPES))


def might_be(session: Session, contact: Contact) -> Sequence[Device]:
    """The devices of this person that are known by a spelling of the contact's id; the exact one first, then those that may
    restrict it."""
    ids = (contact.device_id, *contact.device_aliases)
    roots = {device_id.root(one) for one in ids}
    aliased = select(Alias.device).where(Alias.alias == contact.device_id)
    spelled = or_(Spelling.root.in_(roots), Device.device_id.in_(ids), Device.id.in_(aliased))
    wanted = (
        select(Device)
        .join(Spelling, Spelling.device == Device.id)
        .where(Spelling.user == user_of(contact.principal), spelled, Device.removed.is_(False))
    )
    found = [one for one in session.scalars(wanted) if same_person(one.principal, contact.principal)]

    def rank(one: Device) -> tuple[bool, bool, int]:
        exact = (one.device_id, one.principal) == (contact.device_id, contact.principal)
        return not exact, one.state == State.ALLOWED, one.id

    return sorted(found, key=rank)[:CANDIDATES]


def unknown(session: Session, tunnels: Iterable[Tunnel]) -> list[Tunnel]:
    """Those of an inventory that are to be recorded. One that was removed after its Sentry had heard of it is not: the Sentry is
    yet to hear of the removal."""
    held = list(tunnels)
    ids = {one.device_id for one in held}
    rows = session.scalars(select(Device).where(Device.device_id.in_(ids) if ids else false())).all()
    known = {DeviceKey(row.device_id, row.principal): row for row in rows}

    def is_news(one: Tunnel) -> bool:
        row = known.get(DeviceKey(one.device_id, one.principal))
        return row is None or (row.removed and row.version <= one.version)

    return [one for one in held if is_news(one)]
