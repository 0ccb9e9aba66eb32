"""The other machines of sites/stig.yml, played at the host's ends of the lab's links: a log server that takes syslog over TLS,
time servers, a mail server, a receiver of SNMP traps, a mail backend, the OCSP responder of the lab's authorities, a directory.

They are as dumb as they can be: what is sent is taken and forgotten. Two know something: the responder, which says so on standard
error of each question, and the directory, which is OpenLDAP's server. `python -m images.lab.stand_ins CERTIFICATES SECRETS`
(two folders) runs them until it is ended, and says `ready` on standard output once all of them answer.
"""

import asyncio
import contextlib
import signal
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from aiosmtpd.smtp import SMTP

from images.lab import cards, devices, people, responder, slapd
from images.lab.zones import BACKEND, MANAGEMENT

LOG_PORT, MAIL_PORT, TRAP_PORT, NTP_PORT, BACKEND_PORT, RESPONDER_PORT = 6514, 2587, 162, 123, 443, 2560
DIRECTORY_PORT = 2636  # 636 is root's to open, and this server is not root
READ_BYTES = 65_536
READY = "ready"
ASKED = "the responder was asked by"
# RFC 5905 7.3: leap 0, version 4, mode 4 (server); stratum 2 as a server has that asks another.
_FLAGS, _STRATUM, _POLL, _PRECISION = 0x24, 2, 6, -20
_NTP = struct.Struct("!BBbbII4sQQQQ")
_SINCE_1900 = 2_208_988_800  # seconds from NTP's epoch to Unix's
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nMS-Server-ActiveSync: 14.1\r\n\r\n"
_NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class _Time(asyncio.DatagramProtocol):
    """NTP: this machine's clock, and no other."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # asyncio gives no other
        """Keep the way to answer."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a client's packet (mode 3); leave others."""
        if len(data) < _NTP.size or data[0] & 7 != 3:
            return
        asked = data[40:48]  # its transmit timestamp comes back as the origin
        now = _stamp(time.time())
        answer = _NTP.pack(
            _FLAGS,
            _STRATUM,
            _POLL,
            _PRECISION,
            0,
            1 << 4,
            b"\x7f\x00\x00\x01",
            now,
            int.from_bytes(asked, "big"),
            now,
            now,
        )
        self.transport.sendto(answer, addr)


class _Sink(asyncio.DatagramProtocol):
    """Whatever comes is taken."""


def _stamp(seconds: float) -> int:
    """NTP's 64 bits: seconds since 1900, and their fraction."""
    whole = int(seconds)
    return (whole + _SINCE_1900) << 32 | int((seconds - whole) * (1 << 32))


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(READ_BYTES):
            pass
    writer.close()


async def _mail_backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every request is answered with 200 and nothing, but Provision, which this server does not know."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            await reader.readexactly(length)
            writer.write(_NOT_HERE if "cmd=provision" in lines[0] else _ANSWER)
            await writer.drain()
    writer.close()


async def _responder(folder: Path, address: str) -> web.AppRunner:
    """OCSP over HTTP (RFC 6960 A.1): a POST each."""
    authorities = tuple(responder.authority(folder, name) for name in (cards.AUTHORITY, devices.AUTHORITY))

    async def answered(request: web.Request) -> web.Response:
        said = responder.answer(await request.read(), authorities, datetime.now(UTC).replace(microsecond=0))
        sys.stderr.write(f"{ASKED} {request.remote}\n")
        sys.stderr.flush()
        return web.Response(body=said, content_type="application/ocsp-response")

    app = web.Application()
    app.router.add_post("/", answered)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, RESPONDER_PORT).start()
    return runner


@contextlib.contextmanager
def _directory(folder: Path, secrets: Path, address: str) -> Iterator[None]:
    """LDAPS, with the lab's people."""
    pair = folder / "directory.pem", folder / "directory.key"
    with (
        slapd.folder() as place,
        slapd.serving(place, pair, people.contents(secrets), host=address, ldaps=DIRECTORY_PORT),
    ):
        yield


def _context(folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@asynccontextmanager
async def answering(folder: Path, secrets: Path) -> AsyncIterator[None]:
    """All of them, with the certificates in `folder` and the passwords in `secrets`. Raises `SlapdError`."""
    loop = asyncio.get_running_loop()
    management, backend = (str(zone.link.host_address) for zone in (MANAGEMENT, BACKEND))
    mail = _context(folder, "siem")
    async with AsyncExitStack() as held:
        for address, port, kind in (
            (management, NTP_PORT, _Time),
            (backend, NTP_PORT, _Time),
            (management, TRAP_PORT, _Sink),
        ):
            transport, _ = await loop.create_datagram_endpoint(kind, local_addr=(address, port))
            held.callback(transport.close)
        servers = [
            await asyncio.start_server(_swallow, management, LOG_PORT, ssl=_context(folder, "siem")),
            await asyncio.start_server(_mail_backend, backend, BACKEND_PORT, ssl=_context(folder, "mail")),
            await loop.create_server(
                lambda: SMTP(_Mail(), tls_context=mail, require_starttls=True), management, MAIL_PORT
            ),
        ]
        for server in servers:
            held.callback(server.close)
        held.push_async_callback((await _responder(folder, management)).cleanup)
        held.enter_context(_directory(folder, secrets, management))
        yield


class _Mail:
    """aiosmtpd's handler: a mail is taken."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:  # noqa: N802 - as aiosmtpd names it
        """One call for each mail."""
        return "250 2.0.0 taken"


async def _until_ended(folder: Path, secrets: Path) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with answering(folder, secrets):
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(_until_ended(Path(sys.argv[1]), Path(sys.argv[2])))
