"""Every change to what the UEM knows; `reading` is how that is read. Blocking; the service calls it in a thread of its own.

Each change gets a new change number (`version`), larger than any before it and committed in that order, so that "everything
behind N" is a complete answer. The numbers are milliseconds of the clock where that is larger than the last number plus one: a
UEM restored from an old backup then goes on above what its Sentries have already seen.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session, selectinload

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind
from sentry_runtime.eas.principal import Names, user_of
from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem.api import Contact, Decision, Information, WipeReport
from sentry_runtime.uem_server import (
    candidates,
    graces,
    judging,
    kin,
    links,
    mailbox,
    peers,
    room,
    rows,
    wipes,
    wording,
)
from sentry_runtime.uem_server import policies as named_policies
from sentry_runtime.uem_server.judging import Security
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.reading import Reading
from sentry_runtime.uem_server.rules import Standing, automatic, followed
from sentry_runtime.uem_server.tables import Alias, Assignment, Cause, Clock, Device, Grace, Link, Says
from sentry_runtime.uem_server.upgrade import give_orders, give_spellings, rename, rename_users

_Result = TypeVar("_Result")

# What a device's automatic word is made of; else each would ask for its own, one after the other.
_JUDGED = [selectinload(beside) for beside in (Device.causes, Device.findings, Device.grace)]
_JUDGED.append(selectinload(Device.link).selectinload(Link.target))


class UnknownDeviceError(LookupError):
    """There is no such (device, principal)."""


class Registry(Reading):
    """One UEM's knowledge. `now` gives seconds since the epoch. Keys are canonical; the callers see to it.

    `devices_per_mailbox`: how many may pass, 0 for any number. `names`: as the site reads them. `grace_seconds`: how long an
    unregistered device passes all the same. `sentrys`: those that may always call.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        auto_block: bool,
        devices_per_mailbox: int = 0,
        names: Names | None = None,
        policies: Policies | None = None,
        security: Security | None = None,
        grace_seconds: int = 0,
        sentrys: Sequence[SentryPeer] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(engine, policies or Policies())
        self._auto_block = auto_block
        self._limit = devices_per_mailbox
        self._security = security or Security()
        self._grace = grace_seconds
        self._ceiling = room.Ceiling()
        self._now = now
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            self._opened_at = clock.version
            give_spellings(session, lambda: self._next(clock))
            give_orders(session, lambda: self._next(clock))
            renamed = rename(session, names or Names(), self._automatic, lambda: self._next(clock))
            rename_users(session, names or Names())
            self._settle(session, clock, renamed)
            named_policies.apply(session, self._policies, lambda: self._next(clock))
            judging.mark_policies(session, self._security)
            peers.fix(session, sentrys)
        self._apply_auto_block()
        self._apply_limit()

    @property
    def opened_at(self) -> int:
        """The last change number before this opening, which may itself have changed something."""
        return self._opened_at

    def contact(self, contact: Contact) -> Decision:
        """The word on a device that a Sentry saw for the first time; an unknown one is recorded as unregistered.

        Raises `room.NoRoomError` when its principal has too many of these.
        """
        (outcome,) = self.contacts([contact])
        if isinstance(outcome, room.NoRoomError):
            raise outcome
        return outcome

    def contacts(self, contacts: Sequence[Contact]) -> list[Decision | room.NoRoomError]:
        """As `contact`, of several, one after the other in one transaction."""
        outcomes: dict[int, Decision | room.NoRoomError] = {}
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            for some in _of_different_people(contacts):
                outcomes |= self._contacts(session, clock, some)
        return [outcomes[at] for at in range(len(contacts))]

    def _contacts(
        self, session: Session, clock: Clock, contacts: Mapping[int, Contact]
    ) -> dict[int, Decision | room.NoRoomError]:
        """These contacts together, by their places. They are of different users: nothing that one changes is of another's."""
        keys = {at: DeviceKey(contact.device_id, contact.principal) for at, contact in contacts.items()}
        found = rows.find_all(session, keys.values())
        known = [device for device in found.values() if not device.removed]
        before = dict(zip(known, wording.standings(session, [device.id for device in known]), strict=True))
        new = [key for key in keys.values() if found.get(key) not in before]
        refused = self._without_room(session, new)
        graced = graces.since(session, [key for key in new if key not in refused], int(self._now()))
        met = {at: found.get(key) for at, key in keys.items() if key not in refused}
        devices = {at: self._met(session, clock, keys[at], device, contacts[at], graced) for at, device in met.items()}
        session.flush()
        self._look_at(session, known)
        self._settle(session, clock, [device.principal for device in devices.values()], but=list(devices.values()))
        numbers = [device.id for device in devices.values()]
        said = dict(zip(devices, wording.decisions(session, numbers, self._policies), strict=True))
        for at, device in devices.items():
            if before.get(device, _standing(said[at])) != _standing(said[at]):
                device.version = self._next(clock)
                said[at] = msgspec.structs.replace(said[at], version=device.version)
        return {at: refused.get(key) or said[at] for at, key in keys.items()}

    def _without_room(self, session: Session, new: Sequence[DeviceKey]) -> dict[DeviceKey, room.NoRoomError]:
        refused = room.refusals(session, new)
        for key in new:
            try:
                if key not in refused:
                    self._ceiling.check(session)
            except room.NoRoomError as error:
                refused[key] = error
        return refused

    def _met(
        self,
        session: Session,
        clock: Clock,
        key: DeviceKey,
        device: Device | None,
        contact: Contact,
        graced: Mapping[DeviceKey, int],
    ) -> Device:
        """The row of a device that was met, with what that says of it. `graced`: since when the new ones have their grace."""
        if device is None or device.removed:
            device = rows.fresh(session, key, device)
            device.version = self._next(clock)
            device.grace = device.grace or Grace(since=graced[key])
            self._set(device, self._automatic(device))
        device.device_type = contact.device_type or device.device_type
        device.first_seen = device.first_seen or contact.seen
        device.last_seen = max(device.last_seen or 0, contact.seen)
        have = {alias.alias for alias in device.aliases}
        device.aliases += [Alias(alias=name) for name in set(contact.device_aliases) - have - {device.device_id}]
        return device

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
            device = self.device(session, key)
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
            device = self.device(session, key)
            if policy is None:
                device.assignment = None
            elif device.assignment is None:
                device.assignment = Assignment(policy=policy)
            else:
                device.assignment.policy = policy
            device.version = self._next(clock)
            session.flush()
            judging.mark_followers(session, [device.id], bump=True)
            changed = self._judge(session, clock)
            return self._said(session, [device, *(one for one in changed if one is not device)])

    def inform(self, told: Information) -> None:
        """Keep what a device says of itself; of one that is not known, nothing."""
        fields = msgspec.to_builtins(told.information)
        with Session(self._engine) as session, session.begin():
            device = rows.find(session, DeviceKey(told.device_id, told.principal))
            if device is None or device.removed:
                return
            if device.says is None:
                device.says = Says(fields=fields)
            else:
                device.says.fields = fields
            self._look_at(session, [device])

    def remove(self, key: DeviceKey) -> list[Decision]:
        """Forget the device. Returns what changed, its removal first. Raises `UnknownDeviceError`."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self.device(session, key)
            wipes.check(device, wipes.Word.REMOVE)
            for follower in links.followers(session, device):
                follower.link, follower.registered = None, False
                judging.mark(session, select(Device.id).where(Device.id == follower.id), bump=True)
            device.removed, device.registered, device.manual = True, False, False
            device.aliases, device.causes, device.note, device.first_seen, device.last_seen = [], [], "", 0, 0
            device.assignment, device.says, device.wiping = None, None, None
            device.findings, device.labels, device.posture, device.link = [], [], None, None
            device.version = self._next(clock)
            return self._with_those_it_restricts(session, clock, device)

    def order_wipe(self, key: DeviceKey, kind: WipeKind, note: str, by: str) -> list[Decision]:
        """An administrator has a known device wiped. Returns what changed, the device itself first.

        Raises `UnknownDeviceError`: a misspelt device would else be waited for.
        """
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = self.device(session, key)
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
            device = self.device(session, key)
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
            device = rows.find(session, key)
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
                device.labels, device.posture = [], None
                device.version = self._next(clock)
            session.flush()
            freed = self._settle(session, clock, [device.principal for device in old])
            return self._said(session, [*old, *freed])

    def amend(self, job: Callable[[Session, Callable[[], int]], _Result]) -> tuple[_Result, list[Decision]]:
        """Do `job` to what stands beside the devices' own words, in one transaction; its result, and what changed by that so
        far: the other devices that it has made due are the next `judge`'s. `job` is given what gives a new version."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            result = job(session, lambda: self._next(clock))
            session.flush()
            return result, self._said(session, self._judge(session, clock))

    def judge(self) -> tuple[list[Decision], bool]:
        """Look anew at some of the devices that are due: what changed, and whether there are more."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            if self._auto_block:
                judging.mark_graces(session, self._grace, self._now())
            changed = self._judge(session, clock)
            return self._said(session, changed), judging.any_due(session)

    def note_silent(self) -> None:
        """Devices that may have been silent for too long by now are due."""
        with Session(self._engine) as session, session.begin():
            self._clock(session)
            judging.mark_silent(session, self._security, self._now())

    def candidates(self, contact: Contact) -> tuple[int, tuple[Decision, ...]]:
        """Who a device might be, and a change number that is of no other change. Raises `room.NoRoomError` for one that is not
        known where its principal has too many such devices: the Sentry would let it in, and nobody would end its grace."""
        key = DeviceKey(contact.device_id, contact.principal)
        with Session(self._engine) as session, session.begin():
            version = self._next(self._clock(session))
            session.flush()
            found = candidates.might_be(session, contact)
            if not any((one.device_id, one.principal) == (key.device_id, key.principal) for one in found):
                refused = room.refusals(session, [key])
                if refused:
                    raise refused[key]
            return version, tuple(self._said(session, found))

    def leave_out(self, key: DeviceKey) -> None:
        """A Sentry has this device, for which there is no room: it is to forget it, and to ask when it comes again."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            if rows.find(session, key) is None:
                self._ceiling.check(session)
                device = rows.fresh(session, key, None)
                device.removed, device.version, device.last_seen = True, self._next(clock), int(self._now())

    def device(self, session: Session, key: DeviceKey) -> Device:
        """The row of a known device. Raises `UnknownDeviceError`."""
        device = rows.find(session, key)
        if device is None or device.removed:
            raise _unknown(key)
        return device

    @property
    def security(self) -> Security:
        """The security policies there are."""
        return self._security

    def _change(
        self, key: DeviceKey, by_hand: Standing | None, note: str, *, device_type: str = "", registered: bool = False
    ) -> list[Decision]:
        """Give the device this word by hand, or give it back to the automatic one."""
        with Session(self._engine) as session, session.begin():
            clock = self._clock(session)
            device = rows.find(session, key)
            if device is None or device.removed:
                device = rows.fresh(session, key, device)
            else:
                wipes.check(device, wipes.Word.SET)
            device.version = self._next(clock)
            if registered:
                device.registered, device.link = True, None
            device.manual = by_hand is not None
            session.flush()
            judging.refresh(session, [device], self._security, self._now())
            self._set(device, by_hand or self._automatic(device))
            device.device_type = device_type or device.device_type
            if device.spelling is not None:
                device.spelling.spoken = True
            device.note = note
            return self._with_those_it_restricts(session, clock, device)

    def _automatic(self, device: Device) -> Standing:
        causes = [Reason(cause.reason) for cause in device.causes]
        causes += [Reason(finding.reason) for finding in device.findings]
        if device.link is not None:
            return followed(kin.own(device.link.target), causes)
        graced = device.grace is not None and self._now() < device.grace.since + self._grace
        return automatic(causes, registered=device.registered, auto_block=self._auto_block and not graced)

    def _look_at(self, session: Session, devices: Iterable[Device]) -> None:
        """The devices have said something that their security policies may ask: they are due."""
        numbers = [device.id for device in devices if device.registered]
        if numbers and self._security.named:
            session.flush()
            judging.mark(session, select(Device.id).where(Device.id.in_(numbers)))

    def _judge(self, session: Session, clock: Clock) -> list[Device]:
        """Look anew at some of those that are due, and at who depends on them; those that changed, under new versions."""
        due = judging.due(session)
        if not due:
            return []
        judging.refresh(session, [device for device, _ in due], self._security, self._now())
        told, moved = [], []
        for device, bump in due:
            before = kin.own(device)
            if not device.manual:
                self._set(device, self._automatic(device))
            if kin.own(device) != before:
                moved.append(device)
            if bump or kin.own(device) != before:
                device.version = self._next(clock)
                told.append(device)
        session.flush()
        judging.mark_followers(session, [device.id for device in moved])
        others = [one for one in kin.restricted_by(session, moved) if one not in told]
        for other in others:
            other.version = self._next(clock)
        session.flush()
        seated = self._settle(session, clock, [device.principal for device in told], but=[*told, *others])
        return [*told, *others, *seated]

    def _set(self, device: Device, standing: Standing) -> None:
        device.state = standing.state
        device.reasons = list(standing.reasons)

    def _with_those_it_restricts(self, session: Session, clock: Clock, device: Device) -> list[Decision]:
        """The changed device, and those whose word depends on it: it may be another one now."""
        session.flush()
        others = kin.restricted_by(session, [device])
        for other in others:
            other.version = self._next(clock)
        session.flush()
        seated = self._settle(session, clock, [device.principal], but=[device, *others])
        judging.mark_followers(session, [device.id])
        first = [device, *others, *seated]
        following = [one for one in self._judge(session, clock) if one not in first]
        return self._said(session, [*first, *following])

    def _settle(
        self, session: Session, clock: Clock, principals: Iterable[str], but: Sequence[Device] = ()
    ) -> list[Device]:
        """Give places anew in these mailboxes; gives those whose word that changes, under new versions, but for some."""
        users = sorted({user_of(principal) for principal in principals})
        portions = (users[at : at + mailbox.USERS_AT_ONCE] for at in range(0, len(users), mailbox.USERS_AT_ONCE))
        settled = [device for some in portions for device in mailbox.settle(session, some, self._limit)]
        others = set(but)
        changed = [device for device in settled if device not in others]
        for device in changed:
            device.version = self._next(clock)
        session.flush()
        return changed

    def _decision(self, session: Session, device: Device) -> Decision:
        return self._said(session, [device])[0]

    def _said(self, session: Session, devices: Iterable[Device]) -> list[Decision]:
        return list(self._decisions(session, [device.id for device in devices]))

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

    def _apply_auto_block(self) -> None:
        """The setting may have changed while we were down: give those nobody decided about its present word. A little at a time;
        cut short, it is begun anew."""
        word = automatic((), registered=False, auto_block=self._auto_block)
        other = or_(Device.state != word.state, Device.causes.any())
        wanted = select(Device).where(room.by_contact(), other).order_by(Device.id).limit(room.AT_ONCE)
        after: int | None = 0
        while after is not None:
            with Session(self._engine) as session, session.begin():
                clock = self._clock(session)
                found = session.scalars(wanted.where(Device.id > after).options(*_JUDGED)).all()
                changed = []
                for device in found:
                    standing = self._automatic(device)
                    if standing != kin.own(device):
                        self._set(device, standing)
                        device.version = self._next(clock)
                        changed.append(device)
                session.flush()
                self._settle(session, clock, [device.principal for device in changed], but=changed)
                after = found[-1].id if found else None

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


def _of_different_people(contacts: Sequence[Contact]) -> Iterator[dict[int, Contact]]:
    """The contacts by their places, some at a time: each of another user than the others of its time, those of one user in
    their order."""
    rest = dict(enumerate(contacts))
    while rest:
        first = {user_of(contact.principal): at for at, contact in reversed(rest.items())}
        yield {at: rest.pop(at) for at in sorted(first.values())}


def _standing(decision: Decision) -> Standing:
    return Standing(decision.state, decision.reasons)


def _unknown(key: DeviceKey) -> UnknownDeviceError:
    return UnknownDeviceError(f"device {key.device_id} of {key.principal} is not known")
