"""The part of `docs/performance.md` that a run writes: the machine, the table, the pictures, the sizing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.contest import OURS, Bar, Measure, Unit
from tests.bench.growth import Chart
from tests.bench.history import Past

BEGIN, END = "<!-- made by `make bench` -->", "<!-- the end of what `make bench` makes -->"
PLOTS = "performance"  # the folder of the pictures, beside the page
_SCALES: dict[Unit, float] = {"µs": 1e6, "KiB": 1 / 1_024, "ms": 1e3, "s": 1.0}

REQUESTS_PER_MINUTE = 1.0
UTILISATION = 0.5  # of a core, so that a restart of a fleet finds room
MEMORY_PART = 0.7  # of the RAM; the rest is the system's and the kernel's socket buffers


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run has found. `results` and `charts` have the shapes of the files in `build/`; `whole`: it may be quoted."""

    command: str
    machine: Mapping[str, str]
    results: Mapping[str, Any]
    charts: Sequence[Chart]
    whole: bool = True
    runs: Sequence[Past] = ()
    """The last whole ones, this one among them, oldest first."""


def shown(value: float, unit: Unit) -> str:
    """A figure in the unit of its measure."""
    scaled = value * _SCALES[unit]
    return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"


def verdict(found: float, bar: Bar) -> str:
    """What a figure is worth."""
    if found <= bar.aim:
        return "aim"
    return "bar" if found <= bar.most else "**missed**"


def rows(measure: Measure, key: str, result: Mapping[str, Any]) -> list[str]:
    """The lines of the table for one measure."""
    ours = shown(result["ours"], measure.unit)
    if measure.limit is not None:
        most, aim = (shown(one, measure.unit) for one in (measure.limit.most, measure.limit.aim))
        return [_row(measure.about, key, ours, "", "", most, aim, verdict(result["ours"], measure.limit))]
    lines = []
    for peer in measure.contestants[1:]:
        bar, ratio = measure.bars.get(peer), result["ratio"][peer]
        limits = (f"{bar.most:g}", f"{bar.aim:g}", verdict(ratio, bar)) if bar else ("", "", "")
        theirs = f"{peer} {shown(result['peers'][peer], measure.unit)}"
        lines.append(_row(measure.about, key, ours, theirs, f"{ratio:.2f}", *limits))
    if measure.spread is not None:
        part = median(one["ours"]["spread"] for one in result["rounds"])
        about = f"{measure.about}: the part of the busier one"
        limits = (f"{measure.spread.most:g}", f"{measure.spread.aim:g}", verdict(part, measure.spread))
        lines.append(_row(about, key, f"{part:.2f}", "", "", *limits))
    return lines


def table(measures: Sequence[Measure], results: Mapping[str, Any]) -> list[str]:
    """The table of all measures that were taken."""
    lines = [_row("measure", "key", "ours", "peer", "ratio", "bar", "aim", "reached"), "|" + "---|" * 8]
    for measure in measures:
        for name, key in _keys(measure):
            if name in results:
                lines += rows(measure, key, results[name])
    return lines


def beside(measures: Sequence[Measure], runs: Sequence[Past]) -> list[str]:
    """The table of the last whole runs: what each measure found in each of them, and whether its bar holds in all."""
    names = [(measure, name, key) for measure in measures for name, key in _keys(measure)]
    lines = [_row("measure", "key", "of", "bar", *(run.ended for run in runs), "holds"), "|" + "---|" * (5 + len(runs))]
    for measure, name, key in names:
        bars = {OURS: measure.limit} if measure.limit is not None else measure.bars
        for peer, bar in bars.items():
            found = [run.figures.get(name, {}).get(peer) for run in runs]
            words = ["-" if one is None else _figure(one, measure, peer) for one in found]
            holds = "yes" if all(one is not None and one <= bar.most for one in found) else "**no**"
            lines.append(_row(measure.name, key, peer, _figure(bar.most, measure, peer), *words, holds))
    return lines


def sizing(results: Mapping[str, Any]) -> list[str]:
    """How many devices a core and a GiB carry, each with a request a minute and a held Ping, as far as the run can say."""
    if "request" not in results or "memory" not in results:
        return []
    request, ping = results["request"]["ours"], results["memory"]["ours"]
    # Each request has a Ping before or after it, which costs as much as it does.
    by_core = UTILISATION * 60 / (2 * REQUESTS_PER_MINUTE * request)
    by_gib = MEMORY_PART * (1 << 30) / ping
    return [
        "### Sizing",
        "",
        f"With {REQUESTS_PER_MINUTE:g} request a minute and one held Ping for each device, a core at {UTILISATION:.0%}:"
        f" **{by_core:,.0f} devices a core** and **{by_gib:,.0f} devices a GiB** ({MEMORY_PART:.0%} of it). The lower of the two"
        " for a machine is what it carries; one worker takes 8,000 connections (`connections_per_worker`).",
        "",
    ]


def page(run: Run, measures: Sequence[Measure]) -> str:
    """The whole generated part, markers and all."""
    facts = ", ".join(f"{name} {value}" for name, value in run.machine.items() if name not in ("processor", "memory"))
    lines = [BEGIN, "", "## Results", ""]
    lines += [f"Made with `{run.command}` on {run.machine['processor']}, {run.machine['memory']}; {facts}.", ""]
    if not run.whole:
        lines += ["**This was a trial of the bench itself, of too few rounds: its figures are not results.**", ""]
    lines += [*table(measures, run.results), ""]
    if run.runs:
        lines += [
            "## Run after run",
            "",
            f"The last {len(run.runs)} whole runs: ratios, but for what a bar of ours alone is for.",
            "",
        ]
        lines += [*beside(measures, run.runs), ""]
    if run.charts:
        lines += ["## How cost grows", ""]
        lines += [f"![{chart.title} against {chart.x}]({PLOTS}/{chart.name}.svg)" for chart in run.charts]
        lines.append("")
    return "\n".join([*lines, *sizing(run.results), END])


def put(whole: str, part: str) -> str:
    """The page with its generated part replaced. Raises `ValueError` where the page has no place for one."""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/performance.md: the lines {BEGIN} and {END} are needed, in this order")
    return before + part + after


def _keys(measure: Measure) -> tuple[tuple[str, str], ...]:
    return (measure.name, "RSA 2048"), (f"{measure.name}_p256", "P-256")


def _figure(value: float, measure: Measure, peer: str) -> str:
    return shown(value, measure.unit) if peer == OURS else f"{value:.2f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
