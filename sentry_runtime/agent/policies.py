"""How many entries name each policy: which ones come with a batch of changes, and which go because nobody names them any more
(pure).

The list has room for `POLICIES`. An entry that names one for which there is no room is written all the same, since its state
matters more; its device cannot provision, and does not pass.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sentry_runtime.agent.changes import Effect
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas.policy import Policy, digest

POLICIES = 500  # a UEM has some dozens; at most 24 MiB of the list's 1,024


@dataclass(frozen=True, slots=True)
class Shift:
    """What a batch does to the policies: which the list must have, which it need not have any more, how many had no room, and
    the numbers after it."""

    needed: tuple[Policy, ...]
    unneeded: tuple[bytes, ...]
    left_out: int
    counts: Counter[bytes]


def count(records: Iterable[Record]) -> Counter[bytes]:
    """How many of these entries name each policy."""
    return Counter(record.policy for record in records if record.policy)


def shift(
    counts: Counter[bytes], before: Mapping[DeviceKey, Record | None], after: Mapping[DeviceKey, Effect]
) -> Shift:
    """What it takes that the entries become what `after` says; `before` has the same keys."""
    change: Counter[bytes] = Counter()
    change.update(count(effect.record for effect in after.values() if effect.record is not None))
    change.subtract(count(record for record in before.values() if record is not None))
    moved = {one: counts[one] + by for one, by in change.items()}
    named = Counter({one: left for one, left in {**counts, **moved}.items() if left > 0})
    brought = {digest(effect.policy): effect.policy for effect in after.values() if effect.policy is not None}
    room = POLICIES - len(named.keys() - brought.keys())
    return Shift(
        needed=tuple(brought.values())[: max(0, room)],
        unneeded=tuple(one for one, left in moved.items() if left <= 0),
        left_out=max(0, len(brought) - max(0, room)),
        counts=named,
    )
