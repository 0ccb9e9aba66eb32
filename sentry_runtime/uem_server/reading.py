"""What the UEM knows, as it is read: by Sentrys page by page, and by administrators. `registry` is what changes it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session, selectinload

from sentry_runtime.control import NamedPolicy, Registered
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.uem.api import BucketPage, Decision, DecisionPage, Digests
from sentry_runtime.uem.messages import that_fit
from sentry_runtime.uem_server import directory, labels, mailbox, wording
from sentry_runtime.uem_server import policies as named_policies
from sentry_runtime.uem_server.ledger import Ledger
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.resources import DevicePage
from sentry_runtime.uem_server.tables import Clock, Device

_Result = TypeVar("_Result")


class Reading:
    """Every method is one transaction that changes nothing."""

    def __init__(self, engine: Engine, policies: Policies) -> None:
        self._engine = engine
        self._policies = policies
        self._ledger = Ledger(self._decisions)

    @property
    def policies(self) -> Policies:
        """The ActiveSync policies there are."""
        return self._policies

    def look(self, job: Callable[[Session], _Result]) -> _Result:
        """What `job` reads."""
        with Session(self._engine) as session:
            return job(session)

    def changes(self, after: int, limit: int) -> DecisionPage:
        """Decisions with versions above `after`, in their order; `next` below `after` says this UEM never was that far."""
        with Session(self._engine) as session:
            wanted = select(Device.id).where(Device.version > after).order_by(Device.version)
            found = session.scalars(wanted.limit(limit + 1)).all()
            page = that_fit(self._decisions(session, found[:limit]))
            last = page[-1].version if page else min(after, self._last(session))
            return DecisionPage(decisions=page, next=last, more=len(found) > len(page))

    def check_in(self, after: int, limit: int, chosen: ColumnElement[bool]) -> DecisionPage:
        """As `changes`, of the chosen devices only. At the end `next` is the last version, whatever device that is of."""
        with Session(self._engine) as session:
            last = self._last(session)  # before the rows: what comes in between is for the next page
            wanted = select(Device.id).where(Device.version > after, Device.version <= last, chosen)
            found = session.scalars(wanted.order_by(Device.version).limit(limit + 1)).all()
            page = that_fit(self._decisions(session, found[:limit]))
            more = len(found) > len(page)
            return DecisionPage(decisions=page, next=page[-1].version if more else last, more=more)

    def feed(self, after: int, limit: int) -> bytes:
        """The page that `changes` gives, as JSON; from memory, as far as that has been made. While it is made, a page may have
        less than `limit`."""
        with Session(self._engine) as session:
            if self._ledger.advance(session):
                return self._ledger.feed.page(after, limit, self._last(session))
            if page := self._ledger.part(session, after, limit):
                return page
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
        wanted = select(Device.id).where(Device.version > after, Device.removed.is_(False)).order_by(Device.version)
        with Session(self._engine) as session:
            return self._decisions(session, session.scalars(wanted.limit(limit)).all())

    def listed(self, after: int, limit: int, device_id: str | None = None) -> DevicePage:
        """A page of all that is known of devices (of one id), in the order of versions, without what was removed."""
        wanted = select(Device).where(Device.version > after, Device.removed.is_(False)).order_by(Device.version)
        if device_id is not None:
            wanted = wanted.where(Device.device_id == device_id)
        loads = (selectinload(Device.posture), selectinload(Device.labels), selectinload(Device.link))
        with Session(self._engine) as session:
            found = session.scalars(wanted.limit(limit + 1).options(*loads)).all()
            devices = found[:limit]
            numbers = [device.id for device in devices]
            held = labels.of_devices(session, numbers)
            names = named_policies.assigned(session, numbers, held)
            entries = tuple(
                directory.entry(
                    device,
                    said,
                    names.get(device.id) or self._policies.default or "",
                    held.get(device.id, ()),
                )
                for device, said in zip(devices, self._decisions(session, numbers), strict=True)
            )
        return DevicePage(devices=entries, next=entries[-1].version if entries else after, more=len(found) > limit)

    def of_device(self, device_id: str) -> list[Registered]:
        """What else is known of the device's entries, in the order of their principals."""
        wanted = select(Device).where(Device.device_id == device_id, Device.removed.is_(False))
        with Session(self._engine) as session:
            return [_registered(device) for device in session.scalars(wanted.order_by(Device.principal))]

    def listed_policies(self) -> list[NamedPolicy]:
        """The policies there are, by their names."""
        with Session(self._engine) as session:
            assigned = named_policies.counts(session)
        default = self._policies.default
        return [
            NamedPolicy(name=name, policy=policy, default=name == default, assigned=assigned.get(name, 0))
            for name, policy in sorted(self._policies.named.items())
        ]

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

    def _decisions(self, session: Session, numbers: Sequence[int]) -> tuple[Decision, ...]:
        return wording.decisions(session, numbers, self._policies)

    def _last(self, session: Session) -> int:
        clock = session.get(Clock, 1)
        return 0 if clock is None else clock.version


def _registered(device: Device) -> Registered:
    said = None if device.says is None else msgspec.convert(device.says.fields, DeviceInformation)
    return Registered(
        key=DeviceKey(device.device_id, device.principal),
        policy="" if device.assignment is None else device.assignment.policy,
        information=said,
    )
