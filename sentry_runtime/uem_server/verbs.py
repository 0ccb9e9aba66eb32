"""What an administrator may say of one device, as a table: the word's body, and what it does.

An administrator's word by hand (`allow`, `block`, `wipe`) stands above the automatic one; after a wipe only `remove` is left
(`wipes`, `rules`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import MessageError, canonical, check_key
from sentry_runtime.uem_server import directory, judging, links
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.resources import (
    AssignPolicy,
    FlagDevice,
    LabelDevice,
    LinkDevice,
    Noted,
    OnDevice,
    RegisterDevice,
    ReportDevice,
    WipeDevice,
)
from sentry_runtime.uem_server.rules import CAUSES
from sentry_runtime.uem_server.tables import Device


@dataclass(frozen=True, slots=True)
class Said:
    """One word: the body, the device that it is about, how the site reads names, and the administrator."""

    body: Any
    key: DeviceKey
    names: Names
    by: str


@dataclass(frozen=True, slots=True)
class Verb:
    """The body's type, what the word does (raises what the registry raises), and what the audit line says of it."""

    body: type[OnDevice]
    act: Callable[[Registry, Said], list[Decision]]
    detail: Callable[[Any], str] = lambda _body: ""


def key_of(device_id: str, principal: str, names: Names) -> DeviceKey:
    """The one key of what a person typed. Raises `MessageError`."""
    key = canonical(device_id, principal, names)
    check_key(key.device_id, key.principal)
    return key


def _flag(registry: Registry, said: Said) -> list[Decision]:
    cause = said.body.cause
    if cause not in CAUSES:
        raise MessageError(f"`cause` is one of {', '.join(sorted(CAUSES))}; found {cause.value} - at `$.cause`")
    return registry.flag(said.key, cause, holds=said.body.holds)


def _cancel(registry: Registry, said: Said) -> list[Decision]:
    return registry.cancel_wipe(said.key, said.body.note)[1]


def _link(registry: Registry, said: Said) -> list[Decision]:
    other = key_of(said.body.to_device_id, said.body.to_principal, said.names)

    def change(session: Session, device: Device) -> None:
        links.link(session, device, registry.device(session, other), said.body.note)
        _spoken(session, device)

    return _amend(registry, said, change)


def _unlink(registry: Registry, said: Said) -> list[Decision]:
    def change(session: Session, device: Device) -> None:
        links.unlink(device, said.body.note)
        _spoken(session, device)

    return _amend(registry, said, change)


def _label(registry: Registry, said: Said) -> list[Decision]:
    return _amend(registry, said, lambda session, device: directory.label_device(session, device, said.body.labels))


def _report(registry: Registry, said: Said) -> list[Decision]:
    return _amend(registry, said, lambda session, device: directory.report_device(session, device, said.body.posture))


def _amend(registry: Registry, said: Said, change: Callable[[Session, Device], None]) -> list[Decision]:
    return registry.amend(lambda session, _next: change(session, registry.device(session, said.key)))[1]


def _spoken(session: Session, device: Device) -> None:
    """An administrator has spoken of the device, and it is told so anew."""
    if device.spelling is not None:
        device.spelling.spoken = True
    session.flush()
    judging.mark(session, select(Device.id).where(Device.id == device.id), bump=True)


def _words(labels: Iterable[str]) -> str:
    return f"labels {', '.join(labels) or 'none'}"


VERBS: dict[str, Verb] = {
    "register": Verb(RegisterDevice, lambda to, said: to.register(said.key, said.body.device_type, said.body.note)),
    "allow": Verb(Noted, lambda to, said: to.set_state(said.key, State.ALLOWED, (), said.body.note)),
    "block": Verb(Noted, lambda to, said: to.set_state(said.key, State.BLOCKED, (Reason.MANUAL,), said.body.note)),
    "wipe": Verb(
        WipeDevice,
        lambda to, said: to.order_wipe(said.key, said.body.kind, said.body.note, said.by),
        lambda body: f"wipe of the {body.kind}",
    ),
    "cancel-wipe": Verb(Noted, _cancel, lambda _body: "wipe cancelled"),
    "remove": Verb(OnDevice, lambda to, said: to.remove(said.key)),
    "link": Verb(LinkDevice, _link, lambda body: f"linked to {body.to_device_id} of {body.to_principal}"),
    "unlink": Verb(Noted, _unlink, lambda _body: "link undone"),
    "assign-policy": Verb(
        AssignPolicy,
        lambda to, said: to.assign(said.key, said.body.policy),
        lambda body: "the default policy" if body.policy is None else f"policy {body.policy}",
    ),
    "flag": Verb(FlagDevice, _flag),
    "label": Verb(LabelDevice, _label, lambda body: _words(body.labels)),
    "report": Verb(ReportDevice, _report),
}
