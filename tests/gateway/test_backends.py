"""Several backends: who gets which, what becomes of one that is down, and how it is known to be."""

import asyncio
import base64
import ssl
from collections import Counter
from typing import Any

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.gateway.pools import Seat, pools
from sentry_runtime.settings import ActiveHealth, Backend, PassiveHealth, Routing
from tests.gateway.conftest import UNCHECKED, MakeStand
from tests.gateway.stand import Backend as Server
from tests.gateway.stand import Stand, Turn, basic, post, until

ANNA = "anna@lab.test"
QUICK = ActiveHealth(interval_seconds=1.0, timeout_seconds=5.0, rise=1, fall=1)
SOON = PassiveHealth(failures=1, dead_seconds=1.0)
PATIENT = PassiveHealth(failures=2, dead_seconds=3_600.0)  # what is down stays so for the length of a test


def belongs(stand: Stand, device: str, principal: str = ANNA) -> str:
    """The name of the backend that is this device's."""
    return pools(stand.settings.gateway).order(Seat(device, principal))[0].name


def phone_of(stand: Stand, backend: str, principal: str = ANNA) -> str:
    """A device that is this backend's."""
    return next(name for number in range(100) if belongs(stand, name := f"PHONE{number}", principal) == backend)


async def allow(stand: Stand, *devices: str, principal: str = ANNA) -> None:
    """Let these devices pass."""
    for device in devices:
        await stand.agent.put(DeviceKey(device, principal), State.ALLOWED)


async def asked(stand: Stand, device: str, command: str = "FolderSync", user: str = ANNA) -> int:
    """One request on a connection of its own; its status."""
    connection = await stand.device()
    return (await connection.ask(post(command, b"abc", device=device, user=user, authorization=basic(user)))).status


def with_backends(stand: Stand, change: Any) -> None:
    """Change each backend of the settings, before the gateway starts."""
    changed = tuple(change(number, one) for number, one in enumerate(stand.settings.gateway.backends))
    gateway = msgspec.structs.replace(stand.settings.gateway, backends=changed)
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)


async def down_and_back(stand: Stand, backend: Server) -> None:
    """Wait until it is known to be down, let it come back, and wait until that is known."""
    await until(lambda: stand.status()[f"backend.{backend.name}.down"] == 1)
    await backend.start(backend.port)
    await until(lambda: stand.status()[f"backend.{backend.name}.up"] == 1)


def of_event(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """The lines of one kind."""
    return [line for line in lines if line["event"] == event]


# --- which one ----------------------------------------------------------------------------------------------------


async def test_each_device_keeps_to_its_backend_over_connections_workers_and_restarts(make_stand: MakeStand) -> None:
    """And the devices are spread over all of them."""
    stand = await make_stand(backends=3, workers=2)
    phones = [f"PHONE{number}" for number in range(12)]
    await allow(stand, *phones)
    for _ in range(3):
        for phone in phones:
            assert await asked(stand, phone) == 200
    await until(lambda: stand.status()["requests"] == 36)
    for backend in stand.backends:
        served = Counter(seen.target.partition("DeviceId=")[2].partition("&")[0] for seen in backend.seen)
        assert served == {phone: 3 for phone in phones if belongs(stand, phone) == backend.name}
        assert served


async def test_both_forms_of_a_query_reach_the_same_backend(make_stand: MakeStand) -> None:
    """The text and the bytes of one device id, on connections of their own."""
    stand = await make_stand(backends=4)
    for number in range(8):
        phone = f"PHONE{number}"
        await allow(stand, phone, phone.encode().hex().upper())
        blob = bytes((141, 0, 9, 4, len(phone), *phone.encode(), 0, 6)) + b"iPhone"
        head = f"POST /Microsoft-Server-ActiveSync?{base64.b64encode(blob).decode()} HTTP/1.1\r\nHost: a\r\n"
        connection = await stand.device()
        assert (await connection.ask(f"{head}Authorization: {basic()}\r\n\r\n".encode())).status == 200
        assert await asked(stand, phone) == 200
        (server,) = [one for one in stand.backends if one.seen]
        assert (server.name, len(server.seen)) == (belongs(stand, phone), 2)
        server.seen.clear()


async def test_by_priority_the_second_serves_only_while_the_first_is_down(make_stand: MakeStand) -> None:
    """Over and back, without cutting what runs."""
    routing = Routing(scheduling="priority", passive=SOON, active=QUICK)
    stand = await make_stand(backends=2, routing=routing, started=False)
    with_backends(stand, lambda number, one: msgspec.structs.replace(one, priority=10 + number))
    await stand.start()
    phones = [f"PHONE{number}" for number in range(6)]
    await allow(stand, *phones)
    first, second = stand.backends
    for phone in phones:
        assert await asked(stand, phone) == 200
    assert (len(first.seen), len(second.seen)) == (6, 0)
    await first.stop()
    for phone in phones:
        assert await asked(stand, phone) == 200
    assert len(second.seen) == 6
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok(b"late")

    second.script = wait
    held = await stand.device()
    await held.send(post("Ping", device=phones[0]))
    await second.wait_seen(7)
    await down_and_back(stand, first)
    for phone in phones:
        assert await asked(stand, phone) == 200
    assert (len(first.seen), len(second.seen)) == (12, 7)
    release.set()
    assert (await held.response()).body == b"late"
    # The next request on that connection is one between which nothing runs: it goes where the device belongs.
    assert (await held.ask(post(device=phones[0]))).status == 200
    assert (len(first.seen), len(second.seen)) == (13, 7)


async def test_a_device_moves_while_its_backend_is_down_and_comes_back(make_stand: MakeStand) -> None:
    """Its request is carried by another one with its body, since nothing of it had been sent; the others' devices stay."""
    stand = await make_stand(backends=3, routing=Routing(passive=SOON, active=QUICK))
    phones = {one.name: phone_of(stand, one.name) for one in stand.backends}
    await allow(stand, *phones.values())
    gone = stand.backends[1]
    await gone.stop()
    for phone in phones.values():
        assert await asked(stand, phone, "Sync") == 200
    assert {seen.body for one in stand.backends for seen in one.seen} == {b"abc"}
    assert (len(gone.seen), sum(len(one.seen) for one in stand.backends)) == (0, 3)
    assert all(len(one.seen) >= 1 for one in stand.backends if one is not gone)
    await down_and_back(stand, gone)
    assert await asked(stand, phones["mail1"]) == 200
    assert len(gone.seen) == 1


# --- health -------------------------------------------------------------------------------------------------------


async def test_a_backend_that_is_down_is_known_to_be_before_any_device_asks(make_stand: MakeStand) -> None:
    """By the gateway's own checks, of every worker; then no request meets it, and the trail and `Status` say so."""
    stand = await make_stand(backends=2, workers=2, routing=Routing(active=QUICK))
    phone = phone_of(stand, "mail0")
    await allow(stand, phone)
    await stand.backends[0].stop()
    await until(lambda: stand.status()["backend.mail0.down"] == 2)
    status = stand.status()
    assert (status["backend.mail0.up"], status["backend.mail0.reason"]) == (0, "backend_refused")
    assert (status["backend.mail1.up"], status["backend.mail1.reason"]) == (2, "")
    assert await asked(stand, phone) == 200
    assert len(stand.backends[1].seen) == 1
    lines = await stand.audit.wait(lambda lines: len(of_event(lines, "outcome")) == 1)
    assert [(line["backend"], line["reasons"]) for line in of_event(lines, "backend_down")] == [
        ("mail0", ["backend_refused"])
    ] * 2
    assert stand.status()["backend_failures"] == 0


async def test_a_check_carries_no_credentials_and_takes_401_and_2xx_for_good(make_stand: MakeStand) -> None:
    """Anything else is not how an ActiveSync server answers; when it is mended the trail says that it is back."""
    stand = await make_stand(routing=Routing(passive=SOON, active=QUICK))
    backend = stand.backend
    await until(lambda: len(backend.checks) >= 2)
    (seen, *_) = backend.checks
    assert (seen.method, seen.target) == ("OPTIONS", "/Microsoft-Server-ActiveSync")
    assert [name.lower() for name, _ in seen.headers] == ["host", "user-agent", "connection"]
    assert stand.status()["backend.mail0.up"] == 1
    for status in ("404 Not Found", "503 Service Unavailable", "302 Found"):
        backend.check = answering(status)
        await until(lambda: stand.status()["backend.mail0.down"] == 1)
        assert stand.status()["backend.mail0.reason"] == f"backend_status_{status[:3]}"
        backend.check = answering("204 No Content" if status.startswith("404") else "401 Unauthorized")
        await until(lambda: stand.status()["backend.mail0.up"] == 1)
    lines = await stand.audit.wait(lambda lines: len(of_event(lines, "backend_up")) == 3)
    assert [(line["event"], line["reasons"]) for line in lines] == [
        ("backend_down", ["backend_status_404"]),
        ("backend_up", ["check_good"]),
        ("backend_down", ["backend_status_503"]),
        ("backend_up", ["check_good"]),
        ("backend_down", ["backend_status_302"]),
        ("backend_up", ["check_good"]),
    ]


def answering(status: str) -> Any:
    """A script that answers with this status."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(status=status)

    return script


async def silent(turn: Turn) -> None:
    """A script that never answers."""
    await turn.body()
    await asyncio.Event().wait()


async def test_a_backend_that_takes_connections_and_says_nothing_fails_its_checks(make_stand: MakeStand) -> None:
    """In time."""
    quicker = msgspec.structs.replace(QUICK, timeout_seconds=1.0)
    stand = await make_stand(routing=Routing(active=quicker))
    stand.backend.check = silent
    await until(lambda: stand.status()["backend.mail0.reason"] == "backend_timeout")


async def test_failed_requests_take_a_backend_out_of_use_also_without_checks(make_stand: MakeStand) -> None:
    """Its own 503s for two users: the second one's next request goes elsewhere."""
    stand = await make_stand(backends=2, routing=Routing(passive=PATIENT, active=None))
    users = (ANNA, "bert@lab.test")
    phone = phone_of(stand, "mail0")
    for user in users:
        await allow(stand, phone, principal=user)
    stand.backends[0].script = answering("503 Service Unavailable")
    assert [await asked(stand, phone, user=users[0]) for _ in range(3)] == [503, 503, 503]
    assert await asked(stand, phone, user=users[1]) == 503
    assert [await asked(stand, phone, user=user) for user in users] == [200, 200]
    assert (len(stand.backends[0].seen), len(stand.backends[1].seen)) == (4, 2)
    lines = await stand.audit.wait(lambda lines: bool(of_event(lines, "backend_down")))
    (line,) = of_event(lines, "backend_down")
    assert (line["backend"], line["reasons"]) == ("mail0", ["backend_status_503"])


async def test_a_backend_that_slows_one_device_down_is_no_worse_for_it(make_stand: MakeStand) -> None:
    """503 with `Retry-After` reaches the device, and the backend stays in use."""
    stand = await make_stand(backends=2, routing=Routing(passive=PATIENT, active=None))
    phone = phone_of(stand, "mail0")

    async def slow_down(turn: Turn) -> None:
        await turn.body()
        await turn.ok(
            status="503 Service Unavailable", extra="Retry-After: 60\r\nX-MS-ASThrottle: CommandFrequency\r\n"
        )

    stand.backends[0].script = slow_down
    for user in (ANNA, "bert@lab.test", "cora@lab.test"):
        await allow(stand, phone, principal=user)
        connection = await stand.device()
        response = await connection.ask(post(device=phone, user=user, authorization=basic(user)))
        assert (response.status, response.headers["retry-after"]) == (503, "60")
        assert response.headers["x-ms-asthrottle"] == "CommandFrequency"
    assert len(stand.backends[0].seen) == 3


async def test_an_end_that_a_request_crosses_is_no_failure_and_an_answer_that_never_comes_is(
    make_stand: MakeStand,
) -> None:
    """A connection that has served may end before the next request; one that is new owes an answer."""
    stand = await make_stand(backends=2, routing=Routing(passive=PATIENT, active=None))
    phone = phone_of(stand, "mail0")
    users = (ANNA, "bert@lab.test")

    async def once(turn: Turn) -> None:
        await turn.body()
        if turn.seen.target.startswith("/Microsoft-Server-ActiveSync?Cmd=FolderSync"):
            await turn.ok()
        else:
            turn.writer.close()

    stand.backends[0].script = once
    for user in users:
        await allow(stand, phone, principal=user)
        connection = await stand.device()
        for command, status in (("FolderSync", 200), ("Sync", 503)):
            asked_for = post(command, device=phone, user=user, authorization=basic(user))
            assert (await connection.ask(asked_for)).status == status
    assert [await asked(stand, phone, "Sync", user) for user in users] == [503, 503]
    assert [await asked(stand, phone, "Sync", user) for user in users] == [200, 200]
    lines = await stand.audit.wait(lambda lines: bool(of_event(lines, "backend_down")))
    assert [line["reasons"] for line in of_event(lines, "backend_down")] == [["backend_closed"]]


async def test_strangers_cannot_take_a_backend_away(make_stand: MakeStand) -> None:
    """Requests without a device, and probes, under as many names as one likes: all of them count as one."""
    stand = await make_stand(backends=2, routing=Routing(passive=PATIENT, active=None))
    broken = answering("502 Bad Gateway")
    for backend in stand.backends:
        backend.script = backend.probe = broken
    for number in range(8):
        user = f"stranger{number}@lab.test"
        head = "OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n"
        for request in (
            f"{head}Authorization: {basic(user)}\r\n\r\n".encode(),
            post(user=user, authorization=basic(user)),
        ):
            connection = await stand.device()
            assert (await connection.ask(request)).status in (502, 503)
    await until(lambda: stand.status()["requests"] == 16)
    assert [stand.status()[f"backend.mail{number}.up"] for number in (0, 1)] == [1, 1]


async def test_a_backend_that_came_back_is_found_by_one_check_when_its_dead_time_is_over(make_stand: MakeStand) -> None:
    """Where nothing is checked all the time; one request at a time tries it, and none of a device's."""
    stand = await make_stand(backends=2, routing=Routing(passive=SOON, active=None))
    phone = phone_of(stand, "mail0")
    await allow(stand, phone)
    first = stand.backends[0]
    await first.stop()
    assert await asked(stand, phone) == 200
    await first.start(first.port)
    await until(lambda: len(first.checks) == 1)
    lines = await stand.audit.wait(lambda lines: bool(of_event(lines, "backend_up")))
    assert of_event(lines, "backend_up")[0]["reasons"] == ["check_good"]
    assert await asked(stand, phone) == 200
    assert len(first.seen) == 1


async def test_the_only_backend_is_tried_however_often_it_failed(make_stand: MakeStand) -> None:
    """It is back for the first request that finds it, whatever its health says."""
    stand = await make_stand(routing=Routing(passive=PATIENT, active=None))
    await allow(stand, "PHONE1")
    await stand.backend.stop()
    assert [await asked(stand, "PHONE1") for _ in range(3)] == [503, 503, 503]
    await until(lambda: stand.status()["backend.mail0.down"] == 1)
    await stand.backend.start(stand.backend.port)
    assert await asked(stand, "PHONE1") == 200


# --- mail domains -------------------------------------------------------------------------------------------------


async def test_the_domain_of_the_user_chooses_the_backend(make_stand: MakeStand) -> None:
    """Requests, probes of first contact and Autodiscover's alike; a bare name and a strange domain have the others'."""
    routing = msgspec.structs.replace(UNCHECKED, domains={"one.test": ("mail0",), "two.test": ("mail1",)})
    stand = await make_stand(backends=3, routing=routing, external_host="gateway.lab.test")
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    served = {"anna@one.test": 0, "bert@two.test": 1, "cora@three.test": 2, "dora": 2, "TWO.test\\emil": 1}
    for number, (user, place) in enumerate(served.items()):
        name = user.replace("\\", "%5C")
        connection = await stand.device()
        asked = post(device=f"PHONE{number}", user=name, authorization=basic(user))
        assert (await connection.ask(asked)).status == 200
        assert (await connection.ask(discover(user))).status == 200
        seen, probes = stand.backends[place].seen, stand.backends[place].probes
        assert [one.value("Authorization") for one in (*seen, *probes)] == [basic(user)] * 3
        assert sum(len(one.seen) + len(one.probes) for one in stand.backends) == 3
        seen.clear()
        probes.clear()


def discover(user: str) -> bytes:
    """An Autodiscover request for the mailbox of this user."""
    body = (
        b'<?xml version="1.0" encoding="utf-8"?><Autodiscover '
        b'xmlns="http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"><Request>'
        b"<EMailAddress>someone@lab.test</EMailAddress><AcceptableResponseSchema>"
        b"http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
        b"</AcceptableResponseSchema></Request></Autodiscover>"
    )
    lines = (
        "POST /autodiscover/autodiscover.xml HTTP/1.1",
        "Host: a",
        "Content-Type: text/xml",
        f"Authorization: {basic(user)}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


# --- certificates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "name", "verdict"),
    [
        ("stranger", "backend.lab.test", "authority_unknown"),
        ("backend", "other.lab.test", "name_differs"),
    ],
)
async def test_a_backend_that_need_not_prove_who_it_is_is_served_and_told_of(
    make_stand: MakeStand, certificate: str, name: str, verdict: str
) -> None:
    """`verify: log`: each connection of a device or a probe has its line, the checks have none."""
    routing = Routing(active=QUICK)
    stand = await make_stand(certificate=certificate, routing=routing, started=False)
    with_backends(stand, lambda _, one: msgspec.structs.replace(one, server_name=name, verify="log"))
    await stand.start()
    await allow(stand, "PHONE1")
    for _ in range(2):
        connection = await stand.device()
        for _ in range(3):
            assert (await connection.ask(post())).status == 200
    await until(lambda: len(stand.backend.checks) >= 2)
    lines = await stand.audit.wait(lambda lines: len(of_event(lines, "outcome")) == 6)
    told = of_event(lines, "backend_untrusted")
    assert [(line["backend"], line["reasons"]) for line in told] == [("mail0", [verdict])] * 2
    assert stand.status()["backend.mail0.up"] == 1


async def test_a_good_certificate_is_no_news_where_none_is_asked_for(make_stand: MakeStand) -> None:
    """`verify: log` looks all the same."""
    stand = await make_stand(started=False)
    with_backends(stand, lambda _, one: msgspec.structs.replace(one, verify="log"))
    await stand.start()
    await allow(stand, "PHONE1")
    assert await asked(stand, "PHONE1") == 200
    assert of_event(await stand.audit.outcomes(1), "backend_untrusted") == []
    assert stand.backend.connections == 1


async def test_a_backend_with_two_certificates_shows_that_of_the_name_it_is_called_by(make_stand: MakeStand) -> None:
    """SNI: two backends of the settings at one address, each under a name of its own, each reached under it."""
    stand = await make_stand(backends=2, started=False)
    asked_for: list[str | None] = []
    contexts = {}
    for name in ("one.lab.test", "two.lab.test"):
        stand.certificates.issue(name, name)
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(*stand.certificates.pair(name))

    def choose(one: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        asked_for.append(name)
        one.context = contexts[name or "one.lab.test"]

    server = stand.backends[0]
    assert server._context is not None
    server._context.sni_callback = choose
    called = ("one.lab.test", "two.lab.test")

    def same_place(number: int, one: Backend) -> Backend:
        return msgspec.structs.replace(one, port=server.port, server_name=called[number])

    with_backends(stand, same_place)
    await stand.start()
    for number, name in enumerate(called):
        phone = phone_of(stand, f"mail{number}")
        await allow(stand, phone)
        assert await asked(stand, phone) == 200
        assert asked_for[-1] == name
        assert server.seen[-1].value("Host") == f"{name}:{server.port}"


async def test_a_backend_is_held_against_its_own_authorities_alone(make_stand: MakeStand) -> None:
    """Two backends of two authorities, each listed for one: swapped, neither is believed."""
    stand = await make_stand(backends=2, started=False)
    context = stand.backends[1]._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*stand.certificates.pair("stranger"))
    await stand.backends[1].stop()
    await stand.backends[1].start(stand.backends[1].port)
    strangers = str(stand.certificates.folder / "strangers.pem")

    def trusts(*bundles: str) -> Any:
        def change(number: int, one: Backend) -> Backend:
            assert one.tls is not None
            return msgspec.structs.replace(one, tls=msgspec.structs.replace(one.tls, trust=bundles[number]))

        return change

    with_backends(stand, trusts(stand.certificates.ca, strangers))
    await stand.start()
    phones = [phone_of(stand, "mail0"), phone_of(stand, "mail1")]
    await allow(stand, *phones)
    assert [await asked(stand, phone) for phone in phones] == [200, 200]
    assert [len(one.seen) for one in stand.backends] == [1, 1]
    with_backends(stand, trusts(strangers, stand.certificates.ca))
    stand.write_settings()
    assert stand.process is not None
    stand.process.send_signal(1)
    await until(lambda: "new settings are in force" in stand.log())
    assert [await asked(stand, phone) for phone in phones] == [503, 503]
    assert [len(one.seen) for one in stand.backends] == [1, 1]
