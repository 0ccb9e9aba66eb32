"""NTLM and Negotiate through the gateway, with a real client and a real acceptor at either end."""

import asyncio
import base64
import os

import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import EAS_WBXML, Ask, encode_request
from tests.gateway.conftest import MakeStand
from tests.gateway.ntlm_server import USERS, Asked, NtlmClient, NtlmServer, log_on, no_canary, start
from tests.gateway.stand import PHONE, Device, Stand, Turn, basic, post
from tests.gateway.test_autodiscover import document
from tests.gateway.test_provisioning import say_no_policy, set_gateway

FOLDER_SYNC = Asked(post("FolderSync", b"abc", authorization=None, user="anna"))
OPTIONS = Asked(b"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n\r\n")
ANNA = basic("LAB\\anna", USERS["LAB\\anna"])
KERBEROS = base64.b64encode(bytes.fromhex("600b06092a864886f712010202")).decode()


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    """One that is not started yet."""
    return await make_stand(started=False)


@pytest.fixture
async def server(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> NtlmServer:
    """The NTLM server of the stand, whose gateway lets devices log on by NTLM, Negotiate and Basic."""
    return await start(stand, monkeypatch, "ntlm", "negotiate", "basic")


BARRIER = DeviceKey("BARRIER", "bert@lab.test")


async def heard(stand: Stand) -> None:
    """Until the worker has heard of all changes so far: changes are told in their order, and this is the last of them."""
    await stand.agent.put(BARRIER, State.BLOCKED, Reason.MANUAL)
    asked = post("Ping", version="12.1", device="BARRIER", authorization=basic("bert@lab.test"), user="bert")
    status = 0
    while status != 403:
        device = await stand.device()
        status = (await device.ask(asked)).status
        await device.close()


async def challenged(device: Device, asked: Asked, client: NtlmClient) -> str:
    """The backend's message, as the device gets it."""
    begun = await device.ask(asked(client.first()))
    assert begun.status == 401
    return begun.headers["www-authenticate"]


async def test_the_whole_of_a_first_contact(stand: Stand, server: NtlmServer) -> None:
    """Challenge, log-on, question; then the request, on the connection that has logged on, without any credentials."""
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    device = await stand.device()
    await device.send(FOLDER_SYNC(None))
    status, _ = await device.head()
    assert status == 401
    response, last = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    (ask,) = stand.agent.asked
    assert ask.key == PHONE
    first, second = stand.backend.probes
    (seen,) = stand.backend.seen
    assert {first.connection, second.connection, seen.connection} == {1}
    assert second.value("authorization") == last
    assert (first.target, first.values("connection")) == ("/Microsoft-Server-ActiveSync", [])
    assert (seen.method, seen.body, seen.values("authorization")) == ("POST", b"abc", [])
    lines = await stand.audit.count(6)
    assert [line["event"] for line in lines] == ["request", "outcome"] * 3
    ids = [line["id"] for line in lines]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 3
    assert [line.get("reasons", []) for line in lines[1::2]] == [["credentials_missing"], ["logon_begun"], []]
    assert [line.get("principal", "") for line in lines[2:]] == ["", "", "anna@lab.test", "anna@lab.test"]
    assert {line.get("device_id") for line in lines[2:]} == {"PHONE1"}
    no_canary(stand, USERS["LAB\\anna"], last.partition(" ")[2])


async def test_the_challenges_are_the_sites_in_its_order(stand: Stand, server: NtlmServer) -> None:
    """Also when the backend has refused the credentials; then nobody is asked."""
    device = await stand.device()
    await device.send(FOLDER_SYNC(None))
    raw = await device.reader.readuntil(b"\r\n\r\n")
    offers = [line for line in raw.split(b"\r\n") if line.lower().startswith(b"www-authenticate: ")]
    assert [line.split(b" ")[1] for line in offers] == [b"NTLM", b"Negotiate", b"Basic"]
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna", "wrong"))
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Basic realm=")  # the last of the three
    assert stand.agent.asked == []
    assert stand.backend.seen == []
    assert (await stand.audit.outcomes(3))[-1]["reasons"] == ["credentials_refused"]


async def test_a_connection_that_has_logged_on_needs_no_more_credentials(stand: Stand, server: NtlmServer) -> None:
    """Without them, or with the last message again, as clients do; all of it over the one connection."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    _, last = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    for authorization in (None, last, None):
        response = await device.ask(FOLDER_SYNC(authorization))
        assert (response.status, response.body) == (200, b"LAB\\anna")
    assert {seen.connection for seen in stand.backend.seen} == {1}
    assert [seen.values("authorization") for seen in stand.backend.seen] == [[]] * 4
    assert stand.backend.connections == 1
    (outcome,) = (await stand.audit.outcomes(5))[-1:]
    assert (outcome["principal"], outcome["action"]) == ("anna@lab.test", "allow")


@pytest.mark.parametrize("other", ["PHONE2", "PHONE10", "50484F4E4531"])
async def test_a_log_on_is_one_devices(stand: Stand, server: NtlmServer, other: str) -> None:
    """Another device gets nothing by it; and when it has logged on itself, nobody goes by the connection any more."""
    for device_id in ("PHONE1", other):
        await stand.agent.put(DeviceKey(device_id, PHONE.principal), State.ALLOWED)
    stranger = Asked(post("FolderSync", b"abc", authorization=None, user="anna", device=other))
    device = await stand.device()
    await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (await device.ask(stranger(None))).status == 401
    assert (await device.ask(OPTIONS(None))).status == 401
    assert (await device.ask(FOLDER_SYNC(None))).status == 200
    response, last = await log_on(device, stranger, NtlmClient("LAB\\anna"))
    assert response.status == 200
    assert (await device.ask(FOLDER_SYNC(None))).status == 401
    assert (await device.ask(stranger(None))).status == 401
    assert (await device.ask(stranger(last))).status == 200
    assert (await device.ask(FOLDER_SYNC(last))).status == 401
    assert [len(queries) for queries in server.devices.values()] == [1, 1]


async def test_a_user_that_is_someone_else_is_forbidden(stand: Stand, server: NtlmServer) -> None:
    """With the last message and on a connection that has logged on; the backend has no part in it."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    as_bert = Asked(post("FolderSync", authorization=None, user="bert@lab.test"))
    response, _ = await log_on(device, as_bert, NtlmClient("LAB\\anna"))
    assert response.status == 403
    assert stand.backend.seen == []
    assert len(stand.backend.probes) == 1
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert response.status == 200
    assert (await device.ask(as_bert(None))).status == 403
    assert len(stand.backend.seen) == 1


async def test_a_blocked_device_is_told_so_and_its_last_message_stays_here(stand: Stand, server: NtlmServer) -> None:
    """As with Basic: the backend is not asked for devices that may not pass."""
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    device = await stand.device()
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (response.status, response.body.hex(" ")) == (200, "03 01 6a 00 00 07 56 4c 03 31 32 39 00 01 01")
    assert [probe.value("authorization")[:20] for probe in stand.backend.probes] == ["NTLM TlRMTVNTUAABAAA"]
    assert stand.backend.seen == []


async def test_a_device_blocked_after_its_log_on_is_blocked_on_its_connection(stand: Stand, server: NtlmServer) -> None:
    """That it has logged on is no leave to pass."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    await heard(stand)
    count = len(stand.backend.seen)
    assert (await device.ask(FOLDER_SYNC(None))).body.endswith(b"129\x00\x01\x01")
    assert len(stand.backend.seen) == count


async def test_when_the_backends_connection_has_gone_so_has_the_log_on(stand: Stand, server: NtlmServer) -> None:
    """The device is challenged, and logs on anew; nothing is dialled for it without that."""
    await stand.agent.put(PHONE, State.ALLOWED)

    async def last_answer(turn: Turn) -> None:
        await server.script(turn)
        turn.writer.close()

    device = await stand.device()
    stand.backend.script = last_answer
    response, last = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert response.status == 200
    await stand.backend.lost.wait()
    stand.backend.script = server.script
    assert (await device.ask(FOLDER_SYNC(None))).status in (401, 503)  # 503: it crossed the end of that connection
    assert {(await device.ask(FOLDER_SYNC(authorization))).status for authorization in (None, last)} == {401}
    assert stand.backend.connections == 1
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (response.status, stand.backend.connections) == (200, 2)


async def test_a_backend_that_takes_a_log_on_back_is_believed(stand: Stand, server: NtlmServer) -> None:
    """Its 401 reaches the device with the site's challenges, and the connection is used no more."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    server.forget(1)
    response = await device.ask(FOLDER_SYNC(None))
    assert (response.status, response.body) == (401, b"401")
    assert response.headers["www-authenticate"].startswith('Basic realm="ActiveSync"')
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    assert stand.backend.seen[-1].connection == 2


async def test_the_last_message_without_a_first_one_begins_anew(stand: Stand, server: NtlmServer) -> None:
    """On another connection, say: the backend would not know what it answers."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device, other = await stand.device(), await stand.device()
    client = NtlmClient("LAB\\anna")
    last = client.last(await challenged(device, FOLDER_SYNC, client))
    assert (await other.ask(FOLDER_SYNC(last))).status == 401
    assert (await device.ask(FOLDER_SYNC(last))).status == 200
    assert (await stand.audit.outcomes(3))[1]["reasons"] == ["logon_lost"]


async def test_a_last_message_in_another_charset_than_the_backend_chose_is_refused(
    stand: Stand, server: NtlmServer
) -> None:
    """It would be read as two names: by us and by the backend."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    client = NtlmClient("LAB\\anna")
    message = bytearray(base64.b64decode(client.last(await challenged(device, FOLDER_SYNC, client))[5:]))
    message[60] ^= 1
    for place, name in ((28, b"LAB"), (36, b"anna")):  # the same names in the other charset, so that they can be read
        message[place : place + 4] = len(name).to_bytes(2, "little") * 2
        message[place + 4 : place + 8] = len(message).to_bytes(4, "little")
        message += name
    response = await device.ask(FOLDER_SYNC(f"NTLM {base64.b64encode(message).decode()}"))
    assert response.status == 401
    assert (await stand.audit.outcomes(2))[-1]["reasons"] == ["logon_contradicts"]
    assert len(stand.backend.probes) == 1


@pytest.mark.parametrize("wrapped", [True, False])
async def test_negotiate_carries_ntlm(stand: Stand, server: NtlmServer, *, wrapped: bool) -> None:
    """In SPNEGO and bare; the backend's last word comes with the answer, since clients check it."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    client = NtlmClient("LAB\\anna", scheme="Negotiate", wrapped=wrapped)
    response, _ = await log_on(device, FOLDER_SYNC, client)
    assert (response.status, response.body) == (200, b"LAB\\anna")
    if wrapped:
        client.finish(response.headers["www-authenticate"])
    assert client.context.complete
    response = await device.ask(FOLDER_SYNC(None))
    assert (response.status, "www-authenticate" in response.headers) == (200, False)


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (f"Negotiate {KERBEROS}", "kerberos_not_served"),
        ("Negotiate YII=", "negotiate_malformed"),
        ("NTLM YII=", "ntlm_malformed"),
        ("NTLM !", "credentials_malformed"),
        ("Digest x", "scheme_not_supported"),
        ("Bearer a.e30.b", "scheme_not_supported"),
    ],
)
async def test_what_is_no_log_on_is_challenged_and_no_backend_is_dialled(
    stand: Stand, server: NtlmServer, authorization: str, reason: str
) -> None:
    """With the reason in the audit line."""
    device = await stand.device()
    assert (await device.ask(FOLDER_SYNC(authorization))).status == 401
    assert (await stand.audit.outcomes(1))[0]["reasons"] == [reason]
    assert stand.backend.connections == 0


async def test_a_scheme_the_site_does_not_list_is_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the backend would take it."""
    await start(stand, monkeypatch, "basic")
    device = await stand.device()
    response = await device.ask(FOLDER_SYNC(NtlmClient("LAB\\anna").first()))
    assert (response.status, response.headers["www-authenticate"][:5]) == (401, "Basic")
    assert stand.backend.connections == 0


async def test_what_comes_with_the_first_message_is_read_and_dropped(stand: Stand, server: NtlmServer) -> None:
    """Within a bound, invited where the client waits for that, so that the connection can go on."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    client = NtlmClient("LAB\\anna")
    framing = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
    long = post("SendMail", authorization=client.first(), user="anna", extra=framing)
    await device.send(long)
    assert await device.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    for _ in range(3):
        await device.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
    await device.send(b"0\r\n\r\n")
    begun = await device.response()
    response = await device.ask(FOLDER_SYNC(client.last(begun.headers["www-authenticate"])))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    assert [seen.body for seen in stand.backend.seen] == [b"abc"]
    too_long = post("SendMail", b"x" * 262_145, authorization=NtlmClient("LAB\\anna").first(), user="anna")
    assert (await device.ask(too_long)).status == 413


async def refuses(turn: Turn) -> None:
    """A backend without NTLM."""
    await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: Basic realm="mail"\r\n')


async def lets_in(turn: Turn) -> None:
    """A backend that answers everybody's OPTIONS."""
    await turn.ok()


async def breaks(turn: Turn) -> None:
    """A backend whose message is none."""
    await turn.ok(status="401 Unauthorized", extra="WWW-Authenticate: NTLM TlRMTVNTUAADAAAA\r\n")


async def closes(turn: Turn) -> None:
    """A backend that keeps no connection."""
    message = base64.b64encode(b"NTLMSSP\0\2\0\0\0" + bytes(8) + b"\1" + bytes(11)).decode()
    await turn.ok(status="401 Unauthorized", extra=f"WWW-Authenticate: NTLM {message}\r\nConnection: close\r\n")


async def floods(turn: Turn) -> None:
    """A backend whose 401 does not end."""
    await turn.say(b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        await turn.say(b"1000\r\n" + b"x" * 4096 + b"\r\n")


async def hangs_up(turn: Turn) -> None:
    """A backend that says nothing."""
    turn.writer.close()


@pytest.mark.parametrize(
    ("probe", "status", "reason"),
    [
        (refuses, 401, "credentials_refused"),
        (lets_in, 503, "backend_undecided"),
        (breaks, 503, "backend_malformed"),
        (closes, 503, "backend_closes_logon"),
        (floods, 503, "backend_malformed"),
        (hangs_up, 503, "backend_closed"),
    ],
)
async def test_a_backend_that_does_not_go_on_with_a_log_on(  # type: ignore[no-untyped-def]
    stand: Stand, server: NtlmServer, probe, status: int, reason: str
) -> None:
    """Nobody is let in by it, least of all by a backend that vouches for everybody."""
    stand.backend.probe = probe
    device = await stand.device()
    assert (await device.ask(FOLDER_SYNC(NtlmClient("LAB\\anna").first()))).status == status
    assert (await stand.audit.outcomes(1))[0]["reasons"] == [reason]
    assert stand.backend.seen == []
    assert stand.agent.asked == []


async def test_options_and_the_devices_requests_log_on_each_for_itself(stand: Stand, server: NtlmServer) -> None:
    """An OPTIONS names no device, so its log-on is none of a device's."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    response, _ = await log_on(device, OPTIONS, NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    assert (await device.ask(OPTIONS(None))).status == 200
    assert (await device.ask(FOLDER_SYNC(None))).status == 401
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert response.status == 200
    assert [(await device.ask(asked(None))).status for asked in (OPTIONS, FOLDER_SYNC, OPTIONS)] == [200] * 3
    assert stand.backend.connections == 2


async def test_a_user_without_a_domain_is_one_of_the_default_domain(stand: Stand, server: NtlmServer) -> None:
    """As with Basic."""
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    device = await stand.device()
    asked = Asked(post("FolderSync", authorization=None, user="carla"))
    response, _ = await log_on(device, asked, NtlmClient("\\carla"))
    assert response.status == 200
    assert stand.agent.asked[0].key == DeviceKey("PHONE1", "carla@lab.test")


async def test_a_policy_of_ours_is_given_to_who_has_logged_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-on vouches; with a wrong password there is no policy."""
    secret = stand.folder / "fleet.key"
    secret.write_bytes(os.urandom(32))
    set_gateway(stand, policy=Policy(), fleet_secret=str(secret))
    await start(stand, monkeypatch, "ntlm")
    stand.backend.provision = say_no_policy
    await stand.agent.put(PHONE, State.ALLOWED)
    body = encode_request(Ask(EAS_WBXML, device=DeviceInformation(model="iPhone10C1")))
    provision = Asked(post("Provision", body, authorization=None, user="anna"))
    device = await stand.device()
    response, _ = await log_on(device, provision, NtlmClient("LAB\\anna", "wrong"))
    assert response.status == 401
    response, _ = await log_on(device, provision, NtlmClient("LAB\\anna"))
    assert (response.status, b"MS-EAS-Provisioning-WBXML" in response.body) == (200, True)
    response = await device.ask(provision(None))
    assert (response.status, b"MS-EAS-Provisioning-WBXML" in response.body) == (200, True)
    assert (await device.ask(FOLDER_SYNC(None))).status == 449
    assert stand.backend.seen == []


async def test_autodiscover_by_ntlm(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-on vouches; the document comes with the last message, and again with the first, which drops it."""
    set_gateway(stand, external_host="gw.lab.test")
    await start(stand, monkeypatch, "ntlm")
    body = document()
    head = "POST /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\n"
    asked = Asked(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    device = await stand.device()
    response, _ = await log_on(device, asked, NtlmClient("LAB\\anna", "wrong"))
    assert response.status == 401
    response, _ = await log_on(device, asked, NtlmClient("LAB\\anna"))
    assert (response.status, b"https://gw.lab.test/Microsoft-Server-ActiveSync" in response.body) == (200, True)
    assert stand.backend.seen == []


async def test_first_contact_of_a_connection_that_has_logged_on_needs_no_further_proof(
    stand: Stand, server: NtlmServer
) -> None:
    """The device was forgotten meanwhile: it is asked about again, over the same connection."""

    async def allow(ask: control.Ask) -> Record:
        return await stand.agent.put(ask.key, State.ALLOWED)

    stand.agent.answer = allow
    device = await stand.device()
    await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    await stand.agent.remove(PHONE)
    await heard(stand)
    probes = len(stand.backend.probes)
    assert (await device.ask(FOLDER_SYNC(None))).status == 200
    assert [ask.key for ask in stand.agent.asked if ask.key != BARRIER] == [PHONE, PHONE]
    assert len(stand.backend.probes) == probes
    assert {seen.connection for seen in stand.backend.seen if "PHONE1" in seen.target} == {1}


async def curl(stand: Stand, user: str, password: str, *urls: str) -> str:
    """What curl, as an NTLM client, says of each request: status, connections made for it, and the body."""
    place = f"mail.lab.test:{stand.port}"
    arguments = [
        "--silent",
        "--show-error",
        "--ntlm",
        "--user",
        f"{user}:{password}",
        "--cacert",
        stand.certificates.ca,
    ]
    arguments += ["--resolve", f"{place}:127.0.0.1", "--header", "MS-ASProtocolVersion: 14.1", "--data-binary", "abc"]
    arguments += ["--write-out", " %{http_code} %{num_connects}\n", "--max-time", "10"]
    process = await asyncio.create_subprocess_exec(
        "curl",
        *arguments,
        *(f"https://{place}/Microsoft-Server-ActiveSync?{url}" for url in urls),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode()


async def test_curl_logs_on_once_for_all_its_requests(stand: Stand, server: NtlmServer) -> None:
    """A client of another make; its names are of an OEM code page."""
    await stand.agent.put(PHONE, State.ALLOWED)
    url = "Cmd=Sync&User=anna&DeviceId=PHONE1&DeviceType=curl"
    said = await curl(stand, "LAB\\anna", USERS["LAB\\anna"], url, url, url)
    assert said.splitlines() == ["LAB\\anna 200 1", "LAB\\anna 200 0", "LAB\\anna 200 0"]
    assert [seen.body for seen in stand.backend.seen] == [b"abc"] * 3
    assert len(stand.backend.probes) == 2
    assert stand.backend.connections == 1


async def test_curl_with_a_wrong_password_and_as_another_user(stand: Stand, server: NtlmServer) -> None:
    """401, and 403."""
    await stand.agent.put(PHONE, State.ALLOWED)
    url = "Cmd=Sync&User={}&DeviceId=PHONE1&DeviceType=curl"
    assert (await curl(stand, "LAB\\anna", "wrong", url.format("anna"))).split()[-2] == "401"
    assert (await curl(stand, "LAB\\bert", USERS["LAB\\bert"], url.format("anna"))).split()[-2] == "403"
    assert stand.backend.seen == []
