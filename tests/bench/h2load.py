"""h2load: requests at a steady rate, each with its own time."""

import subprocess
from pathlib import Path

from tests.bench.cores import LOAD
from tests.bench.phones import Phone
from tests.bench.program import ProgramError

GRACE = 30.0


def times(log: str, begin_seconds: float = 0.0) -> list[float]:
    """Seconds of each request in h2load's log (start in microseconds, status, duration in microseconds) that began at least
    so long after the first. Raises `ProgramError` where one was not answered with 200."""
    rows = [line.split("\t") for line in log.splitlines()]
    wrong = [row for row in rows if row[1] != "200"]
    if wrong or not rows:
        raise ProgramError(f"h2load: {len(wrong)} of {len(rows)} requests have no 200; the first: {wrong[:1]}")
    first = min(int(row[0]) for row in rows)
    return [int(row[2]) / 1e6 for row in rows if int(row[0]) - first >= begin_seconds * 1e6]


def quantile(values: list[float], part: float) -> float:
    """The value below which this part of all lies (the nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def run(
    url: str, phone: Phone, length: int, folder: Path, *, connections: int, rate: float, seconds: float
) -> list[float]:
    """The seconds of each request of a POST at `rate` a second, spread over the connections."""
    body, log = folder / "h2load.body", folder / "h2load.log"
    body.write_bytes(b"x" * length)
    log.unlink(missing_ok=True)
    fields = [word for name, value in phone.headers().items() for word in ("-H", f"{name}: {value}")]
    argv = [
        "taskset",
        "--cpu-list",
        ",".join(map(str, sorted(LOAD))),
        "h2load",
        "--h1",
        f"-c{connections}",
        "-t1",
        "-m1",
        "--groups=P-256",
    ]
    argv += [
        f"--rps={rate / connections:.2f}",
        f"-D{round(seconds * 1000)}ms",
        f"--log-file={log}",
        f"-d{body}",
        *fields,
    ]
    ended = subprocess.run(
        [*argv, url + phone.path("Sync")], capture_output=True, text=True, timeout=seconds + GRACE, check=False
    )
    if ended.returncode != 0 or not log.exists():
        raise ProgramError(f"h2load ended with {ended.returncode}:\n{ended.stdout[-1_000:]}{ended.stderr[-1_000:]}")
    return times(log.read_text(), begin_seconds=1.0)
