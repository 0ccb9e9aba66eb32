"""What is said of devices: the decisions on rows, as restricted by what is said under their other spellings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Select, bindparam, select
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


class _Said(NamedTuple):
    """What stands in one row and is said of a device; the last five are of its last order to wipe, if it ever had one."""

    id: int
    device_id: str
    principal: str
    state: str
    version: int
    reasons: list[str]
    device_type: str
    registered: bool
    removed: bool
    note: str
    waits: bool | None
    kind: str | None
    number: int
    by: str
    marks: list[str]
    cancelled: bool


def _rows() -> Select[Any]:
    """`_Said` of the devices `numbers`: entities would take longer than all the rest."""
    numbers: BindParameter[int] = bindparam("numbers", expanding=True)
    device = (Device.id, Device.device_id, Device.principal, Device.state, Device.version, Device.reasons)
    beside = (Device.device_type, Device.registered, Device.removed, Device.note, Place.waits)
    wipe = (Wiping.kind, Wiping.number, Wiping.by, Wiping.marks, Wiping.cancelled)
    rows = select(*device, *beside, *wipe).outerjoin(Place, Place.device == Device.id)
    return rows.outerjoin(Wiping, Wiping.device == Device.id).where(Device.id.in_(numbers))


_ROWS = _rows()  # made once: to make it takes as long as to ask it


def _judged(session: Session, numbers: Sequence[int]) -> list[tuple[_Said, Standing]]:
    if not numbers:
        return []
    rows = {row[0]: _Said(*row) for row in session.execute(_ROWS, {"numbers": list(numbers)})}
    free = [row.id for row in rows.values() if row.state == State.ALLOWED and not row.removed]
    restrict = kin.restrictions(session, free)
    return [(rows[number], _standing(rows[number], restrict.get(number, ()))) for number in numbers]


def _standing(device: _Said, restrict: Sequence[Standing]) -> Standing:
    if device.waits:
        return mailbox.FULL
    own = Standing(State(device.state), tuple(map(Reason, device.reasons)))
    return effective(own, restrict) if restrict else own


def _worded(device: _Said, standing: Standing, policy: Policy | None, tunnels: tuple[AppTunnel, ...]) -> Decision:
    wipe = None
    if device.kind is not None and not device.removed and not device.cancelled:
        wipe = wipes.wipe(device.kind, device.number, device.by, device.marks)
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
        wipe=wipe,
        tunnels=() if device.removed else tunnels,
    )
