"""Compliance applied to the rows: which devices have to be looked at anew, and what is then found wrong with them.

Whatever may change the automatic word on many devices (a label, a policy, an import, the time) only notes them as due, in its
own transaction. They are looked at some at a time, so that contacts get their turn in between, and a restart forgets none.

Security policies are asked of registered devices: an unregistered one is not managed, and `auto_block_unregistered` says what
becomes of it. Of a linked device nothing is asked: it follows the one that it is linked to.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Select, delete, insert, literal, or_, select, update
from sqlalchemy.orm import Session, selectinload

from sentry_runtime.devices.record import State
from sentry_runtime.uem.security import Platform, SecurityPolicy
from sentry_runtime.uem_server import labels, room
from sentry_runtime.uem_server.compliance import DAY_SECONDS, Facts, findings, from_os
from sentry_runtime.uem_server.tables import Device, Due, Finding, Grace, Link, Posture, SecurityNote

AT_ONCE = 200  # devices in one transaction: some hundred milliseconds, in which contacts wait

# What a look at a device needs; else each would ask for its own, one after the other.
_LOADS = [
    selectinload(beside)
    for beside in (Device.causes, Device.findings, Device.posture, Device.says, Device.link, Device.grace)
]


class UnknownSecurityPolicyError(LookupError):
    """There is no security policy of this name."""


@dataclass(frozen=True, slots=True)
class Security:
    """The security policies by name; `default` names the one of devices whose labels name none."""

    named: Mapping[str, SecurityPolicy] = field(default_factory=dict)
    default: str | None = None

    def of(self, name: str | None) -> SecurityPolicy | None:
        """The policy of a device whose labels name this one. One that is not in the settings (any more): the default."""
        return self.named.get(name or "") or self.named.get(self.default or "")

    def check(self, name: str) -> None:
        """Raise `UnknownSecurityPolicyError` unless there is a policy of this name."""
        if name not in self.named:
            known = ", ".join(sorted(self.named)) or "none is in the settings"
            raise UnknownSecurityPolicyError(f"there is no security policy {name[:64]!r}; allowed: {known}")

    @property
    def digest(self) -> str:
        """The same exactly as long as the same is asked of every device."""
        said = msgspec.json.encode([dict(self.named), self.default], order="deterministic")
        return hashlib.sha256(said).hexdigest()


def mark(session: Session, numbers: Select[tuple[int]], *, bump: bool = False) -> None:
    """These devices are due; `bump`: they are told anew even if their word stays the same."""
    chosen = numbers.subquery()
    number = next(iter(chosen.c))
    if bump:
        session.execute(update(Due).where(Due.device.in_(select(number))).values(bump=True))
    fresh = select(number, literal(bump)).where(number.not_in(select(Due.device))).distinct()
    session.execute(insert(Due).from_select(["device", "bump"], fresh))


def due(session: Session) -> list[tuple[Device, bool]]:
    """Up to `AT_ONCE` devices that are due, with their `bump`; they are so no more."""
    bumps = dict(session.execute(select(Due.device, Due.bump).order_by(Due.device).limit(AT_ONCE)).tuples().all())
    if not bumps:
        return []
    found = session.scalars(select(Device).where(Device.id.in_(bumps)).order_by(Device.id).options(*_LOADS)).all()
    session.execute(delete(Due).where(Due.device.in_(bumps)))
    return [(device, bumps[device.id]) for device in found if not device.removed]


def any_due(session: Session) -> bool:
    """Whether a device is due."""
    return session.scalar(select(Due.device).limit(1)) is not None


def refresh(session: Session, devices: Sequence[Device], security: Security, now: float) -> None:
    """Find anew what is wrong with these devices. They must have been flushed."""
    held = labels.of_devices(session, [device.id for device in devices]) if security.named else {}
    for device in devices:
        names = (label.security_policy for label in held.get(device.id, ()) if label.security_policy is not None)
        asked = security.of(next(names, None)) if device.registered and device.link is None else None
        wanted = set() if asked is None else findings(asked, facts(device), now)
        if wanted != {one.reason for one in device.findings}:
            device.findings = [one for one in device.findings if one.reason in wanted] + [
                Finding(reason=reason) for reason in sorted(wanted - {one.reason for one in device.findings})
            ]


def facts(device: Device) -> Facts:
    """What is known of a device: what is reported of it; of its system, else what it says itself."""
    known = device.posture or Posture(os_version="", contact=0)
    platform, version = known.platform, known.os_version
    if platform is None and device.says is not None:
        said = from_os(device.says.fields.get("os", ""))
        platform, version = said.platform, said.os_version
    return Facts(
        platform=None if platform is None else Platform(platform),
        os_version=version,
        compromised=known.compromised,
        encrypted=known.encrypted,
        contact=max(known.contact, device.last_seen),
    )


def mark_silent(session: Session, security: Security, now: float) -> None:
    """The registered devices that may have been silent for too long by now are due."""
    spans = [policy.contact_days for policy in security.named.values() if policy.contact_days]
    if spans:
        horizon = int(now) - min(spans) * DAY_SECONDS
        silent = (
            select(Device.id)
            .outerjoin(Posture, Posture.device == Device.id)
            .where(Device.registered.is_(True), Device.removed.is_(False), Device.last_seen <= horizon)
            .where(or_(Posture.device.is_(None), Posture.contact <= horizon))
        )
        mark(session, silent)


def mark_graces(session: Session, seconds: int, now: float) -> None:
    """The unregistered devices whose grace is over are due."""
    over = (
        select(Device.id)
        .join(Grace, Grace.device == Device.id)
        .where(room.by_contact(), Device.state == State.ALLOWED, Grace.since <= int(now) - seconds)
    )
    mark(session, over)


def mark_policies(session: Session, security: Security) -> None:
    """The settings may have changed while we were down: if so, every managed device is due."""
    note = session.get(SecurityNote, 1)
    if (security.digest if security.named else "") != ("" if note is None else note.digest):
        mark(session, select(Device.id).where(Device.registered.is_(True), Device.removed.is_(False)))
        session.merge(SecurityNote(id=1, digest=security.digest if security.named else ""))


def mark_followers(session: Session, numbers: Collection[int], *, bump: bool = False) -> None:
    """The devices that are linked to these are due."""
    mark(session, select(Link.device).where(Link.to.in_(numbers)), bump=bump)
