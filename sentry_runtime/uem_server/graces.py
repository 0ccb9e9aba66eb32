"""Nobody gets a second grace by staying away until the UEM has forgotten the device.

When the note of a removal goes, a digest stays of the device whose grace had begun. Who invents device ids fills no table by
that: a user name with `PER_USER` of them has had its graces, and no new device of it gets one.
"""

import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.principal import user_of
from sentry_runtime.uem_server.tables import Device, Grace, SpentGrace

PER_USER = 200  # as many as `room` lets a user name have undecided at one time
KEPT = 500_000  # digests in all, some 80 MB; beyond, the oldest go
LONG_AGO = 0  # a grace that began then is over


def since(session: Session, keys: Iterable[DeviceKey], now: int) -> dict[DeviceKey, int]:
    """When the grace of each of these devices began, none of which is known (any more): now, unless it had one, or its user had
    too many."""
    users = {key: user_of(key.principal) for key in keys}
    spent: dict[str, dict[str, int]] = {user: {} for user in users.values()}
    if spent:
        wanted = select(SpentGrace.user, SpentGrace.digest, SpentGrace.since).where(SpentGrace.user.in_(spent))
        for user, name, began in session.execute(wanted.limit(2 * PER_USER * len(spent))).tuples():
            spent[user][name] = began
    return {
        key: spent[user].get(digest(key), LONG_AGO if len(spent[user]) >= PER_USER else now)
        for key, user in users.items()
    }


def keep(session: Session, devices: Sequence[int]) -> None:
    """These devices (numbers) are about to be forgotten: note whose grace had begun."""
    begun = session.execute(
        select(Device.device_id, Device.principal, Grace.since)
        .join(Grace, Grace.device == Device.id)
        .where(Device.id.in_(devices))
    ).all()
    users = {user_of(principal) for _, principal, _ in begun}
    counts = dict(
        session.execute(
            select(SpentGrace.user, func.count()).where(SpentGrace.user.in_(users)).group_by(SpentGrace.user)
        )
        .tuples()
        .all()
    )
    for device_id, principal, began in begun:
        user, name = user_of(principal), digest(DeviceKey(device_id, principal))
        if session.get(SpentGrace, name) is None and counts.get(user, 0) < PER_USER:
            counts[user] = counts.get(user, 0) + 1
            session.add(SpentGrace(digest=name, user=user, since=began))
    session.flush()
    beyond = (session.scalar(select(func.count()).select_from(SpentGrace)) or 0) - KEPT
    if begun and beyond > 0:
        oldest = select(SpentGrace.digest).order_by(SpentGrace.since, SpentGrace.digest).limit(beyond)
        session.execute(delete(SpentGrace).where(SpentGrace.digest.in_(session.scalars(oldest).all())))


def digest(key: DeviceKey) -> str:
    """What stays of a device."""
    return hashlib.sha256(b"\0".join((key.device_id.encode(), key.principal.encode()))).hexdigest()[:32]
