"""The TLS proxy by itself: bytes both ways, bounds, and what becomes of it when the portal is away."""

import asyncio
import hashlib
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.proxy_protocol import Preface, decoded
from appliance.settings_file import SettingsError
from appliance.tls_proxy import relay, service
from appliance.tls_proxy.context import server_context
from appliance.tls_proxy.service import Service
from appliance.tls_proxy.settings import Settings, Tls, load
from tests.unit.appliance.portal.conftest import NoTickets, make_certificate, proxy_settings

LONG, SHORT = 30.0, 0.3
REPO = Path(__file__).parents[4]
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stand:
    """The proxy on `port`, before a portal that a test has written; `prefaces` is what that was told."""

    port: int
    proxy: Service
    trust: ssl.SSLContext
    prefaces: list[Preface]

    async def connect(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trust, server_hostname="localhost", **more
        )


@asynccontextmanager
async def standing(certificate: Path, answer: Answer | None, **more: Any) -> AsyncIterator[Stand]:
    """A proxy before a portal that answers so; None: there is no portal. `more` is TLS's."""
    prefaces: list[Preface] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert answer is not None
        held = b""
        while (found := decoded(held)) is None:
            held += await reader.readexactly(1)
        prefaces.append(found[0])
        await answer(reader, writer)
        writer.close()

    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "portal.sock"
        portal = await asyncio.start_unix_server(visited, place) if answer else None
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        proxy = Service(proxy_settings(certificate, port, place, **more), NoTickets())
        async with proxy.serving([listener]):
            yield Stand(port, proxy, trust, prefaces)
        if portal is not None:
            portal.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything back."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Up to the end, which must come by itself."""
    async with asyncio.timeout(LONG):
        try:
            return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""


async def test_bytes_pass_both_ways_and_the_portal_learns_where_they_come_from(certificate: Path) -> None:
    """Eight megabytes there and back, with a hash on them."""
    data = os.urandom(8_388_608)
    async with standing(certificate, echo) as stand:
        reader, writer = await stand.connect()
        writer.write(data)
        async with asyncio.timeout(LONG):
            back = await reader.readexactly(len(data))
        source = writer.get_extra_info("sockname")
        writer.close()
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
        assert stand.prefaces == [Preface(source[0], source[1], "127.0.0.1", stand.port)]


async def test_the_proxy_chooses_the_cipher_suite(certificate: Path) -> None:
    """By the site's order, whatever the client would rather have."""
    async with standing(certificate, echo) as stand:
        stand.trust.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
        _reader, writer = await stand.connect()
        assert writer.get_extra_info("cipher")[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        writer.transport.abort()


async def test_who_does_not_read_stops_the_portal_instead_of_filling_the_proxy(certificate: Path) -> None:
    """What the portal could write is what the sockets and the bounds hold, and no more."""
    written = 0
    stuck = asyncio.Event()

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.transport.set_write_buffer_limits(high=0)
        try:
            while written < 1 << 30:
                writer.write(bytes(65_536))
                written += 65_536
                async with asyncio.timeout(2 * SHORT):
                    await writer.drain()
        except TimeoutError:
            stuck.set()

    async with standing(certificate, pour) as stand:
        _reader, writer = await stand.connect(limit=1_024)
        async with asyncio.timeout(LONG):
            await stuck.wait()
        assert written < 64 << 20
        writer.transport.abort()


async def test_what_the_portal_says_last_arrives_before_the_end(certificate: Path) -> None:
    async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"x" * 1_000_000)

    async with standing(certificate, farewell) as stand:
        reader, writer = await stand.connect()
        writer.write(b"ask\n")
        assert len(await all_of(reader)) == 1_000_000
        writer.close()


async def test_without_a_portal_it_answers_503_and_says_why_in_the_log(
    certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(certificate, None) as stand:
        reader, writer = await stand.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = await all_of(reader)
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert "the portal does not answer on" in caplog.text


async def test_a_connection_that_is_still_for_too_long_ends(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the handshake, and before it."""
    monkeypatch.setattr(relay, "IDLE_SECONDS", SHORT)
    monkeypatch.setattr(relay, "HANDSHAKE_SECONDS", SHORT)
    async with standing(certificate, echo) as stand:
        reader, writer = await stand.connect()
        assert await all_of(reader) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        assert await all_of(reader) == b""
        writer.close()


async def test_a_card_has_time_for_its_pin_and_not_for_ever(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where certificates are asked for, a handshake may take longer."""
    monkeypatch.setattr(relay, "HANDSHAKE_SECONDS", LONG)
    monkeypatch.setattr(relay, "CARD_SECONDS", SHORT)
    async with standing(certificate, echo, client_authorities=str(certificate / "cert.pem")) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        assert await all_of(reader) == b""
        writer.close()


async def test_what_is_no_tls_is_hung_up_on_and_told_in_the_log(
    certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with standing(certificate, echo) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await all_of(reader)
        writer.close()
        assert stand.prefaces == []
    assert "from 127.0.0.1: no handshake: http request" in caplog.text


async def test_all_together_are_bounded_too(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes next is hung up on, and served once one of them has gone."""
    monkeypatch.setattr(service, "CONNECTIONS", 2)
    async with standing(certificate, echo) as stand:
        held = [await stand.connect() for _ in range(2)]
        with pytest.raises((OSError, ssl.SSLError)):
            await stand.connect()
        held[0][1].close()
        assert await all_of(held[0][0]) == b""
        reader, writer = await stand.connect()
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        for _, one in (held[1], (reader, writer)):
            one.transport.abort()


async def test_at_the_end_what_is_being_answered_is_answered(certificate: Path) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await go.wait()
        writer.write(b"the answer")

    async with standing(certificate, slow) as stand:
        reader, writer = await stand.connect()
        idle, other = await stand.connect()
        writer.write(b"ask\n")
        await asked.wait()
        asyncio.get_running_loop().call_later(SHORT, go.set)
    assert await all_of(reader) == b"the answer"
    assert await all_of(idle) == b""
    for one in (writer, other):
        one.transport.abort()


async def test_a_new_certificate_is_shown_to_new_connections_and_the_old_ones_stay(
    certificate: Path, tmp_path: Path
) -> None:
    """What a reload does; a certificate that cannot be used changes nothing."""
    new = make_certificate(tmp_path)
    async with standing(certificate, echo) as stand:
        first, old = (certificate / "cert.pem").read_text(), stand.proxy._settings
        reader, writer = await stand.connect()
        mixed = msgspec.structs.replace(old.tls, key=str(new / "key.pem"))  # of two pairs
        stand.proxy._settings = msgspec.structs.replace(old, tls=mixed)
        stand.proxy.reload()
        assert await shown(stand.port) == first
        whole = msgspec.structs.replace(mixed, certificate=str(new / "cert.pem"))
        stand.proxy._settings = msgspec.structs.replace(old, tls=whole)
        stand.proxy.reload()
        assert await shown(stand.port) == (new / "cert.pem").read_text()
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.transport.abort()


async def shown(port: int) -> str:
    """The certificate that a new connection sees, as PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"certificate": "nowhere.pem"}, "certificate nowhere.pem with key"),
        ({"key": "nowhere.key"}, "No such file"),
        ({"client_authorities": "nowhere.pem"}, "authorities nowhere.pem"),
    ],
)
def test_files_that_cannot_be_used_are_named(certificate: Path, change: dict[str, str], words: str) -> None:
    tls = Tls(certificate=str(certificate / "cert.pem"), key=str(certificate / "key.pem"))
    with pytest.raises(SettingsError, match=words):
        server_context(msgspec.structs.replace(tls, **change))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "truncated"),
        ('{"addresses": [], "tls": {"certificate": "a", "key": "b"}}', "at least one IP address"),
        ('{"addresses": ["here"], "tls": {"certificate": "a", "key": "b"}}', "here"),
        ('{"addresses": ["::1"], "port": 0, "tls": {"certificate": "a", "key": "b"}}', "1 to 65535"),
        (
            '{"addresses": ["::1"], "tls": {"certificate": "a", "key": "b", "minimum": "1.3", "maximum": "1.2"}}',
            "at most",
        ),
        ('{"addresses": ["::1"], "tls": {"certificate": "a", "key": "b"}, "command": "x"}', "unknown field"),
    ],
)
def test_settings_that_no_proxy_can_run_with_are_refused(tmp_path: Path, text: str, words: str) -> None:
    place = tmp_path / "tls-proxy.json"
    place.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load(place)


async def test_the_processes_start_serve_reload_and_end(certificate: Path, tmp_path: Path) -> None:
    """The proxy and the portal as systemd starts them; configd is away, which the log-in page does not need."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "portal.sock"
        banner = tmp_path / "banner"
        banner.write_text("Read this.")
        proxy_file, portal_file = tmp_path / "tls-proxy.json", tmp_path / "portal.json"
        proxy_file.write_bytes(msgspec.json.encode(proxy_settings(certificate, port, place)))
        said = {"port": port, "hosts": ["localhost"], "socket_path": str(place), "banner_path": str(banner)}
        portal_file.write_bytes(msgspec.json.encode(said))
        running = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, "--settings", str(file), cwd=REPO, stderr=asyncio.subprocess.PIPE
            )
            for module, file in (("appliance.portal", portal_file), ("appliance.tls_proxy", proxy_file))
        ]
        try:
            assert await login_page(certificate, port)
            running[1].send_signal(signal.SIGHUP)
            assert running[1].stderr is not None
            async with asyncio.timeout(LONG):
                while b"was read anew" not in (line := await running[1].stderr.readline()):
                    assert b"the portal does not answer" in line  # while it started
            assert await login_page(certificate, port)
        finally:
            for one in running:
                one.send_signal(signal.SIGTERM)
        assert [await one.wait() for one in running] == [0, 0]


async def login_page(certificate: Path, port: int) -> bool:
    """Whether it is served; while the processes start, nobody listens, or the portal is away."""
    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    async with asyncio.timeout(LONG):
        while True:
            try:
                reader, writer = await asyncio.open_connection("localhost", port, ssl=trust)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.write(f"GET /login HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
            said = await reader.read()
            writer.transport.abort()
            if not said.startswith(b"HTTP/1.1 503"):
                return said.startswith(b"HTTP/1.1 200 ") and b"Read this." in said


def test_the_settings_are_a_file_of_its_own() -> None:
    """What is not said is what the appliance has."""
    held = Settings(addresses=("::1",), tls=Tls(certificate="a", key="b"))
    assert (held.port, held.portal_socket) == (8_443, "/run/sentry-portal/portal.sock")
