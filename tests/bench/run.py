"""`python -m tests.bench.run`: the run itself, inside the tree."""

import argparse
import os
import resource
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.bench import fairness, gateway, history, machine, page, peers, pki, plot, rounds
from tests.bench.contest import Measure, Sample, Setting
from tests.bench.contestants import contestant, contestants, workers_of
from tests.bench.cores import LOAD, split
from tests.bench.growth import grow
from tests.bench.measures import requests
from tests.bench.stage import Plan, Stage, stage
from tests.bench.table import MEASURES

BUILD = Path("build")
PAGE = Path("docs/performance.md")
DESCRIPTORS = 65_536  # 8,000 held Pings are 16,000 of a proxy's; what is allowed may be fewer
RUNS = "runs.json"  # beside the page's pictures: the last whole runs
GROWTH = "growth"
NAMES = ",".join([*(measure.name for measure in MEASURES), GROWTH])
ROUNDS, SECONDS = 5, 1.5  # of a run that is worth publishing
REPEATED = 2  # as many rounds, where the proxies stay: what else the machine does is in one round and not in the next


def say(line: str) -> None:
    """A line for whoever waits, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def sample(setting: Setting, measure: Measure, name: str) -> Sample:
    """One figure of a proxy."""
    taken = measure.take(setting)
    notes = ", ".join(f"{key} {value:.4g}" for key, value in taken.notes.items())
    say(f"    {name:11} {page.shown(taken.value, measure.unit):>10}  {notes}")
    return taken


def play(measure: Measure, on: Stage, count: int, seconds: float, peak: float) -> list[rounds.Round]:
    """All rounds of a measure."""
    if measure.fresh:

        def take(name: str) -> Sample:
            with contestant(name, on, workers_of(measure, name)) as proxy:
                return sample(Setting(on, proxy, seconds, peak), measure, name)

        return rounds.play(measure.contestants, count, take)
    with contestants(measure, on) as proxies:
        return rounds.play(
            measure.contestants,
            REPEATED * count,
            lambda name: sample(Setting(on, proxies[name], seconds, peak), measure, name),
        )


def peak_of(on: Stage, seconds: float) -> float:
    """Requests in a second that the gateway can do."""
    with contestant(gateway.NAME, on) as proxy:
        return requests.decided(Setting(on, proxy, seconds, 0.0)).notes["rate"]


def compare(on: Stage, chosen: Sequence[Measure], count: int, seconds: float) -> dict[str, Any]:
    """These measures with the stage's key, each as `build/bench.json` has it."""
    for name in (gateway.NAME, *peers.PEERS):
        with contestant(name, on) as proxy:
            fairness.check(on, proxy)
    peak = peak_of(on, seconds) if any(measure.needs_peak for measure in chosen) else 0.0
    results = {}
    for measure in chosen:
        say(f"==> {on.plan.key}: {measure.about}")
        played = play(measure, on, count, seconds, peak)
        name = measure.name if on.plan.key == "rsa2048" else f"{measure.name}_{on.plan.key}"
        results[name] = rounds.result(measure, played)
        say(f"    ratio: {results[name]['ratio']}")
    return results


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="The gateway beside its peers.")
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help=f"interleaved rounds of each measure, {REPEATED} times as many where the proxies stay (default: {ROUNDS})",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each figure (default: {SECONDS:g})")
    parser.add_argument("--measures", default=NAMES, help=f"which (default: {NAMES})")
    parser.add_argument("--keys", default=",".join(pki.KEYS), help="of the certificate (default: both)")
    parser.add_argument("--backend", choices=("plain", "tls"), default="plain", help="how the backend is spoken to")
    parser.add_argument("--publish", action="store_true", help="into docs/performance.md, though it is not a whole run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, and write down what came of it."""
    wanted = parse(arguments)
    split(os.sched_getaffinity(0))
    os.sched_setaffinity(0, LOAD)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, DESCRIPTORS), most))
    BUILD.mkdir(exist_ok=True)
    named = wanted.measures.split(",")
    chosen = [measure for measure in MEASURES if measure.name in named]
    results: dict[str, Any] = {}
    for key in pki.KEYS:
        if key in wanted.keys.split(",") and chosen:
            with stage(Plan(key, backend_tls=wanted.backend == "tls")) as on:
                results |= compare(on, chosen, wanted.rounds, wanted.seconds)
            write("bench.json", results)
    charts = list(grow(pki.KEYS[0], wanted.seconds, lambda line: say(f"    {line}"))) if GROWTH in named else []
    write("bench-growth.json", charts)
    whole = (
        bool(charts) and len(chosen) == len(MEASURES) and wanted.rounds >= ROUNDS and len(wanted.keys.split(",")) > 1
    )
    facts, runs = machine.describe(), PAGE.parent / page.PLOTS / RUNS
    if whole:
        described = f"{facts['processor']}, {facts['memory']}"
        past = history.keep(runs, history.past(MEASURES, results, described, datetime.now().astimezone()))
    else:
        past = history.kept(runs)
    run = page.Run(command(wanted), facts, results, charts, whole, past)
    publish(run, PAGE if whole or wanted.publish else BUILD / PAGE.name)
    return 0


def write(name: str, content: object) -> None:
    """A file below `build/`."""
    (BUILD / name).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def command(wanted: argparse.Namespace) -> str:
    """How to make such a run again."""
    given = {
        "ROUNDS": (wanted.rounds, ROUNDS),
        "SECONDS_OF_EACH": (wanted.seconds, SECONDS),
        "MEASURES": (wanted.measures, NAMES),
    }
    given |= {"KEYS": (wanted.keys, ",".join(pki.KEYS)), "BACKEND": (wanted.backend, "plain")}
    return " ".join(
        [
            "make bench",
            *(
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                for name, (value, usual) in given.items()
                if value != usual
            ),
        ]
    )


def publish(run: page.Run, place: Path) -> None:
    """Put the run into the page, or a page of its own where it is not to be published; with its pictures."""
    write("bench-machine.json", {"command": run.command, **run.machine})
    folder = place.parent / page.PLOTS
    folder.mkdir(exist_ok=True)
    for chart in run.charts:
        (folder / f"{chart.name}.svg").write_text(plot.svg(chart))
    place.write_text(page.put(PAGE.read_text(), page.page(run, MEASURES)))
    say(f"==> {place}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
