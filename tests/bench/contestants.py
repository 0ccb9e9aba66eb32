"""Who is measured, by name."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench import gateway, peers
from tests.bench.contest import Measure
from tests.bench.proxy import Proxy
from tests.bench.stage import Stage
from tests.bench.table import ONE_WORKER


@contextmanager
def contestant(name: str, on: Stage, workers: int = 1) -> Iterator[Proxy]:
    """A fresh proxy of this name, until the end of the context."""
    if name in (gateway.NAME, ONE_WORKER):
        with gateway.run(on, workers) as proxy:
            yield proxy
    else:
        with peers.run(peers.PEERS[name], on, workers) as proxy:
            yield proxy


def workers_of(measure: Measure, name: str) -> int:
    """Two where the measure compares us with ourselves with one."""
    return 2 if name == gateway.NAME and ONE_WORKER in measure.bars else 1
