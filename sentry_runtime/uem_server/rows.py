"""The row of a device: the one of its key, and a fresh one."""

from collections.abc import Collection

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.orm import Session, joinedload, selectinload

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas import device_id, principal
from sentry_runtime.uem_server.tables import Device, Spelling


def find(session: Session, key: DeviceKey) -> Device | None:
    """The row of exactly this key, a removed one too."""
    return session.scalars(_OF_KEY, {"id": key.device_id, "principal": key.principal}).one_or_none()


def find_all(session: Session, keys: Collection[DeviceKey]) -> dict[DeviceKey, Device]:
    """The rows of these keys, as `find` finds each; of few keys, since it looks for each id under each principal."""
    asked = {"ids": [key.device_id for key in keys], "principals": [key.principal for key in keys]}
    found = {DeviceKey(device.device_id, device.principal): device for device in session.scalars(_OF_KEYS, asked)}
    return {key: found[key] for key in keys if key in found}


def _of_keys() -> Select[tuple[Device]]:
    ids: BindParameter[str] = bindparam("ids", expanding=True)
    principals: BindParameter[str] = bindparam("principals", expanding=True)
    rows = select(Device).where(Device.device_id.in_(ids), Device.principal.in_(principals))
    return rows.options(selectinload(Device.aliases))


# Most words look at these two.
_OF_KEY = (
    select(Device)
    .where(Device.device_id == bindparam("id"), Device.principal == bindparam("principal"))
    .options(joinedload(Device.spelling), joinedload(Device.link))
)
_OF_KEYS = _of_keys()  # made once: to make it takes as long as to ask it


def fresh(session: Session, key: DeviceKey, removed: Device | None) -> Device:
    """A fresh row, or the removed one as fresh; the caller gives it its word and its version."""
    device = removed or Device(
        device_id=key.device_id,
        principal=key.principal,
        state=State.BLOCKED,
        causes=[],
        findings=[],
        aliases=[],
        link=None,
    )
    device.removed, device.device_type = False, ""
    device.spelling = device.spelling or spelling(key)
    session.add(device)
    return device


def spelling(key: DeviceKey, *, spoken: bool = False) -> Spelling:
    """A device's spelling."""
    return Spelling(user=principal.user_of(key.principal), root=device_id.root(key.device_id), spoken=spoken)
