"""An allowed, a blocked, an unknown and a nameless device, and what the backend and the audit trail see of them."""

import asyncio

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from tests.gateway.stand import PHONE, Stand, Turn, basic, post


async def test_an_allowed_device_reaches_the_backend_and_gets_its_answer(stand: Stand) -> None:
    """Query byte for byte, credentials and body unchanged; the answer's status, fields and body unchanged."""
    await stand.agent.put(PHONE, State.ALLOWED)

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(b"\x03\x01\x6a\x00", "X-MS-RP: 2.5,14.1\r\nContent-Type: application/vnd.ms-sync.wbxml\r\n")

    stand.backend.script = script
    device = await stand.device()
    response = await device.ask(post("FolderSync", b"\x03\x01\x6a\x00\x00\x07V\x52\x030\x00\x01\x01"))
    assert (response.status, response.body) == (200, b"\x03\x01\x6a\x00")
    assert response.headers["x-ms-rp"] == "2.5,14.1"
    (seen,) = stand.backend.seen
    assert seen.target == (
        "/Microsoft-Server-ActiveSync?Cmd=FolderSync&User=anna@lab.test&DeviceId=PHONE1&DeviceType=iPhone"
    )
    assert seen.value("Authorization") == basic()
    assert seen.value("Host") == f"backend.lab.test:{stand.backend.port}"
    assert seen.value("X-Forwarded-For") == "127.0.0.1"
    assert seen.body == b"\x03\x01\x6a\x00\x00\x07V\x52\x030\x00\x01\x01"
    assert stand.backend.probes == []
    assert stand.agent.asked == []


async def test_requests_of_one_device_share_one_backend_connection(stand: Stand) -> None:
    """The connection to the backend is kept with the device's own."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for _ in range(3):
        assert (await device.ask(post())).status == 200
    assert [seen.connection for seen in stand.backend.seen] == [1, 1, 1]
    other = await stand.device()
    assert (await other.ask(post())).status == 200
    assert stand.backend.seen[-1].connection == 2


async def test_a_blocked_device_gets_the_answer_of_its_version_and_the_backend_nothing(stand: Stand) -> None:
    """403 up to 12.1, Status 129 in the command's own document from 14.0 on."""
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    device = await stand.device()
    response = await device.ask(post("FolderSync", version="14.1"))
    assert (response.status, response.body.hex(" ")) == (200, "03 01 6a 00 00 07 56 4c 03 31 32 39 00 01 01")
    assert response.headers["content-type"] == "application/vnd.ms-sync.wbxml"
    response = await device.ask(post("FolderSync", version="12.1"))
    assert (response.status, response.body) == (403, b"")
    assert stand.backend.connections == 0


async def test_without_credentials_the_gateway_challenges_and_nobody_is_asked(stand: Stand) -> None:
    """401 with a Basic challenge; then the same connection goes on with credentials."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    response = await device.ask(post(body=b"x" * 100, authorization=None))
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith('Basic realm="')
    assert stand.backend.connections == 0
    assert stand.agent.asked == []
    assert (await device.ask(post(body=b"x" * 100))).status == 200


async def test_another_scheme_than_basic_is_challenged(stand: Stand) -> None:
    """Negotiate and NTLM are not served in this form."""
    device = await stand.device()
    assert (await device.ask(post(authorization="Negotiate YII="))).status == 401
    assert (await device.ask(post(authorization="Basic !!!"))).status == 401
    assert stand.backend.connections == 0


async def test_a_user_parameter_that_names_someone_else_is_forbidden(stand: Stand) -> None:
    """Who authenticates is who asks."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post(user="bert@lab.test"))).status == 403
    assert (await device.ask(post(user="anna"))).status == 200
    assert (await device.ask(post(user="LAB%5Canna"))).status == 200
    assert len(stand.backend.seen) == 2


async def test_what_is_not_activesync_is_not_found_and_never_forwarded(stand: Stand) -> None:
    """OWA, EWS, the root; and methods ActiveSync does not have."""
    device = await stand.device()
    for path in (
        "/",
        "/owa/",
        "/EWS/Exchange.asmx",
        "/Microsoft-Server-ActiveSync/x",
        "/Autodiscover/Autodiscover.xml",
    ):
        response = await device.ask(f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n\r\n".encode())
        assert (path, response.status) == (path, 404)
    response = await device.ask(b"GET /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (response.status, response.headers["allow"]) == (405, "OPTIONS, POST")
    assert stand.backend.connections == 0


async def test_the_path_is_taken_in_any_case_and_with_default_eas(stand: Stand) -> None:
    """The backend gets one spelling."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for path in ("/microsoft-server-activesync", "/MICROSOFT-SERVER-ACTIVESYNC/Default.eas"):
        asked = post().replace(b"/Microsoft-Server-ActiveSync", path.encode())
        assert (await device.ask(asked)).status == 200
    assert {seen.target.partition("?")[0] for seen in stand.backend.seen} == {"/Microsoft-Server-ActiveSync"}


async def test_options_without_a_device_is_forwarded_with_credentials_only(stand: Stand) -> None:
    """It names no device that could be judged; the backend's answer passes."""
    device = await stand.device()
    asked = "OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n{}\r\n"
    assert (await device.ask(asked.format("").encode())).status == 401
    response = await device.ask(asked.format(f"Authorization: {basic()}\r\n").encode())
    assert (response.status, response.headers["ms-asprotocolversions"]) == (200, "2.5,12.1,14.1")
    assert len(stand.backend.seen) == 1
    assert stand.agent.asked == []


async def test_health_is_answered_by_the_gateway(stand: Stand) -> None:
    """For balancers, without credentials."""
    device = await stand.device()
    assert (await device.ask(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"ok\n"
    assert stand.backend.connections == 0


async def test_first_contact_probes_the_credentials_and_asks_once(stand: Stand) -> None:
    """However many requests wait, the backend is probed and the agent asked once; then the device goes on."""

    async def allow(ask: control.Ask) -> Record:
        await asyncio.wait_for(three.wait(), 5)
        return await stand.agent.put(ask.key, State.ALLOWED)

    async def probe(turn: Turn) -> None:
        three.set()
        await turn.ok()

    three = asyncio.Event()
    stand.agent.answer = allow
    stand.backend.probe = probe
    devices = [await stand.device() for _ in range(3)]
    for device in devices:
        await device.send(post("FolderSync", b"abc"))
    assert [(await device.response()).status for device in devices] == [200, 200, 200]
    assert len(stand.backend.probes) == 1
    (ask,) = stand.agent.asked
    assert (ask.key, ask.device_type, ask.protocol) == (PHONE, "iPhone", "14.1")
    assert ask.user_agent == "Apple-iPhone10C1/1501.100"
    assert [seen.body for seen in stand.backend.seen] == [b"abc"] * 3


async def test_first_contact_with_refused_credentials_asks_nobody(stand: Stand) -> None:
    """The device gets a challenge, the agent no question."""

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: basic realm="SOGo"\r\n')

    stand.backend.probe = refuse
    device = await stand.device()
    response = await device.ask(post())
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Basic realm=")
    assert stand.agent.asked == []
    assert stand.backend.seen == []


async def test_an_unregistered_device_is_blocked_on_first_contact(stand: Stand) -> None:
    """By the agent's answer, and afterwards by the device list."""
    device = await stand.device()
    for _ in range(2):
        response = await device.ask(post("Sync"))
        assert (response.status, response.body.hex(" ")) == (200, "03 01 6a 00 45 4e 03 31 32 39 00 01 01")
    assert len(stand.agent.asked) == 1
    assert stand.backend.seen == []


async def test_the_base64_form_names_the_device_by_its_hex(stand: Stand) -> None:
    """As real servers do; the printable reading goes along as an alias, and the query passes byte for byte."""
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    device = await stand.device()
    query = "jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l"  # the example of MS-ASHTTP 2.2.1.1.1.1
    asked = f"POST /Microsoft-Server-ActiveSync?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n\r\n"
    assert (await device.ask(asked.encode())).status == 200
    (ask,) = stand.agent.asked
    assert ask.key == DeviceKey(b"v140Device".hex().upper(), "anna@lab.test")
    assert (ask.aliases, ask.device_type, ask.protocol) == (("V140DEVICE",), "SmartPhone", "14.0")
    assert stand.backend.seen[0].target == f"/Microsoft-Server-ActiveSync?{query}"
