"""The gateway, as the appliance runs it: its real processes, started by its own program with a settings file."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from sentry_runtime import settings
from tests.bench import pki, remote
from tests.bench.cores import LOAD, PROXY
from tests.bench.program import Program
from tests.bench.proxy import Proxy, new_folder
from tests.bench.stage import ADDRESS, BLOCKED, Stage, free_port

NAME = "ours"
UNIT = Path(__file__).resolve().parents[2] / "roles/sentry/files/sentry-gateway.service"


def paths(folder: Path) -> settings.Paths:
    """Where the processes of one start meet."""
    return settings.Paths(
        devices=str(folder / "devices"),
        agent_socket=str(folder / "agent.sock"),
        gateway_control=str(folder / "control.sock"),
        audit_socket=str(folder / "audit.sock"),
    )


def settings_of(stage: Stage, proxy: Proxy, workers: int) -> settings.Settings:
    """The appliance's settings but for one: no device is throttled, since 64 of them ask as much here as 100,000 would, and no
    peer counts what a device asks. All limits stand as they do by default."""
    trust = settings.ClientTls(trust=str(stage.ca))
    backend = settings.Backend(
        name="mail0",
        host=ADDRESS,
        port=stage.backend_port,
        server_name=pki.BACKEND,
        tls=trust if stage.plan.backend_tls else None,
    )
    gateway = settings.Gateway(
        listeners=(settings.Listener(address=ADDRESS, port=proxy.port),),
        tls=settings.ServerTls(certificate=str(stage.pair.certificate), key=str(stage.pair.key)),
        backends=(backend,),
        workers=workers,
        throttle=None,
    )
    where = msgspec.structs.replace(paths(proxy.folder), audit_socket=str(stage.trail))
    link = settings.UemLink(mode="embedded", url="https://127.0.0.1:9443", tls=trust)
    return settings.Settings(gateway=gateway, agent=settings.Agent(uem=link), paths=where)


@contextmanager
def run(stage: Stage, workers: int = 1) -> Iterator[Proxy]:
    """A fresh one with a device list of its own, until the end of the context."""
    with ExitStack() as stack:
        proxy = Proxy(NAME, free_port(), new_folder(stage, NAME))
        whole = settings_of(stage, proxy, workers)
        Path(whole.paths.devices).mkdir()
        file = proxy.folder / "runtime.json"
        file.write_bytes(msgspec.json.encode(whole))
        proxy.agent = agent_control = proxy.folder / "agent.control"
        counts = [str(stage.plan.devices), str(BLOCKED)]
        arguments: list[str | Path] = [whole.paths.agent_socket, whole.paths.devices, agent_control, *counts]
        agent = stack.enter_context(Program.module("tests.bench.agent", arguments, LOAD, proxy.folder))
        agent.until(lambda: remote.is_there(agent_control), "the device list is filled")
        notify = proxy.folder / "notify"
        peer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        peer.bind(str(notify))
        argv: list[str | Path] = [sys.executable, "-m", "sentry_runtime.gateway", "--settings", file]
        environment = {"NOTIFY_SOCKET": str(notify), **_unit_environment()}
        program = stack.enter_context(Program.start(NAME, argv, PROXY, proxy.folder / "log", environment))
        proxy.programs.append(program)
        program.until(lambda: _is_ready(peer), "it says that it is ready")
        program.until(lambda: remote.ask(agent_control, "followers") == workers, "its workers follow the list")
        yield proxy


def _unit_environment() -> dict[str, str]:
    """What the appliance's unit sets."""
    lines = UNIT.read_text().splitlines()
    pairs = [line.removeprefix("Environment=").partition("=") for line in lines if line.startswith("Environment=")]
    return {name: value for name, _, value in pairs}


def _is_ready(peer: socket.socket) -> bool:
    try:
        return peer.recv(100) == b"READY=1"
    except BlockingIOError:
        return False
