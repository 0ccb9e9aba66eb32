"""How many entries name each policy: which ones come with a batch of changes, and which go because nobody names them any more
(pure)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sentry_runtime.agent.changes import Effect
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas.policy import Policy


@dataclass(frozen=True, slots=True)
class Shift:
    """What a batch does to the policies: which the list must have, which it need not have any more, and the numbers after it."""

    needed: tuple[Policy, ...]
    unneeded: tuple[bytes, ...]
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
    moved = {digest: counts[digest] + by for digest, by in change.items()}
    return Shift(
        needed=tuple({effect.policy for effect in after.values() if effect.policy is not None}),
        unneeded=tuple(digest for digest, left in moved.items() if left <= 0),
        counts=Counter({digest: left for digest, left in {**counts, **moved}.items() if left > 0}),
    )
