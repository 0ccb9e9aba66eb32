"""Rounds: every contestant once, then every contestant again, each time another one first.

So whatever else the machine does meanwhile falls on all of them alike.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from tests.bench.contest import Measure, Sample

Round = dict[str, Sample]


def order(contestants: Sequence[str], number: int) -> list[str]:
    """In which order they come in this round."""
    turn = number % len(contestants)
    return [*contestants[turn:], *contestants[:turn]]


def play(contestants: Sequence[str], count: int, take: Callable[[str], Sample]) -> list[Round]:
    """All rounds."""
    rounds = []
    for number in range(count):
        taken = {name: take(name) for name in order(contestants, number)}
        rounds.append({name: taken[name] for name in contestants})
    return rounds


def middle(rounds: Iterable[Round], name: str) -> float:
    """The median of one contestant's figures."""
    return median(one[name].value for one in rounds)


def ratio(rounds: Iterable[Round], peer: str) -> float:
    """The median of what ours is of the peer's figure in the same round."""
    return median(one["ours"].value / one[peer].value for one in rounds)


def result(measure: Measure, rounds: Sequence[Round]) -> dict[str, object]:
    """What `build/bench.json` says of a measure; all figures in seconds or bytes."""
    peers = measure.contestants[1:]
    return {
        "ours": middle(rounds, "ours"),
        "peers": {peer: middle(rounds, peer) for peer in peers},
        "ratio": {peer: ratio(rounds, peer) for peer in peers},
        "rounds": [{name: {"value": sample.value, **sample.notes} for name, sample in one.items()} for one in rounds],
    }
