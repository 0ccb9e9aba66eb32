"""CPU time of one request, on connections that stay."""

import time

from tests.bench import phones, procfs, wrk
from tests.bench.contest import Sample, Setting

WARM_SECONDS = 1.5  # handshakes and first contacts with the backend are over
TAIL_SECONDS = 0.5  # wrk goes on so long, so that the window ends before the load does


class UnfairError(RuntimeError):
    """Something went wrong that makes the figure worthless."""


def per_request(setting: Setting, load: wrk.Load) -> Sample:
    """Seconds of CPU time of all of the proxy's processes for one request that the backend has served."""
    stage, proxy = setting.stage, setting.proxy
    whole = WARM_SECONDS + setting.seconds + TAIL_SECONDS
    with wrk.running(load, proxy.port, proxy.folder, whole) as outcome:
        time.sleep(WARM_SECONDS)
        served, cpu, began = stage.served(), proxy.cpu_seconds(), time.monotonic()
        by_process = {pid: procfs.cpu_seconds(pid) for pid in proxy.pids()}
        time.sleep(setting.seconds)
        served, cpu, seconds = stage.served() - served, proxy.cpu_seconds() - cpu, time.monotonic() - began
        spent = {pid: procfs.cpu_seconds(pid) - before for pid, before in by_process.items()}
    if outcome.failed or outcome.refused or not served:
        raise UnfairError(f"{proxy.name}: {outcome} of requests that all had to be answered with 200\n{_said(setting)}")
    return Sample(cpu / served, {"rate": served / seconds, "busy": cpu / seconds, "spread": spread(list(spent.values()))})


def spread(spent: list[float]) -> float:
    """The part of the load that the busier of the two busiest processes has: 0.5 where two workers share it evenly."""
    first, second = ([*sorted(spent, reverse=True), 0.0, 0.0])[:2]
    return first / (first + second) if first else 0.0


def decided(setting: Setting) -> Sample:
    """An ordinary request of a known device."""
    return per_request(setting, wrk.Load([phones.known(number) for number in range(wrk.CONNECTIONS)]))


def refused(setting: Setting) -> Sample:
    """A request that never reaches the backend, so that wrk counts; its handshakes are in it."""
    stage, proxy = setting.stage, setting.proxy
    load = wrk.Load([phones.blocked(number) for number in range(wrk.CONNECTIONS)])
    served, cpu = stage.served(), proxy.cpu_seconds()
    with wrk.running(load, proxy.port, proxy.folder, setting.seconds + WARM_SECONDS) as outcome:
        pass
    cpu = proxy.cpu_seconds() - cpu
    if outcome.failed or outcome.refused != outcome.requests or stage.served() - served > 5:
        raise UnfairError(f"{proxy.name}: {outcome} of requests that all had to be refused\n{_said(setting)}")
    return Sample(cpu / outcome.requests, {"rate": outcome.rate})


def _said(setting: Setting) -> str:
    return "\n".join(program.said() for program in setting.proxy.programs)
