"""The row of a device: the one of its key, and a fresh one."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas import device_id, principal
from sentry_runtime.uem_server.tables import Device, Spelling


def find(session: Session, key: DeviceKey) -> Device | None:
    """The row of exactly this key, a removed one too."""
    exact = select(Device).where(Device.device_id == key.device_id, Device.principal == key.principal)
    return session.scalars(exact).one_or_none()


def fresh(session: Session, key: DeviceKey, removed: Device | None) -> Device:
    """A fresh row, or the removed one as fresh; the caller gives it its word and its version."""
    device = removed or Device(
        device_id=key.device_id, principal=key.principal, state=State.BLOCKED, causes=[], findings=[]
    )
    device.removed, device.device_type = False, ""
    device.spelling = device.spelling or spelling(key)
    session.add(device)
    return device


def spelling(key: DeviceKey, *, spoken: bool = False) -> Spelling:
    """A device's spelling."""
    return Spelling(user=principal.user_of(key.principal), root=device_id.root(key.device_id), spoken=spoken)
