"""Links: an administrator has found that a device which came under one id is a managed one that is known under another.

Phones report other ids by ActiveSync than to a management platform, and a factory reset makes a new one. A linked device
counts as registered and follows the word on the one that it is linked to (`rules.followed`); it shares that one's place in
the mailbox and has its labels. Both belong to one person: a link is no way to give one's own access to another.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem_server import wipes
from sentry_runtime.uem_server.tables import Device, Link


class LinkError(ValueError):
    """These two cannot be linked; the message says why."""


def link(session: Session, device: Device, to: Device, note: str) -> None:
    """Have the device follow the other. Raises `LinkError`, `wipes.NotNowError`."""
    wipes.check(device, wipes.Word.SET)
    wipes.check(to, wipes.Word.SET)
    if device.id == to.id:
        raise LinkError("a device cannot be linked to itself")
    if not same_person(device.principal, to.principal):
        raise LinkError(f"{device.principal} and {to.principal} are two people; only devices of one person are linked")
    if not to.registered or to.link is not None:
        raise LinkError(f"device {to.device_id} of {to.principal} is not a registered one; only to such one is linked")
    if followers(session, device):
        raise LinkError(f"device {device.device_id} of {device.principal} has others linked to it")
    if device.link is None:
        device.link = Link(to=to.id)
    else:
        device.link.to = to.id
    device.registered, device.manual, device.note = True, False, note
    session.flush()
    session.expire(device, ["link"])  # its target, above all


def unlink(device: Device, note: str) -> None:
    """The device is one that nobody registered again. Raises `LinkError`, `wipes.NotNowError`."""
    wipes.check(device, wipes.Word.SET)
    if device.link is None:
        raise LinkError(f"device {device.device_id} of {device.principal} is not linked")
    device.link, device.registered, device.manual, device.note = None, False, False, note


def followers(session: Session, device: Device) -> list[Device]:
    """The devices that are linked to this one, in the order of their numbers."""
    rows = select(Device).join(Link, Link.device == Device.id).where(Link.to == device.id)
    return list(session.scalars(rows.order_by(Device.id)))
