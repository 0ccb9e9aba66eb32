"""What the UEM knows, and every change to it. Blocking; the service calls it in a thread of its own.

Each change gets a new change number (`version`), larger than any before it and committed in that order, so that "everything
behind N" is a complete answer. The numbers are milliseconds of the clock where that is larger than the last number plus one: a
UEM restored from an old backup then goes on above what its Sentries have already seen.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from sqlalchemy import Engine, func, or_, select
from sqlalchemy.orm import Session

from sentry_runtime.control import NamedPolicy, Registered
from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names, user_of
from sentry_runtime.uem.api import BucketPage, Contact, Decision, DecisionPage, Digests, Information, WipeReport
from sentry_runtime.uem.messages import that_fit
from sentry_runtime.uem_server import kin, mailbox, room, wipes
from sentry_runtime.uem_server import policies as named_policies
from sentry_runtime.uem_server.ledger import Ledger
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.rules import Standing, automatic, effective, unregistered
from sentry_runtime.uem_server.tables import Alias, Assignment, Cause, Clock, Device, Says
from sentry_runtime.uem_server.upgrade import find, give_orders, give_spellings, rename, spelling


class UnknownDeviceError(LookupError):
    """There is no such (device, principal)."""


class Registry:
    """One UEM's knowledge. `now` gives seconds since the epoch. Keys are canonical; the callers see to it.

    `devices_per_mailbox`: how many may pass, 0 for any number. `names`: as the site reads them.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        auto_block: bool,
        devices_per_mailbox: int = 0,
        names: Names | None = None,
        policies: Policies | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._auto_block = auto_block
        self._limit = devices_per_mailbox
        self._policies = policies or Policies()
        self._now = now
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            self._opened_at = clock.version
            give_spellings(session, lambda: self._next(clock))
            give_orders(session, lambda: self._next(clock))
            renamed = rename(session, names or Names(), self._automatic, lambda: self._next(clock))
            self._settle(session, clock, renamed)
            named_policies.apply(session, self._policies, lambda: self._next(clock))
        self._apply_auto_block()
        self._apply_limit()
        self._ledger = Ledger(self._decisions)

    @property
    def opened_at(self) -> int:
        """The last change number before this opening, which may itself have changed something."""
        return self._opened_at

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
            self._settle(session, clock, [key.principal], but=[device])
            if self._standing(session, device) != before:
                device.version = self._next(clock)
            return self._decision(session, device)

    def register(self, key: DeviceKey, device_type: str, note: str) -> list[Decision]:
        """The device belongs to the principal and may pass, unless something is wrong with it. Returns what changed, the device
        itself first.

        This and the words below raise `wipes.NotNowError` where a wipe does not leave them.
        """
        return self._change(key, None, note, device_type=device_type, registered=True)

    def set_state(self, key: DeviceKey, state: State, reasons: Iterable[Reason], note: str) -> list[Decision]:
        """An administrator allows or blocks a device, known or not. Returns what changed, the device itself first."""
        if state not in (State.ALLOWED, State.BLOCKED):
            raise ValueError(f"a device is set to allowed or blocked, not to {state}")
        why = () if state is State.ALLOWED else tuple(sorted(set(reasons)))
        return self._change(key, Standing(state, why), note)

    def flag(self, key: DeviceKey, cause: Reason, *, holds: bool) -> list[Decision]:
        """Something is wrong with the device, or no longer. Returns what is said now, the device itself first.

        It counts where no administrator has said otherwise by hand. Raises `UnknownDeviceError`.
        """
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            device.causes = [one for one in device.causes if one.reason != cause]
            session.flush()
            if holds:
                device.causes.append(Cause(reason=cause))
            if not device.manual:
                self._set(device, self._automatic(device))
            device.version = self._next(clock)
            return self._with_those_it_restricts(session, clock, device)

    def assign(self, key: DeviceKey, policy: str | None) -> list[Decision]:
        """The device gets the policy of this name; None: the default one. Returns what changed.

        Raises `UnknownDeviceError`, `policies.UnknownPolicyError`.
        """
        if policy is not None:
            self._policies.check(policy)
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            if policy is None:
                device.assignment = None
            elif device.assignment is None:
                device.assignment = Assignment(policy=policy)
            else:
                device.assignment.policy = policy
            device.version = self._next(clock)
            session.flush()
            return [self._decision(session, device)]

    def listed_policies(self) -> list[NamedPolicy]:
        """The policies there are, by their names."""
        with Session(self._engine) as session:
            assigned = named_policies.counts(session)
        default = self._policies.default
        return [
            NamedPolicy(name=name, policy=policy, default=name == default, assigned=assigned.get(name, 0))
            for name, policy in sorted(self._policies.named.items())
        ]

    def inform(self, told: Information) -> None:
        """Keep what a device says of itself; of one that is not known, nothing."""
        fields = msgspec.to_builtins(told.information)
        with Session(self._engine) as session, session.begin():
            device = find(session, DeviceKey(told.device_id, told.principal))
            if device is None or device.removed:
                return
            if device.says is None:
                device.says = Says(fields=fields)
            else:
                device.says.fields = fields

    def of_device(self, device_id: str) -> list[Registered]:
        """What else is known of the device's entries, in the order of their principals."""
        wanted = select(Device).where(Device.device_id == device_id, Device.removed.is_(False))
        with Session(self._engine) as session:
            return [_registered(device) for device in session.scalars(wanted.order_by(Device.principal))]

    def remove(self, key: DeviceKey) -> list[Decision]:
        """Forget the device. Returns what changed, its removal first. Raises `UnknownDeviceError`."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self._known(session, key)
            wipes.check(device, wipes.Word.REMOVE)
            device.removed, device.registered, device.manual = True, False, False
            device.aliases, device.causes, device.note, device.first_seen, device.last_seen = [], [], "", 0, 0
            device.assignment, device.says, device.wiping = None, None, None
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
            was = wipes.cancel(device, self._automatic(device))
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
                device.removed, device.aliases, device.first_seen = True, [], 0
                device.assignment, device.says, device.wiping = None, None, None
                device.version = self._next(clock)
            session.flush()
            freed = self._settle(session, clock, [device.principal for device in old])
            return list(self._decisions(session, [*old, *freed]))

    def changes(self, after: int, limit: int) -> DecisionPage:
        """Decisions with versions above `after`, in their order; `next` below `after` says this UEM never was that far."""
        with Session(self._engine) as session:
            found = session.scalars(
                select(Device).where(Device.version > after).order_by(Device.version).limit(limit + 1)
            ).all()
            page = that_fit(self._decisions(session, found[:limit]))
            last = page[-1].version if page else min(after, self._last(session))
            return DecisionPage(decisions=page, next=last, more=len(found) > len(page))

    def feed(self, after: int, limit: int) -> bytes:
        """The page that `changes` gives, as JSON; from memory, once everything is there."""
        with Session(self._engine) as session:
            if self._ledger.advance(session):
                return self._ledger.feed.page(after, limit, self._last(session))
        return msgspec.json.encode(self.changes(after, limit))

    def digests(self, root: str) -> Digests | None:
        """What is known, in digests; None: they are not made yet, and this was one step towards that."""
        with Session(self._engine) as session:
            if not self._ledger.advance(session):
                return None
            return self._ledger.digests(root, self._last(session))

    def bucket(self, number: int, after: int, limit: int) -> BucketPage | None:
        """A page of one bucket's decisions; None as with `digests`."""
        with Session(self._engine) as session:
            if not self._ledger.advance(session):
                return None
            return self._ledger.bucket(session, number, after, limit, self._last(session))

    def registered(self, after: int, limit: int) -> tuple[Decision, ...]:
        """A page of what is known, in the order of versions, without what was removed."""
        wanted = select(Device).where(Device.version > after, Device.removed.is_(False)).order_by(Device.version)
        with Session(self._engine) as session:
            return self._decisions(session, session.scalars(wanted.limit(limit)).all())

    def counts(self) -> dict[str, int]:
        """How many devices are known, in all and per state (in effect), and the last change number."""
        with Session(self._engine) as session:
            rows = session.execute(
                select(Device.state, func.count()).where(Device.removed.is_(False)).group_by(Device.state)
            )
            by_state = dict(rows.tuples().all())
            if waiting := mailbox.waiting(session):
                by_state[State.ALLOWED] -= waiting
                by_state[State.BLOCKED] = by_state.get(State.BLOCKED, 0) + waiting
            return {"devices": sum(by_state.values()), "version": self._last(session), **by_state}

    def _change(
        self, key: DeviceKey, by_hand: Standing | None, note: str, *, device_type: str = "", registered: bool = False
    ) -> list[Decision]:
        """Give the device this word by hand, or give it back to the automatic one."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = find(session, key)
            if device is None or device.removed:
                device = self._new(session, key, device)
            else:
                wipes.check(device, wipes.Word.SET)
            device.registered = registered or device.registered
            device.manual = by_hand is not None
            self._set(device, by_hand or self._automatic(device))
            device.device_type = device_type or device.device_type
            if device.spelling is not None:
                device.spelling.spoken = True
            device.note = note
            device.version = self._next(clock)
            return self._with_those_it_restricts(session, clock, device)

    def _automatic(self, device: Device) -> Standing:
        causes = [Reason(cause.reason) for cause in device.causes]
        return automatic(causes, registered=device.registered, auto_block=self._auto_block)

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
        seated = self._settle(session, clock, [device.principal], but=[device, *others])
        return [self._decision(session, changed) for changed in (device, *others, *seated)]

    def _settle(
        self, session: Session, clock: Clock, principals: Iterable[str], but: Sequence[Device] = ()
    ) -> list[Device]:
        """Give places anew in these mailboxes; gives those whose word that changes, under new versions, but for some."""
        users = {user_of(principal) for principal in principals}
        changed = [device for device in mailbox.settle(session, users, self._limit) if device not in but]
        for device in changed:
            device.version = self._next(clock)
        session.flush()
        return changed

    def _standing(self, session: Session, device: Device) -> Standing:
        decision = self._decision(session, device)
        return Standing(decision.state, decision.reasons)

    def _decision(self, session: Session, device: Device) -> Decision:
        return self._decisions(session, [device])[0]

    def _decisions(self, session: Session, devices: Sequence[Device]) -> tuple[Decision, ...]:
        """The decisions on these devices, as restricted by what is said under their other spellings. Nothing restricts a removal:
        under one version it always says the same."""
        restrict, assigned = kin.restrictions(session, devices), named_policies.assigned(session, devices)

        def worded(device: Device) -> Decision:
            aliases = () if device.removed else restrict.get(device.id, ())
            word = effective(kin.own(device), aliases)
            standing = mailbox.FULL if mailbox.has_none(device) else word
            return _worded(device, standing, self._policies.of(assigned.get(device.id)))

        return tuple(map(worded, devices))

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
        other = or_(Device.state != word.state, Device.causes.any())
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            changed = []
            for device in session.scalars(select(Device).where(room.by_contact(), other)).all():
                standing = self._automatic(device)
                if standing != kin.own(device):
                    self._set(device, standing)
                    device.version = self._next(clock)
                    changed.append(device)
            session.flush()
            self._settle(session, clock, [device.principal for device in changed], but=changed)

    def _apply_limit(self) -> None:
        """The limit may have changed while we were down. A little at a time; cut short, it is begun anew."""
        with Session(self._engine) as session, session.begin():
            if mailbox.last_limit(session) == self._limit:
                return
        after, users = "", [""]
        while users:
            with Session(self._engine) as session, session.begin():
                clock = self._clock(session)
                users = mailbox.some_users(session, after)
                self._settle(session, clock, users)
                if not users:
                    mailbox.remember_limit(session, self._limit)
                after = users[-1] if users else ""


def _unknown(key: DeviceKey) -> UnknownDeviceError:
    return UnknownDeviceError(f"device {key.device_id} of {key.principal} is not known")


def _registered(device: Device) -> Registered:
    said = None if device.says is None else msgspec.convert(device.says.fields, DeviceInformation)
    return Registered(
        key=DeviceKey(device.device_id, device.principal),
        policy="" if device.assignment is None else device.assignment.policy,
        information=said,
    )


def _worded(device: Device, standing: Standing, policy: Policy | None) -> Decision:
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
    )
