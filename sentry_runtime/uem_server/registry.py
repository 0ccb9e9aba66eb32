"""What the UEM knows, and every change to it. Blocking; the service calls it in a thread of its own.

Each change gets a new change number (`version`), larger than any before it and committed in that order, so that "everything
behind N" is a complete answer. The numbers are milliseconds of the clock where that is larger than the last number plus one: a
UEM restored from an old backup then goes on above what its Sentries have already seen.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind
from sentry_runtime.uem.api import Contact, Decision, DecisionPage, WipeReport
from sentry_runtime.uem_server import kin, room, wipes
from sentry_runtime.uem_server.rules import Standing, effective, unregistered
from sentry_runtime.uem_server.tables import Alias, Clock, Device
from sentry_runtime.uem_server.upgrade import find, give_orders, give_spellings, spelling


class UnknownDeviceError(LookupError):
    """There is no such (device, principal)."""


class Registry:
    """One UEM's knowledge. `now` gives seconds since the epoch. Keys are canonical; the callers see to it."""

    def __init__(self, engine: Engine, *, auto_block: bool, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._auto_block = auto_block
        self._now = now
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            give_spellings(session, lambda: self._next(clock))
            give_orders(session, lambda: self._next(clock))
        self._apply_auto_block()

    def contact(self, contact: Contact) -> Decision:
        """The word on a device that a Sentry saw for the first time; an unknown one is recorded as unregistered.

        Raises `room.NoRoomError` when its principal has too many of these.
        """
        key = DeviceKey(contact.device_id, contact.principal)
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = find(session, key)
            if device is None or device.removed:
                room.check(session, key)
                device = self._new(session, key, device)
                device.version = self._next(clock)
                self._set(device, unregistered(auto_block=self._auto_block))
            before = self._standing(session, device)
            device.device_type = contact.device_type or device.device_type
            device.first_seen = device.first_seen or contact.seen
            device.last_seen = max(device.last_seen, contact.seen)
            have = {alias.alias for alias in device.aliases}
            device.aliases += [Alias(alias=name) for name in set(contact.device_aliases) - have - {device.device_id}]
            session.flush()
            if self._standing(session, device) != before:
                device.version = self._next(clock)
            return self._decision(session, device)

    def register(self, key: DeviceKey, device_type: str, note: str) -> list[Decision]:
        """The device belongs to the principal and may pass. Returns what changed, the device itself first.

        This and the words below raise `wipes.NotNowError` where a wipe does not leave them.
        """
        return self._change(key, Standing(State.ALLOWED), note, device_type=device_type, registered=True)

    def set_state(self, key: DeviceKey, state: State, reasons: Iterable[Reason], note: str) -> list[Decision]:
        """An administrator allows or blocks a device, known or not. Returns what changed, the device itself first."""
        if state not in (State.ALLOWED, State.BLOCKED):
            raise ValueError(f"a device is set to allowed or blocked, not to {state}")
        why = () if state is State.ALLOWED else tuple(sorted(set(reasons)))
        return self._change(key, Standing(state, why), note)

    def remove(self, key: DeviceKey) -> list[Decision]:
        """Forget the device. Returns what changed, its removal first. Raises `UnknownDeviceError`."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            wipes.check(device, wipes.Word.REMOVE)
            device.removed, device.registered, device.manual = True, False, False
            device.aliases, device.note, device.first_seen, device.last_seen = [], "", 0, 0
            device.wiping = None
            device.version = self._next(clock)
            return self._with_those_it_restricts(session, clock, device)

    def order_wipe(self, key: DeviceKey, kind: WipeKind, note: str, by: str) -> list[Decision]:
        """An administrator has a known device wiped. Returns what changed, the device itself first.

        Raises `UnknownDeviceError`: a misspelt device would else be waited for.
        """
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            version = self._next(clock)
            if not wipes.order(device, kind, by, version):
                return [self._decision(session, device)]
            if device.spelling is not None:
                device.spelling.spoken = True
            device.note, device.version = note, version
            return self._with_those_it_restricts(session, clock, device)

    def cancel_wipe(self, key: DeviceKey, note: str) -> tuple[Wipe, list[Decision]]:
        """Take a pending order back: the order as it was, and what changed, the device itself first.

        Raises `UnknownDeviceError`. Without a note the one from before the order stands again.
        """
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            was = wipes.cancel(device, unregistered(auto_block=self._auto_block))
            device.note, device.version = note or device.note, self._next(clock)
            return was, self._with_those_it_restricts(session, clock, device)

    def report_wipe(self, report: WipeReport) -> tuple[Decision, list[Decision]]:
        """What a Sentry says has come of an order: the word on the device in knowledge of it, and what changed.

        Raises `UnknownDeviceError` for a device of which there is not even a note that it was removed.
        """
        key = DeviceKey(report.device_id, report.principal)
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = find(session, key)
            if device is None:
                raise _unknown(key)
            if not wipes.report(device, report.wipe):
                return self._decision(session, device), []
            device.version = self._next(clock)
            changed = self._with_those_it_restricts(session, clock, device)
            return changed[0], changed

    def expire(self) -> list[Decision]:
        """Remove some of the undecided devices that have been kept long enough; what went, empty when none is left."""
        with Session(self._engine) as session, session.begin():
            clock, now = self._clock(session), self._now()
            room.forget_removals(session, now)
            old = room.expired(session, now)
            for device in old:
                device.removed, device.aliases, device.first_seen, device.wiping = True, [], 0, None
                device.version = self._next(clock)
            session.flush()
            return list(self._decisions(session, old))

    def changes(self, after: int, limit: int) -> DecisionPage:
        """Decisions with versions above `after`, in their order; `next` below `after` says this UEM never was that far."""
        with Session(self._engine) as session:
            found = session.scalars(
                select(Device).where(Device.version > after).order_by(Device.version).limit(limit + 1)
            ).all()
            page = found[:limit]
            last = page[-1].version if page else min(after, self._last(session))
            return DecisionPage(decisions=self._decisions(session, page), next=last, more=len(found) > limit)

    def registered(self, after: int, limit: int) -> tuple[Decision, ...]:
        """A page of what is known, in the order of versions, without what was removed."""
        wanted = select(Device).where(Device.version > after, Device.removed.is_(False)).order_by(Device.version)
        with Session(self._engine) as session:
            return self._decisions(session, session.scalars(wanted.limit(limit)).all())

    def counts(self) -> dict[str, int]:
        """How many devices are known, in all and per state, and the last change number."""
        with Session(self._engine) as session:
            rows = session.execute(
                select(Device.state, func.count()).where(Device.removed.is_(False)).group_by(Device.state)
            )
            by_state = dict(rows.tuples().all())
            return {"devices": sum(by_state.values()), "version": self._last(session), **by_state}

    def _change(
        self, key: DeviceKey, standing: Standing, note: str, *, device_type: str = "", registered: bool = False
    ) -> list[Decision]:
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = find(session, key)
            if device is None or device.removed:
                device = self._new(session, key, device)
            else:
                wipes.check(device, wipes.Word.SET)
            self._set(device, standing)
            device.device_type = device_type or device.device_type
            device.registered = registered or device.registered
            device.manual = not registered
            if device.spelling is not None:
                device.spelling.spoken = True
            device.note = note
            device.version = self._next(clock)
            return self._with_those_it_restricts(session, clock, device)

    def _known(self, session: Session, key: DeviceKey) -> Device:
        device = find(session, key)
        if device is None or device.removed:
            raise _unknown(key)
        return device

    def _new(self, session: Session, key: DeviceKey, removed: Device | None) -> Device:
        """A fresh row, or the removed one as fresh; the caller gives it its word and its version."""
        device = removed or Device(device_id=key.device_id, principal=key.principal, state=State.BLOCKED)
        device.removed, device.device_type = False, ""
        if device.spelling is None:
            device.spelling = spelling(key)
        session.add(device)
        return device

    def _set(self, device: Device, standing: Standing) -> None:
        device.state = standing.state
        device.reasons = list(standing.reasons)

    def _with_those_it_restricts(self, session: Session, clock: Clock, device: Device) -> list[Decision]:
        """The changed device, and those whose word depends on it: it may be another one now."""
        session.flush()
        others = kin.restricted_by(session, device)
        for other in others:
            other.version = self._next(clock)
        session.flush()
        return [self._decision(session, changed) for changed in (device, *others)]

    def _standing(self, session: Session, device: Device) -> Standing:
        decision = self._decision(session, device)
        return Standing(decision.state, decision.reasons)

    def _decision(self, session: Session, device: Device) -> Decision:
        return self._decisions(session, [device])[0]

    def _decisions(self, session: Session, devices: Sequence[Device]) -> tuple[Decision, ...]:
        """The decisions on these devices, as restricted by what is said under their other spellings."""
        restrict = kin.restrictions(session, devices)
        return tuple(_worded(device, effective(kin.own(device), restrict.get(device.id, ()))) for device in devices)

    def _clock(self, session: Session) -> Clock:
        """The change number's row, locked until the end of the transaction (SQLite: BEGIN IMMEDIATE has done it)."""
        clock = session.get(Clock, 1, with_for_update=True)
        if clock is None:
            clock = Clock(id=1, version=0)
            session.add(clock)
        return clock

    def _next(self, clock: Clock) -> int:
        clock.version = max(clock.version + 1, int(self._now() * 1_000))
        return clock.version

    def _last(self, session: Session) -> int:
        clock = session.get(Clock, 1)
        return 0 if clock is None else clock.version

    def _apply_auto_block(self) -> None:
        """The setting may have changed while we were down: give those nobody decided about its present word."""
        word = unregistered(auto_block=self._auto_block)
        undecided = select(Device).where(room.undecided(), Device.state != word.state)
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            for device in session.scalars(undecided):
                self._set(device, word)
                device.version = self._next(clock)


def _unknown(key: DeviceKey) -> UnknownDeviceError:
    return UnknownDeviceError(f"device {key.device_id} of {key.principal} is not known")


def _worded(device: Device, standing: Standing) -> Decision:
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
        wipe=wipes.wipe_of(device),
    )
