"""What a piece of news does to the device list (pure).

Whatever the order in which the UEM's decisions arrive, and however often, the list ends the same: under each key stands the
decision with the highest version. Three things make that so: an entry's own version, the version by which an entry was
removed, and the cursor, below which all news is old.
"""

from dataclasses import dataclass

from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas.policy import Policy, digest
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


News = Decision | Admitted | Expired


@dataclass(frozen=True, slots=True)
class Known:
    """What the list says of one key before the news. `removed_at` and `cursor` are change numbers, 0 for none."""

    record: Record | None
    removed_at: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What is to be written under the key: a record, or nothing (`record` None) with the removal to remember, if any.

    `visible` says whether a follower would see another entry than before. `policy` is the one that the record names.
    """

    record: Record | None
    removed_at: int = 0
    visible: bool = True
    policy: Policy | None = None


def key_of(news: News) -> DeviceKey:
    """The entry that this is about."""
    match news:
        case Decision():
            return DeviceKey(news.device_id, news.principal)
        case Admitted():
            return news.record.key
        case Expired():
            return news.key


def effect(known: Known, news: News, now: int) -> Effect | None:
    """What `news` does at `now` (seconds since the epoch); None when it is old, repeated or outranked."""
    match news:
        case Decision():
            return _decided(known, news, now)
        case Admitted():
            return Effect(news.record, policy=news.policy) if known.record is None else None
        case Expired():
            held = known.record is not None and known.record.provisional
            return Effect(None, known.removed_at) if held else None


def _decided(known: Known, decision: Decision, now: int) -> Effect | None:
    entry = known.record
    outranked = max(known.removed_at, known.cursor)
    newest = outranked if entry is None or entry.provisional else entry.version
    if decision.version <= newest:
        return None
    if decision.removed:
        return Effect(None, decision.version, visible=entry is not None)
    policy = b"" if decision.policy is None else digest(decision.policy)
    record = Record(
        key=DeviceKey(decision.device_id, decision.principal),
        state=decision.state,
        version=decision.version,
        reasons=tuple(sorted(set(decision.reasons))),
        device_type=decision.device_type,
        registered=decision.registered,
        first_seen=entry.first_seen if entry is not None else now,
        updated=now,
        note=decision.note,
        policy=policy,
        policy_before=_policy_before(entry, policy),
    )
    return Effect(record, visible=entry is None or _face(entry) != _face(record), policy=decision.policy)


def _policy_before(entry: Record | None, policy: bytes) -> bytes | None:
    """The policy that the device still has when it hears of this one: what an unchanged one replaced stays remembered."""
    if entry is None:
        return None
    return entry.policy_before if entry.policy == policy else entry.policy


def _face(record: Record) -> tuple[object, ...]:
    """What of an entry matters to whoever acts on it: all but bookkeeping."""
    status = (record.state, record.reasons, record.provisional, record.policy)
    return (*status, record.device_type, record.registered, record.note)
