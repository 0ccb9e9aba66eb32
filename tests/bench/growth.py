"""How cost grows: the same figures against more devices, more connections, longer bodies, more strangers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from tests.bench import clients, phones, pki, remote, wrk
from tests.bench.contest import Setting
from tests.bench.contestants import contestant
from tests.bench.measures.held import wait_held
from tests.bench.measures.requests import decided, per_request
from tests.bench.proxy import Proxy, client_context
from tests.bench.stage import Plan, Stage, stage

DEVICES = (1_000, 10_000, 100_000, 1_000_000)
HELD = (0, 1_000, 2_000, 4_000, 7_900)  # a worker takes 8,000 connections, and the load has 64 of them
BODIES = (70, 1_024, 16_384, 131_072, 1_048_576, 20 * 1_048_576)
STRANGERS = (0.0, 0.02, 0.1, 0.25, 0.5)
MIXED = 30_000  # requests after which the mix begins anew: more than a few seconds of it
BOTH = ("ours", "haproxy")
ROUNDS = 3  # each point is their median, both proxies in turn
MICRO, MIB = 1e-6, 1 << 20


Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: a curve of (x, y) for each who is shown. `logarithmic` is of x, `decades` of y."""

    name: str
    title: str
    x: str
    y: str
    curves: Curves
    logarithmic: bool = False
    decades: bool = False


def grow(key: pki.Key, seconds: float, say: Callable[[str], None]) -> Iterator[Chart]:
    """All pictures, one after the other."""
    yield from by_devices(key, seconds, say)
    with stage(Plan(key)) as on:
        yield from by_connections(on, seconds, say)
        yield by_body(on, seconds, say)
        yield by_strangers(on, seconds, say)


@contextmanager
def both(on: Stage) -> Iterator[Mapping[str, Proxy]]:
    """The two that are shown, side by side."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(contestant(name, on)) for name in BOTH}


def point(proxies: Mapping[str, Proxy], take: Callable[[Proxy], float]) -> dict[str, float]:
    """The median of each."""
    rounds = [{name: take(proxy) for name, proxy in proxies.items()} for _ in range(ROUNDS)]
    return {name: median(one[name] for one in rounds) for name in proxies}


def by_devices(key: pki.Key, seconds: float, say: Callable[[str], None]) -> Iterator[Chart]:
    """CPU time of a request, and memory, against devices known."""
    cpu = Chart("devices-cpu", "CPU per request", "devices known", "µs", {name: [] for name in BOTH}, logarithmic=True)
    memory = Chart("devices-memory", "Memory", "devices known", "MiB", {name: [] for name in BOTH}, logarithmic=True)
    for count in DEVICES:
        with stage(Plan(key, count)) as on, both(on) as proxies:
            found = point(proxies, partial(_decided, on, seconds))
            for name, proxy in proxies.items():
                cpu.curves[name].append((count, found[name] / MICRO))
                memory.curves[name].append((count, proxy.pss_bytes() / MIB))
            say(f"{count} devices: {told(found)}")
    yield cpu
    yield memory


def by_connections(on: Stage, seconds: float, say: Callable[[str], None]) -> Iterator[Chart]:
    """CPU time of a request, and memory, against connections that hold a Ping."""
    cpu = Chart("held-cpu", "CPU per request", "Pings held", "µs", {name: [] for name in BOTH})
    memory = Chart("held-memory", "Memory", "Pings held", "MiB", {name: [] for name in BOTH})
    for count in HELD:
        devices = [phones.known(wrk.CONNECTIONS + number) for number in range(count)]
        with both(on) as proxies, ExitStack() as stack:
            for proxy in proxies.values():
                held = clients.holding(proxy.port, client_context(on), devices, phones.BODY_BYTES)
                stack.enter_context(held)
            wait_held(Setting(on, proxies[BOTH[0]], seconds, 0.0), count * len(proxies))
            for name, proxy in proxies.items():
                memory.curves[name].append((count, proxy.pss_bytes() / MIB))
            found = point(proxies, partial(_decided, on, seconds))
            remote.ask(on.backend, "release")
        for name in proxies:
            cpu.curves[name].append((count, found[name] / MICRO))
        say(f"{count} Pings held: {told(found)}")
    yield cpu
    yield memory


def by_body(on: Stage, seconds: float, say: Callable[[str], None]) -> Chart:
    """CPU time of a request against the length of its answer."""
    curves: Curves = {name: [] for name in BOTH}
    chart = Chart("body-cpu", "CPU per request", "bytes of the answer", "µs", curves, logarithmic=True, decades=True)
    with both(on) as proxies:
        for length in BODIES:
            remote.ask(on.backend, "answer", length)
            load = wrk.Load([phones.known(number) for number in range(4)], "ItemOperations", connections=4)
            found = point(proxies, partial(_loaded, on, seconds, load))
            for name in proxies:
                chart.curves[name].append((length, found[name] / MICRO))
            say(f"answers of {length} bytes: {told(found)}")
    return chart


def by_strangers(on: Stage, seconds: float, say: Callable[[str], None]) -> Chart:
    """CPU time of the gateway for a request against the share of requests that are a device's first. The agent's is not in it."""
    chart = Chart("strangers-cpu", "CPU per request", "first contacts in 100 requests", "µs", {"ours": []})
    for share in STRANGERS:
        load = wrk.Load(mix(share, MIXED), threads=1)
        taken = []
        for _ in range(ROUNDS):  # a stranger is one only once
            with contestant("ours", on) as proxy:
                taken.append(per_request(Setting(on, proxy, seconds, 0.0), load).value)
        chart.curves["ours"].append((100 * share, median(taken) / MICRO))
        say(f"{share:.0%} first contacts: {median(taken) / MICRO:.0f} µs")
    return chart


def _decided(on: Stage, seconds: float, proxy: Proxy) -> float:
    return decided(Setting(on, proxy, seconds, 0.0)).value


def _loaded(on: Stage, seconds: float, load: wrk.Load, proxy: Proxy) -> float:
    return per_request(Setting(on, proxy, seconds, 0.0), load).value


def told(found: Mapping[str, float]) -> str:
    """The figures of a point for a line."""
    return ", ".join(f"{name} {value / MICRO:.0f} µs" for name, value in found.items())


def mix(share: float, count: int) -> list[phones.Phone]:
    """Who asks, where this share of all is a device that nobody has seen yet, and all others are one that is known."""
    asked = []
    strangers = 0
    for turn in range(count):
        if round((turn + 1) * share) > strangers:
            asked.append(phones.stranger(strangers))
            strangers += 1
        else:
            asked.append(phones.known(0))
    return asked
