"""Who runs where: the first core is the proxy's alone, the others are for all that is not measured."""

import os
from collections.abc import Iterable


class TooFewCoresError(RuntimeError):
    """This machine cannot tell a proxy's work from that of the load."""


def split(cores: Iterable[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The proxy's core, and those of load and backend. Raises `TooFewCoresError`."""
    first, *others = sorted(cores)
    if not others:
        raise TooFewCoresError(
            f"one core for the proxy and one for the load are needed; this process may run on {first} alone"
        )
    return frozenset({first}), frozenset(others)


PROXY, LOAD = (
    split(os.sched_getaffinity(0)) if len(os.sched_getaffinity(0)) > 1 else (frozenset[int](), frozenset[int]())
)
