"""CPU time of one request, on connections that stay."""

import time
from collections.abc import Callable, Sequence

from tests.bench import phones, procfs, wrk
from tests.bench.contest import Sample, Setting

WARM_ANSWERS = 4  # to each connection, before it counts: handshakes and first contacts with the backend are over
WARM_SECONDS = 60.0  # in which they must have come


class UnfairError(RuntimeError):
    """Something went wrong that makes the figure worthless."""


def per_request(setting: Setting, load: wrk.Load) -> Sample:
    """Seconds of CPU time of all of the proxy's processes for one request that the backend has served."""
    stage, proxy = setting.stage, setting.proxy
    idle = {pid: procfs.descriptors(pid) for pid in proxy.pids()}
    with wrk.running(load, proxy.port, proxy.folder) as outcome:
        _warm(setting, load, stage.served)
        served, lines, cpu, began = stage.served(), stage.lines(), proxy.cpu_seconds(), time.monotonic()
        time.sleep(setting.seconds)
        served, lines = stage.served() - served, stage.lines() - lines
        cpu, seconds = proxy.cpu_seconds() - cpu, time.monotonic() - began
        connections = [procfs.descriptors(pid) - before for pid, before in idle.items()]
    if outcome.failed or outcome.refused or not served:
        raise UnfairError(f"{proxy.name}: {outcome} of requests that all had to be answered with 200\n{_said(setting)}")
    return Sample(
        cpu / served,
        {
            "rate": served / seconds,
            "busy": cpu / seconds,
            "lines": lines / served,
            "spread": spread(connections),
        },
    )


def spread(connections: Sequence[int]) -> float:
    """The part of the connections that the busier of the two busiest processes has: 0.5 where two workers share them evenly.

    Not of the CPU time: two that share one core have the same of that, however many requests wait for each.
    """
    first, second = ([*sorted(connections, reverse=True), 0, 0])[:2]
    return first / (first + second) if first else 0.0


def decided(setting: Setting) -> Sample:
    """An ordinary request of a known device."""
    return per_request(setting, wrk.Load([phones.known(number) for number in range(wrk.CONNECTIONS)]))


def refused(setting: Setting) -> Sample:
    """A request that never reaches the backend, so that wrk counts; its handshakes are in it."""
    stage, proxy = setting.stage, setting.proxy
    load = wrk.Load([phones.blocked(number) for number in range(wrk.CONNECTIONS)])
    served, lines, cpu = stage.served(), stage.lines(), proxy.cpu_seconds()
    with wrk.running(load, proxy.port, proxy.folder) as outcome:
        _warm(setting, load, stage.lines)
        time.sleep(setting.seconds)
    cpu = proxy.cpu_seconds() - cpu
    if outcome.failed or outcome.refused != outcome.requests or stage.served() - served > 5:
        raise UnfairError(f"{proxy.name}: {outcome} of requests that all had to be refused\n{_said(setting)}")
    return Sample(cpu / outcome.requests, {"rate": outcome.rate, "lines": (stage.lines() - lines) / outcome.requests})


def _warm(setting: Setting, load: wrk.Load, count: Callable[[], int]) -> None:
    enough = count() + WARM_ANSWERS * load.connections
    end = time.monotonic() + WARM_SECONDS
    while count() < enough:
        if time.monotonic() > end:
            raise UnfairError(
                f"{setting.proxy.name} did not come up to speed within {WARM_SECONDS:g} s\n{_said(setting)}"
            )
        time.sleep(0.1)


def _said(setting: Setting) -> str:
    return "\n".join(program.said() for program in setting.proxy.programs)
