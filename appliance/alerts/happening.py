"""What the watching finds, before anybody decides whether it is told."""

from dataclasses import dataclass

SUBJECT_CHARACTERS = 120  # a certificate's, a backend's or a person's name; longer ones are cut
WORDS_CHARACTERS = 400  # one line in a mail
_UNSAFE = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # as `appliance.cli.output`: nothing that acts on a screen


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once. `when` is seconds since the epoch; `subject` tells two of the same alert apart."""

    alert: str
    subject: str
    words: str
    when: float


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now. With another `level` it is worth telling anew (30 days, then 14)."""

    alert: str
    subject: str
    words: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What holds, and which alerts could be judged: of the others nothing is known, and what stood goes on standing."""

    conditions: tuple[Condition, ...]
    judged: frozenset[str]
    events: tuple[Event, ...] = ()


def plain(text: str, characters: int) -> str:
    """`text` as at most so many characters of one line; what could act on a screen or end a header's line is a `?`."""
    kept = text[:characters]
    return kept if kept.isprintable() else "".join(one if one.isprintable() else "?" for one in kept)
