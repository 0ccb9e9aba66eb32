"""What is said of devices: the decisions on rows, as restricted by what is said under their other spellings."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem_server import kin, labels, mailbox, wipes
from sentry_runtime.uem_server import policies as named_policies
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.rules import Standing, effective
from sentry_runtime.uem_server.tables import Device, Place, Wiping


def decisions(session: Session, numbers: Sequence[int], policies: Policies) -> tuple[Decision, ...]:
    """The decisions on the devices of these numbers, in their order. Nothing restricts a removal: under one version it always
    says the same. A handful of queries, however many devices."""
    judged = _judged(session, numbers)
    present = [row.id for row, _ in judged if not row.removed]
    held = labels.of_devices(session, present)
    assigned, reached = named_policies.assigned(session, present, held), labels.tunnels(session, held)
    return tuple(
        _worded(row, standing, policies.of(assigned.get(row.id)), reached.get(row.id, ())) for row, standing in judged
    )


def standings(session: Session, numbers: Sequence[int]) -> list[Standing]:
    """The words in effect on the devices of these numbers, in their order."""
    return [standing for _, standing in _judged(session, numbers)]


def _judged(session: Session, numbers: Sequence[int]) -> list[tuple[Row[Any], Standing]]:
    if not numbers:
        return []
    rows = {row.id: row for row in session.execute(_ROWS, {"numbers": list(numbers)})}
    free = [row.id for row in rows.values() if row.state == State.ALLOWED and not row.removed]
    restrict = kin.restrictions(session, free)
    return [(rows[number], _standing(rows[number], restrict.get(number, ()))) for number in numbers]


def _rows() -> Select[Any]:
    """All that is said of the devices `numbers` and stands in one row: entities would take longer than all the rest."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    said = (Device.id, Device.device_id, Device.principal, Device.state, Device.version, Device.reasons)
    beside = (Device.device_type, Device.registered, Device.removed, Device.note, Place.waits)
    wipe = (Wiping.kind, Wiping.number, Wiping.by, Wiping.marks, Wiping.cancelled)
    rows = select(*said, *beside, *wipe).outerjoin(Place, Place.device == Device.id)
    return rows.outerjoin(Wiping, Wiping.device == Device.id).where(Device.id.in_(numbers))


_ROWS = _rows()  # made once: to make it takes as long as to ask it


def _standing(device: Row[Any], restrict: Sequence[Standing]) -> Standing:
    own = Standing(State(device.state), tuple(map(Reason, device.reasons)))
    return mailbox.FULL if device.waits else effective(own, restrict)


def _worded(device: Row[Any], standing: Standing, policy: Policy | None, tunnels: tuple[AppTunnel, ...]) -> Decision:
    return Decision(
        device_id=device.device_id,
        principal=device.principal,
        state=standing.state,
        version=device.version,
        reasons=standing.reasons,
        device_type=device.device_type,
        registered=device.registered,
        removed=device.removed,
        note=device.note,
        policy=None if device.removed else policy,
        wipe=None if device.removed or device.kind is None or device.cancelled else wipes.wipe(device),
        tunnels=() if device.removed else tunnels,
    )
