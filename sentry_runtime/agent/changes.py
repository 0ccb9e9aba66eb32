"""What a piece of news does to the device list (pure).

Whatever the order in which the UEM's decisions arrive, and however often, the list ends the same: under each key stands the
decision with the highest version. Three things make that so: an entry's own version, the version by which an entry was
removed, and the cursor, below which all news is old.

What comes of an order to wipe is learnt here before the UEM knows of it. Marks are only added to the order they belong to. A
device that has acknowledged stays wiped whatever the UEM says in ignorance of that: only its answer to the report, or the
removal of the device, changes it.

Where the two sides' digests differ although all news has been taken, something got lost or was mistaken: then what the UEM says
at a given time counts for all that is not newer than that.
"""

from dataclasses import dataclass

import msgspec

from sentry_runtime.devices import tunnel
from sentry_runtime.devices.record import DeviceKey, Record, Wipe, WipeMark
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import Decision


@dataclass(frozen=True, slots=True)
class Admitted:
    """The fail mode let a device in while the UEM was out of reach; never stands above a decision. `policy` is the one that
    the record names."""

    record: Record
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """A provisional entry has reached its age."""

    key: DeviceKey


@dataclass(frozen=True, slots=True)
class Marked:
    """The gateway says what has come of an order to wipe."""

    key: DeviceKey
    order: int
    mark: WipeMark


@dataclass(frozen=True, slots=True)
class Answered:
    """The UEM's answer to the report of what has come of an order: its word in knowledge of that, and of no later mark."""

    decision: Decision
    told: Wipe


@dataclass(frozen=True, slots=True)
class Corrected:
    """This is what the UEM says of a device at the change number `at`, whatever we have from before that."""

    decision: Decision
    at: int


@dataclass(frozen=True, slots=True)
class Missing:
    """At the change number `at` the UEM knows nothing of a device."""

    key: DeviceKey
    at: int


News = Decision | Admitted | Expired | Marked | Answered | Corrected | Missing


@dataclass(frozen=True, slots=True)
class Known:
    """What the list says of one key before the news. `removed_at` and `cursor` are change numbers, 0 for none. `policy` and
    `tunnels` are those that the record names, where they came with news that is yet to be written."""

    record: Record | None
    removed_at: int
    cursor: int
    policy: Policy | None = None
    tunnels: tuple[AppTunnel, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What is to be written under the key: a record, or nothing (`record` None) with the removal to remember, if any.

    `visible` says whether a follower would see another entry than before. `policy` and `tunnels` are those that the record
    names.
    """

    record: Record | None
    removed_at: int = 0
    visible: bool = True
    policy: Policy | None = None
    tunnels: tuple[AppTunnel, ...] = ()


def key_of(news: News) -> DeviceKey:
    """The entry that this is about."""
    match news:
        case Decision():
            return DeviceKey(news.device_id, news.principal)
        case Admitted():
            return news.record.key
        case Expired() | Marked() | Missing():
            return news.key
        case Answered() | Corrected():
            return key_of(news.decision)


def effect(known: Known, news: News, now: int) -> Effect | None:
    """What `news` does at `now` (seconds since the epoch); None when it is old, repeated or outranked."""
    match news:
        case Decision():
            return _decided(known, news, now)
        case Answered():
            return _decided(known, news.decision, now, news.told)
        case Corrected() | Missing():
            return _reconciled(known, news, now)
        case Marked():
            return _marked(known, news, now)
        case Admitted():
            return Effect(news.record, policy=news.policy) if known.record is None else None
        case Expired():
            held = known.record is not None and known.record.provisional
            return Effect(None, known.removed_at) if held else None


def _decided(known: Known, decision: Decision, now: int, told: Wipe | None = None) -> Effect | None:
    entry = known.record
    outranked = max(known.removed_at, known.cursor)
    newest = outranked if entry is None or entry.provisional else entry.version
    if decision.version <= newest:
        return None
    if decision.removed:
        return Effect(None, decision.version, visible=entry is not None)
    return _taken(entry, decision, now, told)


def _taken(entry: Record | None, decision: Decision, now: int, told: Wipe | None = None) -> Effect | None:
    wipe, unreported = decision.wipe, False
    if entry is not None and entry.wipe is not None:
        if wipe is not None and wipe.order == entry.wipe.order:
            unreported = not _holds(wipe, entry.wipe)
            wipe = wipe.marked(entry.wipe.marks)
        elif entry.unreported and entry.wipe.acknowledged and not _holds(told, entry.wipe):
            return None
    policy = b"" if decision.policy is None else digest(decision.policy)
    record = Record(
        key=DeviceKey(decision.device_id, decision.principal),
        state=decision.state if wipe is None else wipe.state,
        version=decision.version,
        reasons=tuple(sorted(set(decision.reasons))),
        device_type=decision.device_type,
        registered=decision.registered,
        first_seen=entry.first_seen if entry is not None else now,
        updated=now,
        note=decision.note,
        policy=policy,
        policy_before=_policy_before(entry, policy),
        wipe=wipe,
        tunnels=tunnel.digest(decision.tunnels),
        unreported=unreported,
    )
    visible = entry is None or _face(entry) != _face(record)
    return Effect(record, visible=visible, policy=decision.policy, tunnels=decision.tunnels)


def _newer(known: Known, at: int) -> bool:
    """Whether the UEM cannot have known at this change number what the list says. What it has not been told of a wipe, either:
    its answer to the report will be its word in knowledge of that."""
    entry = known.record
    later = known.removed_at if entry is None or entry.provisional else entry.version
    return later > at or (entry is not None and entry.unreported)


def _reconciled(known: Known, news: Corrected | Missing, now: int) -> Effect | None:
    entry = known.record
    if _newer(known, news.at):
        return None
    if isinstance(news, Missing):
        return Effect(None, news.at) if entry is not None and not entry.provisional else None
    same = (
        entry is not None and not entry.provisional and digests.of_record(entry) == digests.of_decision(news.decision)
    )
    return None if same else _taken(entry, news.decision, now)


def _policy_before(entry: Record | None, policy: bytes) -> bytes | None:
    """The policy that the device still has when it hears of this one: what an unchanged one replaced stays remembered."""
    if entry is None:
        return None
    return entry.policy_before if entry.policy == policy else entry.policy


def _holds(told: Wipe | None, wipe: Wipe) -> bool:
    """Whether who was told that knows all of this."""
    return told is not None and told.order == wipe.order and set(told.marks).issuperset(wipe.marks)


def _marked(known: Known, news: Marked, now: int) -> Effect | None:
    entry = known.record
    if entry is None or entry.wipe is None or entry.wipe.order != news.order or news.mark in entry.wipe.marks:
        return None
    wipe = entry.wipe.marked([news.mark])
    record = msgspec.structs.replace(entry, state=wipe.state, wipe=wipe, unreported=True, updated=now)
    return Effect(record, policy=known.policy, tunnels=known.tunnels)


def _face(record: Record) -> tuple[object, ...]:
    """What of an entry matters to whoever acts on it: all but bookkeeping."""
    status = (record.state, record.reasons, record.provisional, record.wipe, record.policy)
    return (*status, record.device_type, record.registered, record.note, record.tunnels)
