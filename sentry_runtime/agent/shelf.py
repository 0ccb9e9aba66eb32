"""What many entries name by its digest and the list keeps once: policies, and devices' app tunnels. Which ones come with a batch
of changes, and which go because nobody names them any more (pure).

A shelf has room for so many. An entry that names one for which there is no room is written all the same, since its state
matters more: a device whose policy is not there cannot provision, and does not pass.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sentry_runtime.agent.changes import Effect
from sentry_runtime.devices import tunnel
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas import policy
from sentry_runtime.eas.policy import Policy

POLICIES = 500  # a UEM has some dozens; at most 24 MiB of the list's 1,024

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Shift(Generic[Thing]):
    """What a batch does to a shelf: which things the list must have, which it need not have any more, how many had no room,
    and the numbers that are others after it."""

    needed: tuple[Thing, ...]
    unneeded: tuple[bytes, ...]
    left_out: int
    moved: Mapping[bytes, int]

    def apply(self, counts: Counter[bytes]) -> None:
        """The batch is written: bring the numbers up to it."""
        counts.update({one: left - counts[one] for one, left in self.moved.items()})
        for one in self.unneeded:
            del counts[one]


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Thing]):
    """One kind of thing: the digest by which an entry names it (empty for none), the one that news brings, and how many there
    is room for."""

    named: Callable[[Record], bytes]
    brought: Callable[[Effect], Thing | None]
    digest: Callable[[Thing], bytes]
    most: int

    def count(self, records: Iterable[Record]) -> Counter[bytes]:
        """How many of these entries name each thing."""
        return Counter(name for record in records if (name := self.named(record)))

    def shift(
        self, counts: Counter[bytes], before: Mapping[DeviceKey, Record | None], after: Mapping[DeviceKey, Effect]
    ) -> Shift[Thing]:
        """What it takes that the entries become what `after` says; `before` has the same keys."""
        change: Counter[bytes] = Counter()
        change.update(self.count(effect.record for effect in after.values() if effect.record is not None))
        change.subtract(self.count(record for record in before.values() if record is not None))
        moved = {one: counts[one] + by for one, by in change.items()}
        things = (self.brought(effect) for effect in after.values())
        brought = {self.digest(thing): thing for thing in things if thing is not None}
        named = len(counts) + sum((left > 0) - (one in counts) for one, left in moved.items())
        room = max(0, self.most - named + len(brought))
        return Shift(
            needed=tuple(brought.values())[:room],
            unneeded=tuple(one for one, left in moved.items() if left <= 0),
            left_out=max(0, len(brought) - room),
            moved=moved,
        )


def policies() -> Shelf[Policy]:
    """Where the policies lie."""
    return Shelf(lambda record: record.policy, lambda effect: effect.policy, policy.digest, POLICIES)


def tunnels(most: int) -> Shelf[tuple[AppTunnel, ...]]:
    """Where the app tunnels lie, those of one device together."""
    return Shelf(lambda record: record.tunnels, lambda effect: effect.tunnels or None, tunnel.digest, most)
