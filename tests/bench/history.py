"""Whole runs beside each other: what was reached once and what holds. Kept in a file beside the page's pictures."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.contest import Measure, judged

SHOWN = 3
"""Runs that the page shows and the file keeps: a bar holds when it held in three separate ones."""


class Past(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole run: when it ended (local time, to the minute), on what, and the figures that a bar is for.

    `figures` has for each measure and key (`request_p256`) the ratio to each peer by its name, or under `ours` our own figure
    (s or bytes) where the bar is one of ours alone.
    """

    ended: str
    machine: str
    figures: dict[str, dict[str, float]]


def past(measures: Sequence[Measure], results: Mapping[str, Any], machine: str, ended: datetime) -> Past:
    """What is kept of a run's `results` (those of `build/bench.json`)."""
    figures = {
        name: {one.peer: one.found for one in judged(measure, results[name])}
        for measure in measures
        for name in (measure.name, f"{measure.name}_p256")
        if name in results
    }
    return Past(ended.strftime("%Y-%m-%d %H:%M"), machine, figures)


def kept(path: Path) -> list[Past]:
    """The runs of a file, oldest first; none where it does not exist. Raises `msgspec.ValidationError` for another file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Past]) if path.exists() else []


def keep(path: Path, run: Past) -> list[Past]:
    """Put a run behind those of a file, of which the last `SHOWN` stay; these are given back."""
    runs = [*kept(path), run][-SHOWN:]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(runs), indent=1) + b"\n")
    return runs
