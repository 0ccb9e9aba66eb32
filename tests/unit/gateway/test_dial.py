"""What is dialled is what was judged."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sentry_runtime.gateway.addresses import AddressRefusedError, networks_of
from sentry_runtime.gateway.dial import Target, dial, reason_of, verdict_of
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.settings import Backend
from tests.full_queue import fill_queue
from tests.ports import free_port

LOOPBACK = networks_of(["127.0.0.0/8"])
REPO = Path(__file__).resolve().parents[3]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PATIENCE = 20.0
LOOKUPS = 8  # that hang: more than the loop has threads

# In namespaces of its own, where the name server takes all questions and answers none: whether a backend by its address is
# dialled meanwhile, and whether names are really being looked up then.
SILENT_RESOLVER = """
import asyncio, os, socket, subprocess, sys
import uvloop
from sentry_runtime.gateway.dial import Target, dial
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.settings import Backend
folder, lookups, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
for name in ("resolv.conf", "nsswitch.conf"):
    subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.53", 53))
def target(host, port):
    return Target(Backend(name="mail", host=host, port=port), None)
async def main():
    server = await asyncio.start_server(lambda _, writer: writer.close(), sys.argv[4], 0)
    port = server.sockets[0].getsockname()[1]
    named = [target(f"mail{number}.lab.test", port) for number in range(lookups)]
    waiting = [asyncio.ensure_future(dial(one, lambda: Probe(one, b""))) for one in named]
    await asyncio.sleep(0)
    there = target(sys.argv[4], port)
    try:
        async with asyncio.timeout(patience):
            (await dial(there, lambda: Probe(there, b""))).drop()
        print("dialled", sum(not one.done() for one in waiting), "waiting")
    except TimeoutError:
        print("late")
    sys.stdout.flush()
    os._exit(0)  # the threads that look up cannot be ended
uvloop.run(main())
"""


class Names:
    """A resolver that says something else each time it is asked, as an attacker's does."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        found = self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


async def server(heard: asyncio.Queue[str], address: str, port: int = 0) -> asyncio.Server:
    """Somebody who listens there, and tells when anybody has come."""

    def come(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(address)
        writer.close()

    return await asyncio.start_server(come, address, port)


def port_of(one: asyncio.Server) -> int:
    """Where it listens."""
    return int(one.sockets[0].getsockname()[1])


async def dialled(target: Target) -> None:
    """Dial, and hang up."""
    probe = await dial(target, lambda: Probe(target, b""))
    probe.drop()


async def test_a_name_is_resolved_once_and_the_judged_address_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that would mean something else a moment later is not asked again."""
    names, heard = Names(["169.254.169.254", "127.0.0.1"], ["127.0.0.2"]), asyncio.Queue[str]()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    one = await server(heard, "127.0.0.1")
    other = await server(heard, "127.0.0.2", port_of(one))
    backend = Backend(name="mail", host="mail.test", port=port_of(one))
    await dialled(Target(backend, None, within=LOOPBACK))
    assert await heard.get() == "127.0.0.1"
    assert names.asked == ["mail.test"]
    for each in (one, other):
        each.close()


async def test_the_next_allowed_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any name with several addresses; those that are not allowed are not among them."""
    names, heard = Names(["10.255.255.1", "127.0.0.3", "127.0.0.1"]), asyncio.Queue[str]()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    one = await server(heard, "127.0.0.1")
    backend = Backend(name="mail", host="mail.test", port=port_of(one))
    await dialled(Target(backend, None, within=LOOPBACK))
    assert await heard.get() == "127.0.0.1"
    one.close()


async def test_a_name_without_an_allowed_address_is_dialled_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the error says so in its word."""
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(["169.254.169.254", "10.0.0.1"]))
    with pytest.raises(AddressRefusedError) as refused:
        await dialled(Target(Backend(name="mail", host="mail.test"), None, within=LOOPBACK))
    assert reason_of(refused.value) == "redirect_address"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_names_that_nobody_answers_for_keep_nobody_from_a_backend_by_its_address(tmp_path: Path, address: str) -> None:
    """The loop has few threads that look names up; an address is not looked up at all."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\noptions timeout:30\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    words = [str(tmp_path), str(LOOKUPS), str(PATIENCE), address]
    argv = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, "-c", SILENT_RESOLVER, *words]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["dialled", str(LOOKUPS), "waiting"]


@contextlib.contextmanager
def full() -> Iterator[tuple[socket.socket, int]]:
    """A listener whose queue takes no more, and its port: who connects waits until somebody is accepted, and then until the next
    repetition, a second later."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        fill_queue(port, stack)
        yield listener, port


def open_files() -> list[str]:
    """The numbers of this process's open files."""
    return sorted(one.name for one in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_takes_its_time_comes_about(loop: str) -> None:
    """On the loop of the gateway and on the other."""

    async def main() -> None:
        with full() as (listener, port):
            probe = asyncio.ensure_future(dialled(Target(Backend(name="mail", host="127.0.0.1", port=port), None)))
            await asyncio.sleep(0)
            assert not probe.done()
            while not probe.done():
                with contextlib.suppress(BlockingIOError):
                    listener.setblocking(False)  # noqa: FBT003 - a socket's own
                    listener.accept()[0].close()
                await asyncio.wait([probe], timeout=0.05)
            await probe

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_dial_that_is_given_up_leaves_its_number_to_the_next(loop: str) -> None:
    """The socket is closed and the loop watches nothing of it, so that what has its number next is watched for itself."""

    async def main() -> None:
        with full() as (_, port):
            given_up = Target(Backend(name="mail", host="127.0.0.1", port=port), None)
            before = open_files()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await dialled(given_up)
            assert open_files() == before
            heard = asyncio.Queue[str]()
            there = await server(heard, "127.0.0.1")
            await dialled(Target(Backend(name="mail", host="127.0.0.1", port=port_of(there)), None))
            assert await heard.get() == "127.0.0.1"
            there.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("loop", LOOPS)
def test_where_nobody_listens_the_dial_is_refused(loop: str) -> None:
    """By the error that has the word for it."""
    target = Target(Backend(name="mail", host="127.0.0.1", port=free_port()), None)
    with pytest.raises(ConnectionRefusedError), asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(dialled(target))


def verification(code: int) -> ssl.SSLCertVerificationError:
    """As OpenSSL says it."""
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (verification(20), "backend_certificate"),
        (ssl.SSLError(), "backend_tls"),
        (TimeoutError(), "backend_timeout"),
        (ConnectionRefusedError(), "backend_refused"),
        (OSError(113, "No route to host"), "backend_unreachable"),
        (socket.gaierror(-2, "Name or service not known"), "backend_unreachable"),
        (UnicodeError(), "backend_unreachable"),
    ],
)
def test_each_failure_has_a_word(error: OSError | UnicodeError, word: str) -> None:
    """For the audit line."""
    assert reason_of(error) == word


def test_each_verdict_on_a_certificate_has_a_word() -> None:
    """Also one that nobody has thought of."""
    assert [verdict_of(verification(code)) for code in (10, 20, 62, 23)] == [
        "certificate_expired",
        "authority_unknown",
        "name_differs",
        "certificate_23",
    ]
