"""A UEM's word on one device in our terms, and all of its words at one time (pure).

What cannot be the name of a device or of a person is left out and counted: one odd record among thousands is no reason to
know nothing of the others. A device that is left out is not known, so it is let in by nobody's mistake.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas import device_id
from sentry_runtime.eas.principal import Names, PrincipalError
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import WORDS_CHARS


class LeftOut(enum.StrEnum):
    """Why a record says nothing of any device."""

    NO_DEVICE_ID = "no ActiveSync device id"
    ODD_DEVICE_ID = "an ActiveSync device id that no device can have"
    NO_USER = "no user"
    ODD_USER = "a user's name that nobody can have"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the UEM says of one device: `ALLOWED` without reasons, or `BLOCKED` with at least one.

    `seen` (seconds since the epoch) is when the UEM heard of the device last, 0 for unknown: of two records of one device the
    later one counts, and what blocks of one without a time.
    """

    key: DeviceKey
    reasons: frozenset[Reason] = frozenset()
    registered: bool = False
    device_type: str = ""
    seen: float = 0.0

    @property
    def state(self) -> State:
        """What that makes of it."""
        return State.BLOCKED if self.reasons else State.ALLOWED

    def decision(self, version: int) -> Decision:
        """The same as the agent takes it."""
        return Decision(
            device_id=self.key.device_id,
            principal=self.key.principal,
            state=self.state,
            version=version,
            reasons=tuple(sorted(self.reasons)),
            device_type=self.device_type,
            registered=self.registered,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a UEM said at one time; `left_out` counts the records that say nothing of any device."""

    entries: Mapping[DeviceKey, Entry] = field(default_factory=dict)
    left_out: Counter[LeftOut] = field(default_factory=Counter)


def key_of(id_: str, user: str, names: Names) -> DeviceKey | LeftOut:
    """Under which name the device list has what a UEM calls so; `user` in any form that the site's `names` read."""
    if not id_:
        return LeftOut.NO_DEVICE_ID
    if not id_.isascii() or not device_id.is_text(id_):
        return LeftOut.ODD_DEVICE_ID
    if not user.strip():
        return LeftOut.NO_USER
    try:
        return DeviceKey(id_.upper(), names.canonical(user))
    except PrincipalError:
        return LeftOut.ODD_USER


def type_of(*words: str | None) -> str:
    """The first of these that says anything, as a device type can be."""
    said = next((word for word in words if word and word.strip()), "")
    return "".join(sign for sign in said.strip()[:WORDS_CHARS] if sign.isprintable())


def gathered(records: Iterable[Entry | LeftOut]) -> Snapshot:
    """One entry for each device: the one that was heard of last, with all that blocks of those that were heard of at the same
    time, or nobody knows when: which of these is the present one cannot be told."""
    entries: dict[DeviceKey, Entry] = {}
    undated: list[Entry] = []
    left_out: Counter[LeftOut] = Counter()
    for one in records:
        if isinstance(one, LeftOut):
            left_out[one] += 1
        elif not one.seen:
            undated.append(one)
        else:
            before = entries.get(one.key)
            entries[one.key] = one if before is None else _later(before, one)
    for one in undated:
        before = entries.get(one.key)
        entries[one.key] = one if before is None else _both(before, one)
    return Snapshot(entries, left_out)


def _later(one: Entry, other: Entry) -> Entry:
    if one.seen != other.seen:
        return one if one.seen > other.seen else other
    return _both(one, other)


def _both(one: Entry, other: Entry) -> Entry:
    return Entry(
        key=one.key,
        reasons=one.reasons | other.reasons,
        registered=one.registered and other.registered,
        device_type=min(one.device_type, other.device_type),
        seen=max(one.seen, other.seen),
    )


def judged(key: DeviceKey, snapshot: Snapshot, *, block_unregistered: bool, aliases: Iterable[str] = ()) -> Entry:
    """The UEM's word on this device: what it says of exactly this id, restricted by what it says of other spellings of it.

    Not found is unregistered. Only an exact match grants anything, see `sentry_runtime.eas.device_id`.
    """
    own = snapshot.entries.get(key)
    if own is None:
        own = Entry(key, frozenset({Reason.UNREGISTERED}) if block_unregistered else frozenset())
    spellings = {*aliases, *device_id.printable_reading(key.device_id)} - {key.device_id}
    others = [snapshot.entries.get(DeviceKey(spelling, key.principal)) for spelling in spellings]
    reasons = own.reasons.union(*(other.reasons for other in others if other is not None))
    if reasons == own.reasons:
        return own
    return Entry(key, reasons, own.registered, own.device_type, own.seen)
