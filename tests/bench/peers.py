"""The peers, as data: which program with which configuration, and what runs beside it."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jinja2

from tests.bench import pki
from tests.bench.cores import PROXY
from tests.bench.program import Program
from tests.bench.proxy import Proxy, new_folder, takes_connections
from tests.bench.stage import ADDRESS, Stage, free_port
from tests.bench.trail import pipe_of

SPARE_DESCRIPTORS = 500  # beside two for each connection: listeners, logs, events
CONFIGURATIONS = Path(__file__).parent / "configurations"


@dataclass(frozen=True, slots=True)
class Peer:
    """`asks`: whether it asks a decision service, whose cost is then its own. `pools`: whether devices share its connections to
    the backend."""

    name: str
    about: str
    template: str
    argv: tuple[str, ...]
    asks: bool = False
    pools: bool = False


PEERS = {
    peer.name: peer
    for peer in (
        Peer("haproxy", "HAProxy with a map file", "haproxy.cfg.j2", ("haproxy", "-db", "-f", "{configuration}")),
        Peer(
            "nginx_auth",
            "nginx asking a small local service (auth_request)",
            "nginx.conf.j2",
            ("nginx", "-g", "daemon off;", "-c", "{configuration}"),
            asks=True,
            pools=True,
        ),
        Peer(
            "nginx_map",
            "nginx with a map, no authentication",
            "nginx.conf.j2",
            ("nginx", "-g", "daemon off;", "-c", "{configuration}"),
            pools=True,
        ),
    )
}


def configuration(peer: Peer, stage: Stage, proxy: Proxy, workers: int) -> str:
    """The text of its configuration file."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONFIGURATIONS),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - these are no web pages
        keep_trailing_newline=True,
    )
    return environment.get_template(peer.template).render(
        address=ADDRESS,
        asks=peer.asks,
        backend_name=pki.BACKEND,
        backend_port=stage.backend_port,
        backend_tls=stage.plan.backend_tls,
        both=stage.pair.both,
        ca=stage.ca,
        certificate=stage.pair.certificate,
        cipher=stage.cipher,
        connections=(descriptors - SPARE_DESCRIPTORS) // 2,
        descriptors=descriptors,
        decision=proxy.folder / "decision.sock",
        entries=stage.entries,
        folder=proxy.folder,
        hash_size=max(2_048, 4 * stage.plan.devices),
        key=stage.pair.key,
        nginx_entries=stage.nginx_entries,
        port=proxy.port,
        pipe=pipe_of(stage.trail),
        stream=stage.trail,
        workers=workers,
    )


@contextmanager
def run(peer: Peer, stage: Stage, workers: int = 1) -> Iterator[Proxy]:
    """A fresh one, until the end of the context."""
    with ExitStack() as stack:
        proxy = Proxy(peer.name, free_port(), new_folder(stage, peer.name), pools=peer.pools)
        if peer.asks:
            arguments = [proxy.folder / "decision.sock", stage.entries]
            service = stack.enter_context(Program.module("tests.bench.decision", arguments, PROXY, proxy.folder))
            service.until((proxy.folder / "decision.sock").exists, "its socket is there")
            proxy.programs.append(service)
        path = proxy.folder / "configuration"
        path.write_text(configuration(peer, stage, proxy, workers))
        argv = [word.format(configuration=path) for word in peer.argv]
        program = stack.enter_context(Program.start(peer.name, argv, PROXY, proxy.folder / "log"))
        proxy.programs.append(program)
        program.until(lambda: takes_connections(proxy.port), "it takes connections")
        yield proxy
