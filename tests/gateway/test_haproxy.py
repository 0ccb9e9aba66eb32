"""A real HAProxy in front: as a TCP balancer that says where connections come from, and as one that ends TLS itself.

seeds/002 "Use of SSL Certificates", option 2: the balancer has the certificate, and the way behind it may be plain.
"""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sentry_runtime import control
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, Device, Stand, Turn, post, until
from tests.gateway.test_balancers import BALANCER, behind
from tests.ports import free_port

PHONES = ("127.0.0.5", "127.0.0.6")

DEFAULTS = """\
global
    stats socket {folder}/stats level admin
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""
TCP = """\
listen gateway
    mode tcp
    bind 127.0.0.1:{port}
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host gateway
    http-check expect status 200
    server one 127.0.0.1:{gateway} source {source} send-proxy-v2{options} check check-ssl check-send-proxy verify none inter 200ms
"""
VERSION_1 = """\
listen gateway
    mode tcp
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{gateway} source {source} send-proxy
"""
HTTP = """\
listen gateway
    mode http
    bind 127.0.0.1:{port} ssl crt {folder}/both.pem
    option forwardfor
    http-reuse always
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host gateway
    http-check expect status 200
    server one 127.0.0.1:{gateway} source {source} check inter 200ms{options}
"""


class HAProxy:
    """A running one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def server_state(self) -> str:
        """How it holds the gateway to be: UP, DOWN or MAINT."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.folder / "stats"))
            peer.sendall(b"show stat\n")
            text = b"".join(iter(lambda: peer.recv(65_536), b"")).decode()
        head, *rows = [line.split(",") for line in text.removeprefix("# ").splitlines() if line]
        (row,) = [dict(zip(head, row, strict=False)) for row in rows if row[1] == "one"]
        return {"no check": "UP"}.get(row["status"], row["status"].partition(" ")[0])


def read(path: str) -> bytes:
    """What is in a file."""
    return Path(path).read_bytes()


@contextlib.asynccontextmanager
async def haproxy(stand: Stand, text: str, *, options: str = "", number: int = 0) -> AsyncIterator[HAProxy]:
    """HAProxy before this listener of the gateway, once it holds that to be up."""
    folder = stand.folder / "haproxy"
    folder.mkdir()
    (folder / "both.pem").write_bytes(b"".join(map(read, stand.certificates.pair("gateway"))))
    port, gateway = free_port(), stand.settings.gateway.listeners[number].port
    filled = (DEFAULTS + text).format(folder=folder, port=port, gateway=gateway, source=BALANCER, options=options)
    (folder / "haproxy.cfg").write_text(filled)
    command = [
        shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy",
        "-db",
        "-f",
        str(folder / "haproxy.cfg"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - it returns at once
    made = HAProxy(folder, port)
    try:
        await until(lambda: (folder / "stats").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        await until(lambda: made.server_state() == "UP")
        yield made
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def phone(
    stand: Stand, balancer: HAProxy, source: str = PHONES[0], context: ssl.SSLContext | None = None
) -> Device:
    """A phone's connection to the balancer from this address."""
    secure = context or ssl.create_default_context(cafile=stand.certificates.ca)
    async with asyncio.timeout(PATIENCE):
        made = Device(
            *await asyncio.open_connection(
                "127.0.0.1", balancer.port, ssl=secure, server_hostname="mail.lab.test", local_addr=(source, 0)
            )
        )
    stand.devices.append(made)
    return made


PROXIED: dict[str, Any] = {"proxy": "required", "balancers": (BALANCER,)}
PLAIN: dict[str, Any] = {"tls": False, "balancers": (BALANCER,), "forwarded_for": True}


@pytest.mark.parametrize("options", ["", " proxy-v2-options ssl,cert-cn,crc32c,unique-id,authority"])
async def test_a_tcp_balancer_tells_where_each_connection_comes_from(make_stand: MakeStand, options: str) -> None:
    """Row 159: the phones' own addresses are in the trail and at the backend; with every option that it may add."""
    stand = await behind(make_stand, PROXIED)
    async with haproxy(stand, TCP, options=options) as balancer:
        for source in PHONES:
            device = await phone(stand, balancer, source)
            assert (await device.ask(post("Sync", b"abc"))).status == 200
            await device.close()
        assert [seen.value("X-Forwarded-For") for seen in stand.backend.seen] == list(PHONES)
        lines = await stand.audit.wait(lambda lines: sum("command" in line for line in lines) == 4)
        assert [line["source"] for line in lines if "command" in line] == [one for one in PHONES for _ in (1, 2)]
        # Its health checks are its own (LOCAL), and need no device's words.
        assert {line["source"] for line in lines if line.get("reasons") == ["health"]} == {BALANCER}


async def test_a_balancer_that_ends_tls_reaches_the_plain_listener(make_stand: MakeStand) -> None:
    """Row 159 and seeds/002: requests of several phones on its few connections, each with its own address."""
    stand = await behind(make_stand, {}, PLAIN)
    async with haproxy(stand, HTTP, number=1) as balancer:
        devices = {source: await phone(stand, balancer, source) for source in PHONES}
        for _ in range(3):
            for device in devices.values():
                assert (await device.ask(post(extra="X-Forwarded-For: 6.6.6.6\r\n"))).status == 200
        assert [seen.values("X-Forwarded-For") for seen in stand.backend.seen] == [[one] for one in PHONES] * 3
        assert {seen.value("X-Forwarded-Proto") for seen in stand.backend.seen} == {"https"}


async def test_a_balancer_that_ends_tls_may_speak_the_proxy_protocol_too(make_stand: MakeStand) -> None:
    """Then each of its connections is one phone's."""
    stand = await behind(make_stand, {"tls": False, **PROXIED})
    async with haproxy(stand, HTTP, options=" send-proxy-v2 check-send-proxy") as balancer:
        for source in PHONES:
            device = await phone(stand, balancer, source)
            assert (await device.ask(post())).status == 200
        assert [seen.values("X-Forwarded-For") for seen in stand.backend.seen] == [[one] for one in PHONES]


@pytest.mark.parametrize("text", [TCP, HTTP])
async def test_quiesce_takes_the_gateway_out_of_the_balancer(make_stand: MakeStand, text: str) -> None:
    """Row 148: the balancer holds it to be down and sends nobody, what is held goes on; resume brings it back."""
    listener = PROXIED if text is TCP else PLAIN
    stand = await behind(make_stand, listener)
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(b"news")

    async with haproxy(stand, text) as balancer:
        stand.backend.script = wait
        device = await phone(stand, balancer)
        await device.send(post("Ping"))
        await stand.backend.wait_seen()
        control.call(stand.settings.paths.gateway_control, control.Quiesce())
        await until(lambda: balancer.server_state() == "DOWN")
        release.set()
        assert (await device.response()).body == b"news"
        control.call(stand.settings.paths.gateway_control, control.Resume())
        await until(lambda: balancer.server_state() == "UP")
        again = await phone(stand, balancer)
        assert (await again.ask(post())).status == 200


async def test_a_balancer_of_version_1_is_refused(make_stand: MakeStand) -> None:
    """A real header of version 1 is one audit line, and no request."""
    stand = await behind(make_stand, PROXIED)
    async with haproxy(stand, VERSION_1) as balancer:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await phone(stand, balancer)
    lines = await stand.audit.wait(lambda lines: any(line["event"] == "proxy_refused" for line in lines))
    assert {tuple(line["reasons"]) for line in lines if line["event"] == "proxy_refused"} == {("proxy_version_1",)}
    assert stand.backend.connections == 0
