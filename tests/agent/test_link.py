"""Sentry's calls against a real TLS server that does as it is told: which trouble is an outage, which is not."""

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import msgspec
import pytest
from aiohttp import web

from sentry_runtime.devices.record import State
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.api import BucketPage, Contact, Decision, DecisionPage, Information
from sentry_runtime.uem.digests import bucket_of
from sentry_runtime.uem.link import (
    LinkBusyError,
    LinkDownError,
    LinkError,
    LinkLocalError,
    LinkRefusedError,
    LinkSlowError,
    UemLink,
    meaning,
)
from sentry_runtime.uem.messages import MESSAGE_BYTES
from tests.agent.stage import Pki
from tests.full_queue import fill_queue
from tests.ports import free_port

PATIENT = 10.0  # seconds for an answer that comes, whatever else the machine does
CONTACT = Contact(device_id="C1", principal="anna@lab.test", device_type="iPhone", seen=5)
GOOD = Decision(device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=7)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedUem:
    """Answers every request with the next of `answers`; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The next answer."""
        self.requests += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    def says(self, body: bytes, status: int = 200, **headers: str) -> None:
        """From now on this."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, headers=headers)

        self.answers.append(answer)


@pytest.fixture
async def uem() -> ScriptedUem:
    """Has no answers yet."""
    return ScriptedUem()


async def listening(uem: ScriptedUem, pki: Pki) -> tuple[web.AppRunner, int]:
    """A server that asks `uem`, with mutual TLS, and its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", uem.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    number = free_port()
    await web.TCPSite(runner, "127.0.0.1", number, ssl_context=server_context(pki.server("uem"))).start()
    return runner, number


@pytest.fixture
async def port(uem: ScriptedUem, pki: Pki) -> AsyncIterator[int]:
    """Where it listens, with mutual TLS."""
    runner, number = await listening(uem, pki)
    yield number
    await runner.cleanup()


@pytest.fixture
async def link(port: int, pki: Pki) -> AsyncIterator[UemLink]:
    """The appliance's link to it, with half a second of patience."""
    async with UemLink(f"https://127.0.0.1:{port}", client_context(pki.client("agent")), 0.5) as made:
        yield made


async def test_a_decision_and_a_page_come_through(uem: ScriptedUem, link: UemLink) -> None:
    """As typed messages."""
    uem.says(msgspec.json.encode(GOOD))
    assert await link.contact(CONTACT) == GOOD
    uem.answers.clear()
    page = DecisionPage(decisions=(GOOD,), next=7, more=False)
    uem.says(msgspec.json.encode(page))
    assert await link.decisions(0) == page


async def test_what_a_device_says_is_confirmed_without_words(uem: ScriptedUem, link: UemLink) -> None:
    """204, and nothing else counts."""
    told = Information(device_id="C1", principal="anna@lab.test", information=DeviceInformation(model="iPhone"))
    uem.says(b"", 204)
    await link.inform(told)
    uem.answers.clear()
    uem.says(b'{"title": "not now"}', 503)
    with pytest.raises(LinkRefusedError, match="answered 503: not now"):
        await link.inform(told)
    uem.answers.clear()
    uem.says(b"", 200)
    with pytest.raises(LinkRefusedError, match="answered 200"):
        await link.inform(told)


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"<html>", 200, "malformed"),
        (msgspec.json.encode({**msgspec.to_builtins(GOOD), "surprise": 1}), 200, "`surprise`"),
        (msgspec.json.encode({**msgspec.to_builtins(GOOD), "state": "perhaps"}), 200, "$.state"),
        (msgspec.json.encode({**msgspec.to_builtins(GOOD), "version": -1}), 200, "$.version"),
        (msgspec.json.encode({**msgspec.to_builtins(GOOD), "device_id": "C2"}), 200, "another device"),
        (msgspec.json.encode({**msgspec.to_builtins(GOOD), "removed": True}), 200, "$.removed"),
        (b'{"title": "not a contact", "detail": "`seen` is missing"}', 400, "answered 400: not a contact"),
        (b"gone", 500, "answered 500"),
        (b'{"title": "stra\xdfe"}', 502, "answered 502"),
        (b'{"device_id": "stra\xdfe"}', 200, "not of the protocol"),
        (b"", 204, "answered 204"),
        (b"x" * (MESSAGE_BYTES + 1), 200, f"more than {MESSAGE_BYTES} bytes"),
    ],
)
async def test_a_wrong_answer_is_a_refusal_that_says_what_is_wrong(
    uem: ScriptedUem, link: UemLink, body: bytes, status: int, complaint: str
) -> None:
    """Never an outage: the fail mode does not speak."""
    uem.says(body, status)
    with pytest.raises(LinkRefusedError) as caught:
        await link.contact(CONTACT)
    assert complaint in str(caught.value)


async def test_a_redirect_is_not_followed(uem: ScriptedUem, link: UemLink, port: int) -> None:
    """The UEM's address is the configuration's."""
    uem.says(b"", 307, Location=f"https://127.0.0.1:{port}/elsewhere")
    with pytest.raises(LinkRefusedError, match="answered 307"):
        await link.contact(CONTACT)
    assert uem.requests == 1


async def test_a_late_answer_is_slow_and_no_outage(uem: ScriptedUem, link: UemLink) -> None:
    """Somebody is there."""

    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    uem.answers.append(late)
    with pytest.raises(LinkSlowError, match=r"no answer within 0\.5 s"):
        await link.contact(CONTACT)


async def test_nobody_at_the_port_is_an_outage(pki: Pki) -> None:
    """Connection refused."""
    async with UemLink(f"https://127.0.0.1:{free_port()}", client_context(pki.client("agent")), PATIENT) as link:
        with pytest.raises(LinkDownError):
            await link.contact(CONTACT)


async def test_somebody_else_at_the_port_is_an_outage(port: int, pki: Pki) -> None:
    """The UEM's certificate is not of the authority that we trust."""
    context = client_context(pki.client("agent", trust="strangers"))
    async with UemLink(f"https://127.0.0.1:{port}", context, PATIENT) as link:
        with pytest.raises(LinkDownError, match="certificate verify failed"):
            await link.contact(CONTACT)


async def test_a_certificate_for_another_name_is_an_outage(port: int, pki: Pki) -> None:
    """The name is checked, not only the authority."""
    async with UemLink(f"https://localhost:{port}", client_context(pki.client("agent")), PATIENT) as link:
        with pytest.raises(LinkDownError, match="certificate verify failed"):
            await link.contact(CONTACT)


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_without_our_certificate_the_uem_lets_nobody_in(
    uem: ScriptedUem, port: int, pki: Pki, name: str | None
) -> None:
    """No request reaches it. It is there and hangs up, which an overloaded one might do, too: no outage."""
    uem.says(msgspec.json.encode(GOOD))
    async with UemLink(f"https://127.0.0.1:{port}", client_context(pki.client(name)), PATIENT) as link:
        with pytest.raises(LinkRefusedError, match="broke"):
            await link.contact(CONTACT)
    assert uem.requests == 0


@contextlib.contextmanager
def telling(pki: Pki, version: ssl.TLSVersion) -> Iterator[int]:
    """A server whose OpenSSL writes its alerts, as that of most UEMs does (asyncio's does not), and its port."""
    context = server_context(pki.server("uem"))
    context.minimum_version = context.maximum_version = version

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                with one, contextlib.suppress(OSError), context.wrap_socket(one, server_side=True) as tls:
                    tls.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("name", [None, "stranger", "uem-push"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_uem_that_says_it_does_not_take_our_certificate_is_no_outage(
    pki: Pki, name: str | None, version: ssl.TLSVersion
) -> None:
    """It is there. With one that has ended, or none, or a server's own, the fail mode would else let everybody in."""
    context = client_context(pki.client(name))
    context.maximum_version = version
    with telling(pki, version) as port:
        async with UemLink(f"https://127.0.0.1:{port}", context, 5.0) as link:
            with pytest.raises(LinkRefusedError):
                await link.contact(CONTACT)


async def test_a_uem_that_accepts_connections_but_does_no_tls_is_slow_and_no_outage(pki: Pki) -> None:
    """A stopped or overloaded process looks like this: the kernel accepts for it. Nobody may be admitted by that."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with UemLink(url, client_context(pki.client("agent")), 0.5) as link:
            with pytest.raises(LinkSlowError, match=r"no connection with TLS within 0\.25 s"):
                await link.contact(CONTACT)


async def test_a_full_accept_queue_is_slow_and_no_outage(pki: Pki) -> None:
    """Not even TCP answers then, and whoever can fill the queue must not thereby be admitted."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill_queue(listener.getsockname()[1], stack)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with UemLink(url, client_context(pki.client("agent")), 0.5) as link:
            with pytest.raises(LinkSlowError, match=r"no connection with TLS within 0\.25 s"):
                await link.contact(CONTACT)


async def test_no_file_handle_left_is_our_own_trouble(uem: ScriptedUem, link: UemLink) -> None:
    """Says nothing of the UEM; and when there are some again, it is asked."""
    uem.says(msgspec.json.encode(GOOD))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(LinkLocalError, match="Too many open files"):
            await link.contact(CONTACT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await link.contact(CONTACT) == GOOD


def alert(reason: str) -> ssl.SSLError:
    """As OpenSSL's words come."""
    error = ssl.SSLError(1, reason.lower())
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (OSError(errno.ECONNREFUSED, ""), LinkDownError),
        (OSError(errno.ENETUNREACH, ""), LinkDownError),
        (OSError(errno.EHOSTUNREACH, ""), LinkDownError),
        (socket.gaierror(socket.EAI_NONAME, ""), LinkDownError),
        (socket.gaierror(socket.EAI_AGAIN, ""), LinkSlowError),
        (socket.gaierror(socket.EAI_MEMORY, ""), LinkLocalError),
        (OSError(errno.ETIMEDOUT, ""), LinkSlowError),
        (ConnectionResetError(), LinkRefusedError),
        (ssl.SSLEOFError(), LinkRefusedError),
        (ssl.SSLError(1, "alert protocol version"), LinkDownError),
        (alert("TLSV1_ALERT_PROTOCOL_VERSION"), LinkDownError),
        (alert("TLSV1_ALERT_INSUFFICIENT_SECURITY"), LinkDownError),
        (alert("WRONG_VERSION_NUMBER"), LinkDownError),
        (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), LinkRefusedError),
        (alert("SSLV3_ALERT_CERTIFICATE_EXPIRED"), LinkRefusedError),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), LinkRefusedError),
        (alert("TLSV1_ALERT_INTERNAL_ERROR"), LinkRefusedError),
        (OSError(errno.EMFILE, ""), LinkLocalError),
        (OSError(errno.EADDRNOTAVAIL, ""), LinkLocalError),
        (OSError("Multiple exceptions: of different kinds"), LinkLocalError),
    ],
)
def test_only_a_definite_word_of_the_network_is_an_outage(cause: OSError, kind: type[LinkError]) -> None:
    """All that may be an overload, or our own, is not."""
    meant = meaning(cause)
    assert issubclass(meant, kind)
    assert (meant is LinkDownError) == (kind is LinkDownError)


async def test_one_broken_connection_is_tried_again_and_a_second_is_a_refusal(uem: ScriptedUem, link: UemLink) -> None:
    """A kept connection may have been closed meanwhile; who breaks off twice fails at this very request."""

    async def breaks(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    uem.answers.append(breaks)
    uem.says(msgspec.json.encode(GOOD))
    assert await link.contact(CONTACT) == GOOD
    uem.answers[:] = [breaks]
    uem.requests = 0
    with pytest.raises(LinkRefusedError, match="broke before the answer"):
        await link.contact(CONTACT)
    assert uem.requests == 2


async def test_of_a_uem_that_has_died_every_kept_connection_is_broken_and_the_outage_is_seen_all_the_same(
    uem: ScriptedUem, pki: Pki
) -> None:
    """The repeated request goes over a new connection, which nobody takes."""
    together = asyncio.Barrier(3)

    async def waits(request: web.Request) -> web.StreamResponse:
        await together.wait()
        return web.Response(body=msgspec.json.encode(GOOD))

    uem.answers.append(waits)
    runner, number = await listening(uem, pki)
    async with UemLink(f"https://127.0.0.1:{number}", client_context(pki.client("agent")), 5.0) as link:
        await asyncio.gather(*(link.contact(CONTACT) for _ in range(together.parties)))
        await runner.cleanup()
        with pytest.raises(LinkDownError):
            await link.contact(CONTACT)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"version": 1, "root": "5"}', "$.root"),
        (b'{"version": -1, "root": "' + b"0" * 64 + b'"}', "$.version"),
        (b'{"version": 1, "root": "' + b"0" * 64 + b'", "surprise": 1}', "`surprise`"),
        (b'{"version": 1, "root": "' + b"0" * 64 + b'", "buckets": ["5"]}', "$.buckets"),
        (msgspec.json.encode({"version": 1, "root": "0" * 64, "buckets": ["0" * 64] * 1_024}), "$.root"),
        (
            msgspec.json.encode({"version": 1, "root": "0" * 64, "buckets": ["0" * 64] * 1_023 + ["X"]}),
            "$.buckets[1023]",
        ),
    ],
)
async def test_digests_that_are_none_are_refused_with_the_place(
    uem: ScriptedUem, link: UemLink, body: bytes, complaint: str
) -> None:
    """Nothing is compared with them."""
    uem.says(body)
    with pytest.raises(LinkRefusedError) as caught:
        await link.digests("0" * 64)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 6}, "$.decisions"),
        ({"more": True, "decisions": []}, "$.more"),
        ({"decisions": [{**msgspec.to_builtins(GOOD), "removed": True}]}, "$.decisions"),
        (
            {"decisions": [msgspec.to_builtins(GOOD), {**msgspec.to_builtins(GOOD), "device_id": "C2"}]},
            "several buckets",
        ),
        (
            {"decisions": [{**msgspec.to_builtins(GOOD), "tunnels": [{"name": "W", "host": "w", "port": 0}]}]},
            "tunnels[0].port",
        ),
        ({"surprise": 1}, "`surprise`"),
    ],
)
async def test_a_bucket_that_is_none_is_refused_with_the_place(
    uem: ScriptedUem, link: UemLink, change: dict[str, object], complaint: str
) -> None:
    """Nothing of it is taken."""
    page = {"version": 7, "decisions": [msgspec.to_builtins(GOOD)], "more": False}
    uem.says(msgspec.json.encode({**page, **change}))
    with pytest.raises(LinkRefusedError) as caught:
        await link.bucket(bucket_of(GOOD.device_id, GOOD.principal), 0)
    assert complaint in str(caught.value)


async def test_a_bucket_is_the_one_that_was_asked_for(uem: ScriptedUem, link: UemLink) -> None:
    """And a UEM that cannot do it now says so by 503."""
    number = bucket_of(GOOD.device_id, GOOD.principal)
    uem.says(msgspec.json.encode(BucketPage(version=7, decisions=(GOOD,), more=False)))
    assert (await link.bucket(number, 0)).decisions == (GOOD,)
    with pytest.raises(LinkRefusedError, match="another bucket"):
        await link.bucket(number + 1, 0)
    uem.answers.clear()
    uem.says(b"", 503)
    with pytest.raises(LinkBusyError):
        await link.digests("0" * 64)


async def test_tls_below_the_profile_is_not_spoken(port: int, pki: Pki) -> None:
    """The default profile is 1.2 and only that. The UEM hangs up."""
    context = client_context(pki.client("agent"))
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with UemLink(f"https://127.0.0.1:{port}", context, PATIENT) as link:
        with pytest.raises(LinkRefusedError, match="broke off"):
            await link.contact(CONTACT)
