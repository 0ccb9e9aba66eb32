"""Log-ons that the backend refuses rest: no more of them reach it for a while."""

import asyncio

import pytest

from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.settings import Limits
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.ntlm_server import Asked, NtlmClient, log_on, start
from tests.gateway.stand import PHONE, Stand, Turn, basic, post, until
from tests.gateway.test_autodiscover import ask, document

ANNA = "LAB\\anna"
SYNC = Asked(post("Sync", authorization=None, user="anna"))
FEW = {"logons_refused_per_source": 4.0, "logons_refused_per_principal": 2.0}


def few(**more: float) -> Limits:
    """The stand's limits, with few attempts."""
    return with_limits(**{name: int(value) for name, value in (FEW | more).items()})


async def wants_the_right_password(turn: Turn) -> None:
    """As a server behaves."""
    await turn.body()
    right = turn.seen.value("Authorization") in (basic(), basic("bert@lab.test"), basic("cleo@lab.test"))
    await turn.ok(
        status="200 OK" if right else "401 Unauthorized", extra="" if right else "WWW-Authenticate: Basic\r\n"
    )


async def guarded(make_stand: MakeStand, **more: float) -> Stand:
    """A stand whose backend looks at passwords."""
    stand = await make_stand(limits=few(**more))
    stand.backend.script = stand.backend.probe = wants_the_right_password
    return stand


def wrong(user: str = "anna@lab.test", device: str = "PHONE1", guess: str = "guess") -> bytes:
    """A request with another password."""
    return post(user=user, device=device, authorization=basic(user, guess))


async def test_strangers_who_try_one_name_are_told_to_wait_before_the_backend_hears_of_them(
    make_stand: MakeStand,
) -> None:
    """First contacts: each attempt is a probe; then 503 with the time, which is in the trail and in the counters."""
    stand = await guarded(make_stand)
    device = await stand.device()
    statuses = [(await device.ask(wrong(guess=f"guess{number}"))).status for number in range(4)]
    assert (statuses, len(stand.backend.probes)) == ([401, 401, 503, 503], 2)
    response = await device.ask(wrong())
    assert 1 <= int(response.headers["retry-after"]) <= 30
    lines = await stand.audit.count(11)
    (rest,) = [line for line in lines if line["event"] == "logons_rest"]
    assert (rest["source"], rest["principal"]) == ("127.0.0.1", "anna@lab.test")
    assert (rest["reasons"], rest["count"]) == (["refused_principal"], 30)
    assert [line["reasons"] for line in lines if line["event"] == "outcome"][2:] == [["logons_rest"]] * 3
    # Another name from there is not concerned.
    assert (await device.ask(wrong("dora@lab.test"))).status == 401


async def test_attempts_on_a_known_device_count_too(make_stand: MakeStand) -> None:
    """Its requests are relayed, and so is the backend's 401; its owner, who is logged on, goes on."""
    stand = await guarded(make_stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    owner, stranger = await stand.device(), await stand.device()
    assert (await owner.ask(post())).status == 200
    statuses = [(await stranger.ask(wrong(guess=f"guess{number}"))).status for number in range(4)]
    assert statuses == [401, 401, 503, 503]
    assert (await owner.ask(post())).status == 200
    again = await stand.device()
    assert (await again.ask(post())).status == 200
    assert len(stand.backend.seen) == 5


async def test_a_stranger_who_rests_learns_no_password_from_the_gateway(make_stand: MakeStand) -> None:
    """The right one is told to wait like any other, from a device that never had it and without a device (Autodiscover)."""
    stand = await make_stand(limits=few(), external_host="mail.lab.test")
    stand.backend.script = stand.backend.probe = wants_the_right_password
    await stand.agent.put(PHONE, State.ALLOWED)
    owner, stranger = await stand.device(), await stand.device()
    assert (await owner.ask(post())).status == 200
    assert (await owner.ask(ask(document("anna@lab.test")))).status == 200
    for number in range(2):
        assert (await stranger.ask(wrong(device="PHONE2", guess=f"guess{number}"))).status == 401
    count = stand.backend.connections
    for right in (post(device="PHONE2"), ask(document("anna@lab.test"))):
        assert (await stranger.ask(right)).status == 503
    assert stand.backend.connections == count
    assert (await owner.ask(post())).status == 200


@pytest.mark.parametrize("device", ["PHONE1", "PHONE2"])
async def test_all_attempts_at_once_are_no_more_than_one_after_the_other(make_stand: MakeStand, device: str) -> None:
    """On a known device (relayed) and on an unknown one (probes): the backend has no more of them than the limit."""
    stand = await guarded(make_stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    go = asyncio.Event()

    async def slowly(turn: Turn) -> None:
        await go.wait()
        await wants_the_right_password(turn)

    stand.backend.script = stand.backend.probe = slowly
    strangers = [await stand.device() for _ in range(8)]
    asked = [
        asyncio.create_task(one.ask(wrong(device=device, guess=f"guess{number}")))
        for number, one in enumerate(strangers)
    ]
    await until(lambda: sum(one.done() for one in asked) == 6)
    go.set()
    assert sorted([(await one).status for one in asked]) == [401] * 2 + [503] * 6
    assert len(stand.backend.seen) + len(stand.backend.probes) == 2


async def test_who_hangs_up_before_the_answer_has_tried_all_the_same(make_stand: MakeStand) -> None:
    """The backend has heard of it, and may lock the name; credentials that were good before are no attempt."""
    stand = await guarded(make_stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    owner = await stand.device()
    assert (await owner.ask(post())).status == 200

    async def never(turn: Turn) -> None:
        await turn.body()
        await asyncio.Event().wait()

    stand.backend.script = never
    for number, request in enumerate([post(), post(), post(), wrong(guess="guess"), wrong(guess="another")]):
        stranger = await stand.device()
        await stranger.send(request)
        await stand.backend.wait_seen(number + 2)
        stranger.writer.transport.abort()
        await until(lambda number=number: stand.status()["cut"] == number + 1)  # type: ignore[misc] # a default value
    stand.backend.script = wants_the_right_password
    another = await stand.device()
    assert (await another.ask(wrong(guess="a third"))).status == 503
    assert (await another.ask(post())).status == 200
    lines = await stand.audit.wait(lambda lines: any(line["event"] == "logons_rest" for line in lines))
    assert [line["reasons"] for line in lines if line["event"] == "logons_rest"] == [["refused_principal"]]


async def test_a_source_that_tries_many_names_rests(make_stand: MakeStand) -> None:
    """Also for names it has not tried yet; credentials that were good before pass."""
    stand = await guarded(make_stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(post())).status == 200
    names = [f"user{number}@lab.test" for number in range(6)]
    statuses = [(await device.ask(wrong(name))).status for name in names]
    assert (statuses, len(stand.backend.probes)) == ([401] * 4 + [503] * 2, 4)
    assert (await device.ask(post())).status == 200
    lines = await stand.audit.wait(lambda lines: any(line["event"] == "logons_rest" for line in lines))
    assert [line["reasons"] for line in lines if line["event"] == "logons_rest"] == [["refused_source"]]


async def test_a_success_clears(make_stand: MakeStand) -> None:
    """Who mistypes and then gets it right starts anew."""
    stand = await guarded(make_stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    requests = [wrong(), post(), wrong(guess="again"), post(), wrong(guess="and again")]
    assert [(await device.ask(data)).status for data in requests] == [401, 200, 401, 200, 401]


async def logging_on(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, **more: float) -> Stand:
    """A stand whose backend authenticates connections, and takes Basic."""
    stand = await make_stand(started=False, limits=few(**more))
    await start(stand, monkeypatch, "ntlm", "negotiate", "basic")
    await stand.agent.put(PHONE, State.ALLOWED)
    return stand


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
async def test_the_steps_of_a_log_on_are_no_refusals(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """NTLM and Negotiate answer 401 with their next token; so does a request without credentials."""
    stand = await logging_on(make_stand, monkeypatch)
    for _ in range(4):
        device = await stand.device()
        assert (await device.ask(SYNC(None))).status == 401
        response, _ = await log_on(device, SYNC, NtlmClient(ANNA, scheme=scheme))
        assert response.status == 200
    await until(lambda: stand.status()["requests"] == 12)
    assert stand.status()["logons_refused"] == 0


async def test_log_ons_of_a_connection_that_are_refused_count(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message stays here while its name rests; who has logged on before goes on, with and without that message."""
    stand = await logging_on(make_stand, monkeypatch)
    owner, stranger = await stand.device(), await stand.device()
    _, last = await log_on(owner, SYNC, NtlmClient(ANNA))
    for status in (401, 401, 503):
        response, _ = await log_on(stranger, SYNC, NtlmClient(ANNA, "wrong"))
        assert response.status == status
    assert len(stand.backend.probes) == 2 + 2 + 2 + 1
    assert (await stranger.ask(SYNC(basic(ANNA, "guess")))).status == 503
    assert [(await owner.ask(SYNC(authorization))).status for authorization in (None, last, None)] == [200] * 3
    lines = await stand.audit.wait(lambda lines: any(line["event"] == "logons_rest" for line in lines))
    (rest,) = [line for line in lines if line["event"] == "logons_rest"]
    assert (rest["principal"], rest["reasons"]) == (PHONE.principal, ["refused_principal"])


async def test_a_source_that_rests_begins_no_log_on(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first message names nobody, and no backend hears of it."""
    stand = await logging_on(make_stand, monkeypatch)
    device = await stand.device()
    for number in range(4):
        assert (await device.ask(wrong(f"user{number}@lab.test"))).status == 401
    count = len(stand.backend.probes)
    assert (await device.ask(SYNC(NtlmClient(ANNA).first()))).status == 503
    assert len(stand.backend.probes) == count


async def test_a_log_on_of_a_connection_clears(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other success."""
    stand = await logging_on(make_stand, monkeypatch)
    for password, status in (("wrong", 401), (None, 200)) * 3:
        device = await stand.device()
        response, _ = await log_on(device, SYNC, NtlmClient(ANNA, password))
        assert response.status == status


@pytest.mark.parametrize("state", [State.BLOCKED, State.WIPED])
async def test_what_needs_no_backend_is_answered_as_ever(make_stand: MakeStand, state: State) -> None:
    """A blocked device is told so."""
    stand = await guarded(make_stand)
    await stand.agent.put(DeviceKey("PHONE2", "anna@lab.test"), state)
    device = await stand.device()
    assert [(await device.ask(wrong(guess=f"guess{number}"))).status for number in range(3)] == [401, 401, 503]
    blocked = post(device="PHONE2", version="12.1", authorization=basic(password="guess"))
    assert (await device.ask(blocked)).status == 403
