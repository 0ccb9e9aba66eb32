"""How many devices of one mailbox may pass, and which (pure).

| device | place |
|---|---|
| registered, or admitted because devices that nobody registered may pass | takes one, and keeps it while it may pass |
| allowed by hand | needs none: it is above the limit |
| blocked for whatever reason, to be wiped, wiped, removed | has none; when it may pass again it comes last |
| the same phone in the other form of a query (one `root`) | shares the one place |
| beyond the limit | blocked (`mailbox_limit`), until a place becomes free; then who has waited longest gets it |

A mailbox has the devices of all principals that may be one person's (`same_person`): another way to write one's name is no
way to more devices. Whoever makes up ids of one root gains no more than by giving two phones the same id.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sentry_runtime.eas.principal import same_person


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that may pass but for the limit. `waits`: it had no place so far; `rank`: as it stood when places were last
    given."""

    number: int
    root: str
    principal: str
    rank: int
    waits: bool


@dataclass(frozen=True, slots=True)
class Seating:
    """The numbers of those that have a place and of those that wait for one, each in the order in which they got to it."""

    seated: tuple[int, ...]
    waiting: tuple[int, ...]


def seat(candidates: Iterable[Candidate], limit: int) -> Seating:
    """Give the places; `limit` 0: everybody gets one.

    Who has a place comes first, in the order in which they got it, then who has waited longest: nobody loses theirs to a
    newcomer. One needs room in the mailbox as it is for one's own name, where names without a domain may be several people's.
    """
    queue = sorted(candidates, key=lambda candidate: (candidate.waits, candidate.rank, candidate.number))
    phones: dict[str, set[str]] = {one.principal: set() for one in queue}  # by name, those with a place in its mailbox
    seated: list[int] = []
    waiting: list[int] = []
    for one in queue:
        mine = phones[one.principal]
        if limit and len(mine) + (one.root not in mine) > limit:
            waiting.append(one.number)
            continue
        seated.append(one.number)
        for name, roots in phones.items():
            if same_person(one.principal, name):
                roots.add(one.root)
    return Seating(tuple(seated), tuple(waiting))
