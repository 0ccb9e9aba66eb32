"""wrk: as many requests as the proxy takes, on connections that stay."""

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cores import LOAD
from tests.bench.phones import Phone
from tests.bench.program import ProgramError

CONNECTIONS = 64
LONGEST_SECONDS = 600
GRACE = 30.0  # in which it must have ended when told to

_SCRIPT = """local heads = {{
{heads}
}}
local body = string.rep("x", {length})
local next_thread = 0
function setup(thread)
  thread:set("number", next_thread)
  next_thread = next_thread + 1
end
function init(args)
  local mine = {{}}
  for index = number + 1, #heads, {threads} do mine[#mine + 1] = heads[index] .. body end
  requests, turn = mine, 0
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency, all)
  io.write(string.format('\\n{{"requests":%d,"seconds":%.6f,"refused":%d,"failed":%d}}\\n', summary.requests,
    summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: by whom, what, and with how long a body.

    Each of the `threads` takes turns among every so manieth of the phones; without a number there is a thread for each
    connection, so that each connection has a device of its own, as it has in life.
    """

    phones: Sequence[Phone]
    command: str = "Sync"
    length: int = 200
    connections: int = CONNECTIONS
    threads: int = 0

    @property
    def thread_count(self) -> int:
        return self.threads or self.connections


@dataclass(slots=True)
class Outcome:
    """What came of it. `refused`: answers that are no 2xx or 3xx. `failed`: no answer."""

    requests: int = 0
    seconds: float = 0.0
    refused: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return self.requests / self.seconds


def lua(text: bytes) -> str:
    """These bytes as a Lua string."""
    return '"' + "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:03}" for one in text) + '"'


def script(load: Load) -> str:
    """wrk's script for this load."""
    heads = ",\n".join(lua(phone.head(load.command, load.length)) for phone in load.phones)
    return _SCRIPT.format(heads=heads, length=load.length, threads=load.thread_count)


def parse(output: str) -> Outcome:
    """Read what the script has printed at the end. Raises `ProgramError`."""
    for line in reversed(output.splitlines()):
        if line.startswith('{"requests"'):
            return Outcome(**json.loads(line))
    raise ProgramError(f"wrk has not said what came of it:\n{output[-2_000:]}")


@contextmanager
def running(load: Load, port: int, folder: Path) -> Iterator[Outcome]:
    """wrk at work while the context's body runs; at the context's end what came of it stands in the outcome."""
    path = folder / "wrk.lua"
    path.write_text(script(load))
    outcome = Outcome()
    argv = [
        "taskset",
        "--cpu-list",
        ",".join(map(str, sorted(LOAD))),
        "wrk",
        f"-t{load.thread_count}",
        f"-c{load.connections}",
    ]
    argv += [f"-d{LONGEST_SECONDS}s", "--timeout", "30s", "-s", str(path), f"https://127.0.0.1:{port}/"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield outcome
            process.send_signal(signal.SIGINT)  # wrk's own way to end before its time: it says what came of it so far
            text, _ = process.communicate(timeout=GRACE)
        except BaseException:
            process.kill()
            raise
    found = parse(text)
    outcome.requests, outcome.seconds = found.requests, found.seconds
    outcome.refused, outcome.failed = found.refused, found.failed
