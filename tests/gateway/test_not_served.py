"""What no backend hears of: other paths, other methods, unknown commands, another protocol than HTTP/1.1 (rows 14, 15, 63)."""

import asyncio
import base64
import ssl

import pytest

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.query import COMMANDS
from tests.gateway.stand import PATIENCE, PHONE, Stand, basic, post

EAS = "/Microsoft-Server-ActiveSync"
QUERY = "Cmd=FolderSync&User=anna&DeviceId=PHONE1&DeviceType=iPhone"
METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "REPORT", "SEARCH", "LOCK", "BREW")
PATHS = (
    "/", "/owa/", "/owa/auth.owa", "/ecp/", "/EWS/Exchange.asmx", "/mapi/emsmdb/", "/mapi/nspi/", "/rpc/rpcproxy.dll", "/OAB/",
    "/PowerShell/", "/api/v2.0/me", "/SOGo/", "/SOGo/Microsoft-Server-ActiveSync", "/rpc.php", "/autodiscover/autodiscover.svc",
    f"{EAS}/", f"{EAS}/Proxy", f"{EAS}x", "/Microsoft-Server-ActiveSync.aspx", "/healthz", "/.well-known/caldav",
)  # fmt: skip


def asked(method: str, path: str, query: str = QUERY) -> bytes:
    """A request with good credentials."""
    head = f"{method} {path}?{query} HTTP/1.1\r\nHost: mail.lab.test\r\nAuthorization: {basic()}\r\n"
    return f"{head}MS-ASProtocolVersion: 14.1\r\nContent-Length: 0\r\n\r\n".encode()


async def test_only_options_and_post_are_activesyncs_methods(stand: Stand) -> None:
    """405, or 400 where llhttp knows no such method; of an allowed device with good credentials, too."""
    await stand.agent.put(PHONE, State.ALLOWED)
    for method in METHODS:
        status, headers = await _head(stand, asked(method, EAS))
        assert (method, status) in ((method, 405), (method, 400))
        assert status == 400 or headers["allow"] == "OPTIONS, POST"
    assert stand.backend.connections == 0
    assert (await _head(stand, asked("POST", EAS)))[0] == 200


async def _head(stand: Stand, request: bytes) -> tuple[int, dict[str, str]]:
    device = await stand.device()
    await device.send(request)
    return await device.head()


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_no_other_path_leads_to_a_backend(stand: Stand, method: str) -> None:
    """404, with an allowed device's query and its credentials."""
    await stand.agent.put(PHONE, State.ALLOWED)
    for path in PATHS:
        assert (path, (await _head(stand, asked(method, path)))[0]) == (path, 404)
    assert stand.backend.connections == 0


async def test_only_commands_that_are_known_reach_a_backend(stand: Stand) -> None:
    """By name and by code: every one of them, and 400 for any other."""
    for key in (PHONE, DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)):
        await stand.agent.put(key, State.ALLOWED)
    for command in ("Teleport", "", "Sync2", "Sync%20", "Autodiscover", "sync,Ping"):
        request = asked("POST", EAS, QUERY.replace("FolderSync", command))
        assert (command, (await _head(stand, request))[0]) == (command, 400)
    for number in [one for one in range(256) if one not in COMMANDS][::8]:
        blob = bytes((141, number, 9, 4, 6)) + b"PHONE1\0\6iPhone"
        request = asked("POST", EAS, base64.b64encode(blob).decode())
        assert (number, (await _head(stand, request))[0]) == (number, 400)
    assert stand.backend.connections == 0
    device = await stand.device()
    for command in COMMANDS.values():
        assert (await device.ask(post(command))).status == 200
    assert len(stand.backend.seen) == len(COMMANDS)


async def test_http_2_is_spoken_neither_with_devices_nor_with_backends(stand: Stand) -> None:
    """Row 63: who offers both gets HTTP/1.1, and the gateway offers a backend nothing else."""
    await stand.agent.put(PHONE, State.ALLOWED)
    context = ssl.create_default_context(cafile=stand.certificates.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    backend = stand.backend._context
    assert backend is not None
    backend.set_alpn_protocols(["h2", "http/1.1"])
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", stand.port, ssl=context, server_hostname="mail.lab.test"
        )
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.write(post("Sync", b"abc"))
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    assert stand.backend.seen[0].body == b"abc"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "raw",
    [
        "Jürgen@Lab.Test".encode(),
        "Ju\N{COMBINING DIAERESIS}rgen@lab.test".encode(),
        "JÜRGEN@lab.test".encode("latin-1"),
    ],
)
async def test_a_name_beyond_ascii_is_one_user_in_every_encoding(stand: Stand, raw: bytes) -> None:
    """Row 4: UTF-8 composed or not (RFC 7617), or the older Latin-1; what the backend gets is as it was sent."""
    sent = "Basic " + base64.b64encode(raw + b":secret").decode()
    device = await stand.device()
    await device.ask(post(authorization=sent, user="j%C3%BCrgen"))
    assert [ask.key for ask in stand.agent.asked] == [DeviceKey("PHONE1", "jürgen@lab.test")]
    assert [probe.value("Authorization") for probe in stand.backend.probes] == [sent]
