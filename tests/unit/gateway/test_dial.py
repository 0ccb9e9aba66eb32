"""What is dialled is what was judged."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from sentry_runtime.gateway.addresses import AddressRefusedError, networks_of
from sentry_runtime.gateway.dial import Target, dial, reason_of, verdict_of
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.settings import Backend

LOOPBACK = networks_of(["127.0.0.0/8"])


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
