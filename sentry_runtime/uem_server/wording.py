"""What is said of devices: the decisions on rows, as restricted by what is said under their other spellings."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem_server import kin, labels, mailbox, wipes
from sentry_runtime.uem_server import policies as named_policies
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.rules import Standing, effective
from sentry_runtime.uem_server.tables import Device


def decisions(session: Session, devices: Sequence[Device], policies: Policies) -> tuple[Decision, ...]:
    """The decisions on these devices, in their order. Nothing restricts a removal: under one version it always says the same."""
    held = labels.of_devices(session, [device.id for device in devices])
    assigned, reached = named_policies.assigned(session, devices, held), labels.tunnels(session, held)
    return tuple(
        _worded(device, standing, policies.of(assigned.get(device.id)), reached.get(device.id, ()))
        for device, standing in zip(devices, standings(session, devices), strict=True)
    )


def standings(session: Session, devices: Sequence[Device]) -> list[Standing]:
    """The words in effect on these devices, in their order."""
    restrict = kin.restrictions(session, devices)

    def word(device: Device) -> Standing:
        aliases = () if device.removed else restrict.get(device.id, ())
        return mailbox.FULL if mailbox.has_none(device) else effective(kin.own(device), aliases)

    return list(map(word, devices))


def standing(session: Session, device: Device) -> Standing:
    """The word in effect on this device."""
    return standings(session, [device])[0]


def _worded(device: Device, standing: Standing, policy: Policy | None, tunnels: tuple[AppTunnel, ...]) -> Decision:
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
        wipe=wipes.wipe_of(device),
        tunnels=() if device.removed else tunnels,
    )
