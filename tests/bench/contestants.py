"""Who is measured, by name."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

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


@contextmanager
def contestants(measure: Measure, on: Stage) -> Iterator[Mapping[str, Proxy]]:
    """All of a measure, side by side, until the end of the context. Whoever is not asked rests."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(contestant(name, on, workers_of(measure, name))) for name in measure.contestants
        }
