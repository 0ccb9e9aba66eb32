"""How a measure is taken: what it is given, and what it says of itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.bench.proxy import Proxy
from tests.bench.stage import Stage

Unit = Literal["µs", "KiB", "ms", "s"]
OURS = "ours"
"""Our own name among the contestants."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of a peer's figure ours may be, and how much we want it to be."""

    most: float
    aim: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one proxy, with what else was seen on the way."""

    value: float
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """A proxy to take a figure of, and what the run knows already."""

    stage: Stage
    proxy: Proxy
    seconds: float
    peak: float
    """Requests in a second that the gateway itself can do, for measures at half of it; 0 where none of them is wanted."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`take` gives one figure of a running proxy. `bars` names the peers; `limit` is of ours alone, in the unit.

    `workers` is by proxy; where the peer is ourselves with other workers, its name says so.
    """

    name: str
    about: str
    unit: Unit
    take: Callable[[Setting], Sample]
    bars: dict[str, Bar] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    """Peers that are shown without a bar."""
    limit: Bar | None = None
    needs_peak: bool = False
    fresh: bool = False
    """Whether each figure is of a proxy that has just been started. The others' proxies are there for all rounds, side by side,
    so that the rounds are short and many: what else the machine does changes from second to second."""
    spread: Bar | None = None
    """How much of the connections the busier of two workers may have; `spread` in the samples' notes says what it had."""

    @property
    def contestants(self) -> tuple[str, ...]:
        """Whom it is taken of, ours first."""
        return (OURS, *self.bars, *self.beside)


@dataclass(frozen=True, slots=True)
class Judged:
    """A figure that a bar is for: the ratio to `peer`, or our own figure where `peer` is `OURS`."""

    peer: str
    found: float
    bar: Bar


def judged(measure: Measure, result: Mapping[str, Any]) -> Iterator[Judged]:
    """What of a result (one of `build/bench.json`) is held to a bar."""
    if measure.limit is not None:
        yield Judged(OURS, result["ours"], measure.limit)
    for peer, bar in measure.bars.items():
        yield Judged(peer, result["ratio"][peer], bar)
