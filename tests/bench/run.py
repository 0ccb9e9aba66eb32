"""`python -m tests.bench.run`: the run itself, inside the tree."""

import argparse
import json
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import fairness, gateway, machine, peers, pki, rounds
from tests.bench.contest import Measure, Sample, Setting
from tests.bench.cores import LOAD
from tests.bench.measures import requests
from tests.bench.proxy import Proxy
from tests.bench.stage import Plan, Stage, stage
from tests.bench.table import MEASURES, ONE_WORKER

BUILD = Path("build")
DESCRIPTORS = 65_536  # 8,000 held Pings are 16,000 of a proxy's; what is allowed may be fewer


@contextmanager
def contestant(name: str, on: Stage, workers: int = 1) -> Iterator[Proxy]:
    """A fresh proxy of this name."""
    if name in (gateway.NAME, ONE_WORKER):
        with gateway.run(on, workers) as proxy:
            yield proxy
    else:
        with peers.run(peers.PEERS[name], on, workers) as proxy:
            yield proxy


def workers_of(measure: Measure, name: str) -> int:
    """Two where the measure compares us with ourselves with one."""
    return 2 if name == gateway.NAME and ONE_WORKER in measure.bars else 1


def sample(measure: Measure, name: str, on: Stage, seconds: float, peak: float) -> Sample:
    """One figure of a fresh proxy."""
    with contestant(name, on, workers_of(measure, name)) as proxy:
        taken = measure.take(Setting(on, proxy, seconds, peak))
    notes = ", ".join(f"{key} {value:.4g}" for key, value in taken.notes.items())
    print(f"    {measure.name:10} {name:11} {taken.value:.6g}  ({notes})", flush=True)
    return taken


def peak_of(on: Stage, seconds: float) -> float:
    """Requests in a second that the gateway can do."""
    with contestant(gateway.NAME, on) as proxy:
        return requests.decided(Setting(on, proxy, seconds, 0.0)).notes["rate"]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    names = ",".join(measure.name for measure in MEASURES)
    parser = argparse.ArgumentParser(prog="bench", description="The gateway beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each measure (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each figure (default: 5)")
    parser.add_argument("--measures", default=names, help=f"which (default: {names})")
    parser.add_argument("--keys", default=",".join(pki.KEYS), help="of the certificate (default: both)")
    parser.add_argument("--devices", type=int, default=100_000, help="that are known (default: 100000)")
    parser.add_argument("--backend-tls", action="store_true", help="the backend speaks TLS too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, and write down what came of it."""
    wanted = parse(arguments)
    os.sched_setaffinity(0, LOAD)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, DESCRIPTORS), most))
    BUILD.mkdir(exist_ok=True)
    results: dict[str, object] = {}
    for key in wanted.keys.split(","):
        with stage(Plan(key, wanted.devices, wanted.backend_tls)) as on:
            results |= compare(on, wanted)
            (BUILD / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    (BUILD / "bench-machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")
    return 0


def compare(on: Stage, wanted: argparse.Namespace) -> dict[str, object]:
    """All measures with one key."""
    chosen = [measure for measure in MEASURES if measure.name in wanted.measures.split(",")]
    for name in (gateway.NAME, *peers.PEERS):
        with contestant(name, on) as proxy:
            fairness.check(on, proxy)
    peak = peak_of(on, wanted.seconds) if any(measure.needs_peak for measure in chosen) else 0.0
    results = {}
    for measure in chosen:
        print(f"==> {on.plan.key}: {measure.about}", flush=True)
        played = rounds.play(
            measure.contestants, wanted.rounds, lambda name, it=measure: sample(it, name, on, wanted.seconds, peak)
        )
        name = measure.name if on.plan.key == "rsa2048" else f"{measure.name}_{on.plan.key}"
        results[name] = rounds.result(measure, played)
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
