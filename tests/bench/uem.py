"""`python -m tests.bench.uem [--devices N] [MEASURE ...]`: what the link between a Sentry and a UEM costs.

Agent, UEM and gateway are real processes on loopback, with mutual TLS between them and a disk below them. Run it on a machine
that does nothing else; the figures in docs/uem-api.md say on which.

| measure | what |
|---|---|
| load | from the start of an agent without a list until it has every device; with a UEM that has all in memory, or just started |
| resync | bytes between agent and UEM in one round in which nothing had changed, and in one that finds one device missing |
| questions | 1,000 new devices of 1,000 people, 5 requests each at once: questions at the UEM, answers, seconds |
| push | from an administrator's word, and from its answer (then the push begins), until a held request of the device is ended |
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.devices.store import Writer
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Pki, Stage
from tests.agent.test_ports import call
from tests.bench import machine
from tests.gateway.stand import Backend, Device, Turn, post

DEVICES = 100_000
NEW, TOGETHER = 1_000, 5
PUSHES = 300
PATIENCE = 600.0

Figures = dict[str, float | int]


@contextlib.contextmanager
def stage(devices: int, resync_seconds: float = 3_600.0) -> Iterator[Stage]:
    """A UEM that knows so many devices and runs, and an agent that does not yet."""
    with tempfile.TemporaryDirectory(prefix="bench-uem-") as name:
        folder = Path(name)
        pki = Pki(folder / "pki")
        pki.folder.mkdir()
        pki.authority("ca")
        for one, usage in (("uem", "server"), ("uem-push", "server"), ("agent", "client"), ("uem-client", "client")):
            pki.issue(one, "ca", f"{usage}Auth")
        made = Stage(folder, pki, "block", resync_seconds)
        link = msgspec.structs.replace(made.settings.agent.uem, timeout_seconds=5.0)  # what the appliance has
        made.settings = msgspec.structs.replace(
            made.settings, agent=msgspec.structs.replace(made.settings.agent, uem=link)
        )
        if devices:
            made.enrol([DeviceKey(f"APPL{number:028X}", f"user{number}@mail.lab.test") for number in range(devices)])
        made.uem()
        try:
            yield made
        finally:
            for process in made.running:
                if process.popen.poll() is None:
                    process.terminate()


def until(true: Callable[[], bool], every: float = 0.01) -> None:
    """Until it holds."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never came true")
        time.sleep(every)


class Meter:
    """Passes bytes on between the agent and the UEM, and counts them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.bytes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the agent's."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.bytes += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


async def load(devices: int) -> Figures:
    """See the module's table."""
    return {**await _load(devices, warm=True), **await _load(devices, warm=False)}


async def _load(devices: int, *, warm: bool) -> Figures:
    with stage(devices) as on:
        if warm:
            await asyncio.to_thread(until, lambda: _warm(on), 1.0)
        at_uem = _cpu(on.running[0].popen.pid)
        began = time.monotonic()
        await asyncio.to_thread(on.agent)
        started = time.monotonic()
        await asyncio.to_thread(until, lambda: on.status()["devices"] == devices, 0.1)
        loaded = time.monotonic()
        agents, uems = _cpu(on.running[-1].popen.pid), _cpu(on.running[0].popen.pid) - at_uem
        size = control.call(on.paths.agent_socket, control.Persist(), control.Persisted).bytes
        on.running[-1].terminate()
        again = time.monotonic()
        await asyncio.to_thread(on.agent)
        ready = time.monotonic()
    when = "" if warm else ", the UEM started just before"
    return {
        f"seconds from the process's start{when}": loaded - began,
        f"of which the load{when}": loaded - started,
        f"seconds of processor, the agent{when}": agents,
        f"seconds of processor, the UEM{when}": uems,
        "MB of list": size / 1e6,
        "seconds of a start with that list": ready - again,
    }


def _warm(on: Stage) -> bool:
    """Whether the UEM has in memory what it tells a Sentry that starts."""
    return call(on.pki, "agent", on.uem_port, "GET", "/v1/digests")[0] == 200


def _cpu(process: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def resync(devices: int) -> Figures:
    """See the module's table."""
    with stage(devices, resync_seconds=5.0) as on:
        meter = Meter(on.uem_port)
        server = await asyncio.start_server(meter.serve, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        link = msgspec.structs.replace(on.settings.agent.uem, url=url)
        on.settings = msgspec.structs.replace(on.settings, agent=msgspec.structs.replace(on.settings.agent, uem=link))
        await asyncio.to_thread(on.agent)
        await asyncio.to_thread(until, lambda: on.status()["digests"] == "equal")
        unchanged = await _round(on, meter)
        on.running[-1].terminate()
        key = DeviceKey(f"APPL{5:028X}", "user5@mail.lab.test")
        with contextlib.closing(Writer(on.paths.devices)) as store:
            store.remove([key])
        before, began = meter.bytes, time.monotonic()
        await asyncio.to_thread(on.agent)
        await asyncio.to_thread(until, lambda: on.status()["repaired"] == 1)
        took = time.monotonic() - began
        server.close()
        return {
            "bytes of a round without a change": unchanged,
            "bytes of a start that finds one device missing": meter.bytes - before,
            "seconds of that": took,
        }


async def _round(on: Stage, meter: Meter) -> int:
    """The bytes of one whole round."""
    first = on.status()["rounds"]
    await asyncio.to_thread(until, lambda: on.status()["rounds"] > first)
    await asyncio.sleep(
        1.0
    )  # it is under way when it is counted; it takes milliseconds, and the next comes after seconds
    before, first = meter.bytes, on.status()["rounds"]
    await asyncio.to_thread(until, lambda: on.status()["rounds"] > first)
    await asyncio.sleep(1.0)
    if on.status()["digests"] != "equal":
        raise AssertionError("something has changed")
    return meter.bytes - before


async def questions(_devices: int) -> Figures:
    """See the module's table."""
    with stage(0) as on:
        await asyncio.to_thread(on.agent)
        await asyncio.to_thread(until, lambda: on.status()["link"] == "up")
        keys = [DeviceKey(f"NEW{number}", f"user{number}@mail.lab.test") for number in range(NEW)]
        lines = [msgspec.json.encode(control.Ask(key=key, device_type="iPhone")) + b"\n" for key in keys]
        peers = [await _dial(on.paths.agent_socket) for _ in range(NEW * TOGETHER)]
        spent = [_cpu(process.popen.pid) for process in on.running]
        began = time.monotonic()
        for number, (_, writer) in enumerate(peers):
            writer.write(lines[number % NEW])
        answers = [msgspec.json.decode(await reader.readline(), type=control.Answer) for reader, _ in peers]
        took = time.monotonic() - began
        for _, writer in peers:
            writer.close()
        at_uem, at_agent = (_cpu(process.popen.pid) - was for process, was in zip(on.running, spent, strict=True))
        records = [msgspec.json.decode(one.result, type=Record) for one in answers if one.error is None]
        asked = control.call(on.paths.uem_admin, control.Status(), dict[str, int])["contacts"]
        return {
            "questions at the UEM": asked,
            "answers": len(records),
            "refusals": len(answers) - len(records),
            "seconds": took,
            "seconds of processor, the agent": at_agent,
            "seconds of processor, the UEM": at_uem,
        }


async def _dial(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection. It blocks while the listener's queue is full, which asyncio would take for connected."""
    dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dialled.connect(path)
    return await asyncio.open_unix_connection(sock=dialled, limit=1 << 20)


async def push(_devices: int) -> Figures:
    """See the module's table."""
    with stage(0) as on:
        backend = Backend("mail", None)
        await backend.start()
        on.front(backend.port, throttle=None)
        port = on.settings.gateway.listeners[0].port
        await asyncio.to_thread(on.agent)
        await asyncio.to_thread(on.start, "gateway")

        async def hold(turn: Turn) -> None:
            await turn.body()
            await turn.reader.read()

        backend.script = hold
        took = [await _cut(on, backend, port, f"PHONE{number}", number + 1) for number in range(PUSHES)]
        await backend.stop()
    figures: Figures = {}
    for since, spans in zip(("the word", "its answer"), zip(*took, strict=True), strict=True):
        milliseconds = sorted(1_000 * one for one in spans)
        figures |= {
            f"milliseconds from {since}, 50th percentile": statistics.median(milliseconds),
            f"milliseconds from {since}, 99th percentile": milliseconds[int(0.99 * len(milliseconds))],
            f"milliseconds from {since}, longest": milliseconds[-1],
        }
    return figures


async def _cut(on: Stage, backend: Backend, port: int, name: str, count: int) -> tuple[float, float]:
    """Seconds from the word, and from its answer, until the phone that holds a Ping has its own."""
    who = "anna@lab.test"
    await _say(on, control.Register(device_id=name, principal=who))
    await asyncio.to_thread(until, lambda: on.status()["devices"] == count)
    phone = Device(*await asyncio.open_connection("127.0.0.1", port, ssl=client_context(on.pki.client(None))))
    await phone.send(post("Ping", device=name, version="12.1"))
    await backend.wait_seen(count)
    waits = asyncio.create_task(phone.response())
    said: list[float] = []
    began = time.monotonic()
    word = asyncio.create_task(_say(on, control.SetState(device_id=name, principal=who, state=State.BLOCKED)))
    word.add_done_callback(lambda _: said.append(time.monotonic()))
    await waits
    ended = time.monotonic()
    await word
    await phone.close()
    return ended - began, max(0.0, ended - said[0])


async def _say(on: Stage, request: control.Request) -> None:
    await asyncio.to_thread(control.call, on.paths.uem_admin, request, Decision)


MEASURES: dict[str, Callable[[int], Coroutine[None, None, Figures]]] = {
    "load": load,
    "resync": resync,
    "questions": questions,
    "push": push,
}


def main(arguments: list[str]) -> None:
    """Take what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="bench.uem", description="What the link to a UEM costs.")
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], default=list(MEASURES))
    given = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    for name, fact in machine.describe().items():
        if name in ("processor", "memory", "kernel", "Python", "OpenSSL", "lmdb"):
            sys.stdout.write(f"{name}: {fact}\n")
    for name in given.measures:
        figures = asyncio.run(MEASURES[name](given.devices))
        for what, figure in figures.items():
            sys.stdout.write(f"{name}: {what}: {figure if isinstance(figure, int) else f'{figure:.2f}'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
