"""Log-ons that belong to a connection, before several backends: which one hears the first message, and what becomes of a 451."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.settings import PassiveHealth
from tests.gateway.conftest import UNCHECKED, MakeStand
from tests.gateway.ntlm_server import SITE, Asked, NtlmClient, NtlmServer, log_on, start
from tests.gateway.stand import PHONE, Backend, Response, Stand, Turn, post, until
from tests.gateway.test_backends import allow, belongs, of_event, phone_of
from tests.gateway.test_redirects import MakeMoved, Moved, make_moved  # noqa: F401 - a fixture

ANNA = "anna@lab.test"
DOMAINS = msgspec.structs.replace(UNCHECKED, domains={"lab.test": ("mail1",)})


def asked(device: str = "PHONE1", user: str = "anna") -> Asked:
    """A request in the plain form."""
    return Asked(post("FolderSync", b"abc", authorization=None, user=user, device=device))


def packed(device: str = "PHONE1") -> Asked:
    """The same in the base64 form, which need not say whose it is."""
    blob = bytes((141, 9, 9, 4, len(device))) + device.encode() + b"\0\6iPhone"
    target = f"/Microsoft-Server-ActiveSync?{base64.b64encode(blob).decode()}"
    return Asked(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n".encode() + b"abc")


async def started(stand: Stand, monkeypatch: pytest.MonkeyPatch, *more: Backend) -> list[NtlmServer]:
    """Start the stand; each backend (and `more`) is an NTLM server of its own."""
    await start(stand, monkeypatch, "ntlm")
    servers = []
    for backend in (*stand.backends, *more):
        servers.append(NtlmServer())
        backend.script = backend.probe = servers[-1].script
    return servers


async def once(stand: Stand, ask: Asked, user: str = "LAB\\anna") -> Response:
    """A log-on over a connection of its own, and the answer to its last message."""
    response, _ = await log_on(await stand.device(), ask, NtlmClient(user))
    return response


async def reasons(stand: Stand, count: int) -> list[str]:
    """Of the last outcome, once there are so many."""
    found: Any = (await stand.audit.outcomes(count))[-1]["reasons"]
    assert isinstance(found, list)
    return found


# --- which one ----------------------------------------------------------------------------------------------------


async def test_a_log_on_is_taken_to_the_devices_own_backend(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that all its other requests go to."""
    stand = await make_stand(backends=3, started=False)
    await started(stand, monkeypatch)
    for number in range(3):
        phone = phone_of(stand, f"mail{number}")
        await allow(stand, phone)
        assert (await once(stand, asked(phone))).status == 200
    for backend in stand.backends:
        assert len(backend.probes) == 2
        assert [belongs(stand, one.target.partition("DeviceId=")[2].partition("&")[0]) for one in backend.seen] == [
            backend.name
        ]


@pytest.mark.parametrize("user", ["anna", "LAB%5Canna", "anna@lab.test"])
async def test_the_user_of_the_query_chooses_the_pool_that_hears_the_first_message(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """By the one name that the site has for that user; the default servers hear nothing."""
    stand = await make_stand(backends=2, routing=DOMAINS, started=False)
    await started(stand, monkeypatch)
    await allow(stand, "PHONE1")
    assert (await once(stand, asked(user=user))).status == 200
    assert [backend.connections for backend in stand.backends] == [0, 1]


async def test_a_log_on_that_began_at_a_server_of_others_ends_there_and_the_next_one_finds_its_own(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is named at first. The wrong server does not get the last message, and the device no 401."""
    stand = await make_stand(backends=2, routing=DOMAINS, started=False)
    wrong, right = await started(stand, monkeypatch)
    await stand.agent.put(DeviceKey(b"PHONE1".hex().upper(), ANNA), State.ALLOWED)
    response = await once(stand, packed())
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert await reasons(stand, 2) == ["logon_elsewhere"]
    assert (len(wrong.authorizations[1]), wrong.users) == (1, {})
    for _ in range(2):
        assert (await once(stand, packed())).status == 200
    assert [backend.connections for backend in stand.backends] == [1, 2]
    assert set(right.users.values()) == {"LAB\\anna"}


async def test_without_a_device_the_connection_remembers_whom_it_is_about(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OPTIONS that names nobody at all; other connections know nothing of it."""
    stand = await make_stand(backends=2, routing=DOMAINS, started=False)
    await started(stand, monkeypatch)
    options = Asked(b"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n\r\n")
    device = await stand.device()
    statuses = [(await log_on(device, options, NtlmClient("LAB\\anna")))[0].status for _ in range(2)]
    assert statuses == [503, 200]
    assert (await once(stand, options)).status == 503
    assert [backend.connections for backend in stand.backends] == [2, 1]


# --- what is seen of them -----------------------------------------------------------------------------------------


async def hangs_up(turn: Turn) -> None:
    """A backend that says nothing."""
    turn.writer.close()


async def silent(turn: Turn) -> None:
    """A backend that does not answer."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(("script", "reason"), [(hangs_up, "backend_closed"), (silent, "backend_timeout")])
async def test_a_log_on_that_gets_no_answer_counts_against_the_backend(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, script: Any, reason: str
) -> None:
    """The next one begins at another."""
    routing = msgspec.structs.replace(UNCHECKED, passive=PassiveHealth(failures=1, dead_seconds=3_600.0))
    stand = await make_stand(backends=2, routing=routing, started=False)
    await started(stand, monkeypatch)
    phone = phone_of(stand, "mail0")
    await allow(stand, phone)
    stand.backends[0].probe = script
    device = await stand.device()
    assert (await device.ask(asked(phone)(NtlmClient("LAB\\anna").first()))).status == 503
    assert (await once(stand, asked(phone))).status == 200
    assert [backend.connections for backend in stand.backends] == [1, 1]
    (line,) = of_event(await stand.audit.wait(lambda lines: bool(of_event(lines, "backend_down"))), "backend_down")
    assert (line["backend"], line["reasons"]) == ("mail0", [reason])


async def test_a_refused_log_on_is_nothing_against_the_backend(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: strangers send them. Nor is a device's first message, which is answered by 401 always."""
    routing = msgspec.structs.replace(UNCHECKED, passive=PassiveHealth(failures=1, dead_seconds=3_600.0))
    stand = await make_stand(backends=2, routing=routing, started=False)
    await started(stand, monkeypatch)
    for _ in range(3):
        response, _ = await log_on(await stand.device(), asked(), NtlmClient("LAB\\anna", "wrong"))
        assert response.status == 401
    assert of_event(stand.audit.lines(), "backend_down") == []
    assert sorted(backend.connections for backend in stand.backends) == [0, 3]


# --- 451 ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def moved(make_moved: MakeMoved) -> Moved:  # noqa: F811 - the fixture of that name
    """Not started yet; the old server accepts a log-on and then sends the device on."""
    made = await make_moved(started=False)
    assert isinstance(made, Moved)
    made.stand.settings = msgspec.structs.replace(made.stand.settings, principals=SITE)
    return made


@pytest.mark.parametrize("ask", [asked(), packed()])
async def test_a_451_to_a_last_message_is_remembered_and_the_next_log_on_is_the_new_servers(
    moved: Moved, monkeypatch: pytest.MonkeyPatch, ask: Asked
) -> None:
    """503, which the device answers by trying again, on a connection of its own or on this one."""
    old, _ = await started(moved.stand, monkeypatch, moved.elsewhere)
    old.location = moved.url
    for key in (PHONE, DeviceKey(b"PHONE1".hex().upper(), ANNA)):
        await moved.stand.agent.put(key, State.ALLOWED)
    response = await once(moved.stand, ask)
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert "localhost" not in str(response.headers)
    assert await reasons(moved.stand, 2) == ["backend_redirected"]
    for _ in range(2):
        response = await once(moved.stand, ask)
        assert (response.status, response.body) == (200, b"LAB\\anna")
    assert (moved.origin.connections, moved.elsewhere.connections) == (1, 2)
    assert (len(moved.origin.seen), len(moved.elsewhere.seen)) == (0, 2)
    (found,) = await listed(moved)
    assert (found.key, found.host) == (PHONE, "localhost")


async def listed(moved: Moved) -> list[control.Redirected]:
    """What is remembered, once something is."""
    await until(lambda: bool(moved.listed()))
    return moved.listed()


async def test_a_451_on_a_connection_that_has_logged_on_ends_the_log_on(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request cannot go on with it; the device is challenged, and is served by the new server."""
    old, _ = await started(moved.stand, monkeypatch, moved.elsewhere)
    device = await moved.stand.device()
    response, last = await log_on(device, asked(), NtlmClient("LAB\\anna"))
    assert response.status == 200
    old.location = moved.url
    response = await device.ask(asked()(None))
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert await reasons(moved.stand, 3) == ["backend_redirected"]
    assert [(await device.ask(asked()(again))).status for again in (None, last)] == [401, 401]
    assert moved.elsewhere.connections == 0
    response, _ = await log_on(device, asked(), NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    assert (await device.ask(asked()(None))).status == 200
    assert (moved.origin.connections, moved.elsewhere.connections) == (1, 1)


async def test_a_451_to_a_last_message_that_leads_nowhere_is_503(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a log-on: with the host in a line, and nothing is remembered."""
    old, _ = await started(moved.stand, monkeypatch, moved.elsewhere)
    old.location = "https://evil.test/Microsoft-Server-ActiveSync"
    response = await once(moved.stand, asked())
    assert (response.status, response.headers["retry-after"]) == (503, "30")
    assert await reasons(moved.stand, 2) == ["redirect_host"]
    (line,) = await moved.lines(2)
    assert (line["target"], line["principal"], line["action"]) == ("evil.test", ANNA, "deny")
    assert moved.listed() == []
