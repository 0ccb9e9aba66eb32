"""What a rule ends as, and the evidence for it. Values only: judging is in `judge`, looking in `facts` and `probes`."""

from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["not_a_finding", "open", "not_applicable", "not_reviewed", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)

Nature = Literal["effective", "configured"]
"""`effective`: the running state was seen. `configured`: only a file says so."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that was looked at: how, what was found, what was expected, and whether they agree."""

    command: str
    found: str
    expected: str
    met: bool
    nature: Nature = "effective"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the points say together. `reading` explains how an ambiguous rule was read, where it is ambiguous."""

    points: tuple[Point, ...]
    reading: str = ""

    def __post_init__(self) -> None:
        """A verdict without evidence would be a vacuous pass."""
        if not self.points:
            raise ValueError("a verdict needs at least one point of evidence")

    @property
    def status(self) -> Literal["not_a_finding", "open"]:
        """`not_a_finding` only when every point is met."""
        return "not_a_finding" if all(point.met for point in self.points) else "open"
