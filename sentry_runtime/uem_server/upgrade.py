"""What a database from before `Spelling` and `Wiping` needs once, when it is opened."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.uem.messages import MessageError, canonical
from sentry_runtime.uem_server import names, wipes
from sentry_runtime.uem_server.tables import Device, Spelling, Wiping


def give_spellings(session: Session, next_version: Callable[[], int]) -> None:
    """Give every row its spelling, and its principal the one canonical form.

    A row under another form matched nobody, and a Sentry refuses a page of the feed that has it. It takes the right name;
    where that has a row already, that one is restricted if this one was; a name that nobody can have goes.
    """
    missing = select(Device).outerjoin(Spelling, Spelling.device == Device.id).where(Spelling.device.is_(None))
    for device in session.scalars(missing.order_by(Device.id)).all():
        key = _canonical(device)
        if key is None:
            session.delete(device)
        elif key.principal == device.principal:
            device.spelling = spelling(key, spoken=True)
        else:
            _rename(session, device, key, next_version)
        session.flush()


def give_orders(session: Session, next_version: Callable[[], int]) -> None:
    """Give every row that is to be wiped, or has been, the order for it; under a new version, since Sentries get to see it."""
    stands = Device.state.in_((State.WIPE_PENDING, State.WIPED)) & Device.removed.is_(False)
    missing = select(Device).outerjoin(Wiping, Wiping.device == Device.id).where(stands, Wiping.device.is_(None))
    for device in session.scalars(missing.order_by(Device.id)).all():
        device.version = next_version()
        wipes.give_order(device, device.version)
        session.flush()


def spelling(key: DeviceKey, *, spoken: bool = False) -> Spelling:
    """A device's spelling."""
    return Spelling(user=names.user(key.principal), root=names.root(key.device_id), spoken=spoken)


def find(session: Session, key: DeviceKey) -> Device | None:
    """The row of exactly this key, a removed one too."""
    exact = select(Device).where(Device.device_id == key.device_id, Device.principal == key.principal)
    return session.scalars(exact).one_or_none()


def _rename(session: Session, device: Device, key: DeviceKey, next_version: Callable[[], int]) -> None:
    there = find(session, key)
    if there is None:
        device.principal, device.version = key.principal, next_version()
        device.spelling = spelling(key, spoken=True)
        return
    if not device.removed and device.manual and device.state != State.ALLOWED:
        there.state, there.reasons, there.manual, there.removed = device.state, list(device.reasons), True, False
        there.version = next_version()
    session.delete(device)


def _canonical(device: Device) -> DeviceKey | None:
    try:
        return canonical(device.device_id, device.principal)
    except MessageError:
        return None
