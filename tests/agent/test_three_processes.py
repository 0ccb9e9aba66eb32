"""Gateway, agent and UEM together, all of them real processes: from an administrator's word to a device's connection."""

import asyncio

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.settings import Principals
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Decision
from tests.agent.conftest import MakeStage, start_three
from tests.agent.stage import Stage
from tests.gateway.stand import PATIENCE, PHONE, Backend, Device, Turn, basic, post


@pytest.fixture
def stage(trio: Stage) -> Stage:
    """UEM, agent and gateway run; nothing is registered."""
    return trio


@pytest.fixture
def crowded(make_stage: MakeStage, backend: Backend) -> Stage:
    """The same where two devices of a mailbox may pass, registered or not, and the site says how its users are named."""
    made = make_stage()
    assert made.settings.uem_server is not None
    made.settings = msgspec.structs.replace(
        made.settings,
        uem_server=msgspec.structs.replace(
            made.settings.uem_server, devices_per_mailbox=2, auto_block_unregistered=False
        ),
        principals=Principals(domains={"lab": "lab.test"}, default_domain="lab.test"),
    )
    return start_three(made, backend)


async def device(stage: Stage) -> Device:
    """A phone's connection."""
    port = stage.settings.gateway.listeners[0].port
    context = client_context(stage.pki.client(None))
    return Device(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


async def say(stage: Stage, request: control.Request) -> Decision:
    """An administrator's word at the UEM."""
    decision = await asyncio.to_thread(control.call, stage.paths.uem_admin, request, Decision)
    assert isinstance(decision, Decision)
    return decision


REGISTER = control.Register(device_id=PHONE.device_id, principal=PHONE.principal)
FOLDER_SYNC_NEEDED = "03 01 6a 00 00 0d 45 47 03 37 00 01 01"  # Ping, Status 7
BLOCK = control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.BLOCKED)


async def test_an_unregistered_device_is_blocked_until_an_administrator_registers_it(
    stage: Stage, backend: Backend
) -> None:
    """The backend sees its request only then, and no second first contact is needed."""
    phone = await device(stage)
    blocked = await phone.ask(post(version="12.1"))  # 12.1 is told by the HTTP status
    assert (blocked.status, backend.seen) == (403, [])
    follower = stage.follow()
    await say(stage, REGISTER)
    await asyncio.to_thread(follower.until, PHONE)
    follower.close()
    await phone.close()
    phone = await device(stage)
    allowed = await phone.ask(post())
    await phone.close()
    assert (allowed.status, len(backend.seen)) == (200, 1)
    assert stage.status()["questions"] == 1


async def test_a_block_cuts_the_ping_that_hangs(stage: Stage, backend: Backend) -> None:
    """The push goes through the agent to the worker: both sides of the exchange end, and the phone stays out."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    await say(stage, REGISTER)
    backend.script = hold
    phone = await device(stage)
    await phone.send(post("Ping", version="12.1"))
    await backend.wait_seen()
    await say(stage, BLOCK)
    assert (await phone.response()).body.hex(" ") == FOLDER_SYNC_NEEDED
    async with asyncio.timeout(PATIENCE):
        await backend.lost.wait()
    for again in (phone, await device(stage)):
        assert (await again.ask(post(version="12.1"))).status == 403
        await again.close()
    assert len(backend.seen) == 1


async def status_of(stage: Stage, request: bytes) -> int:
    """What one request on its own connection is answered."""
    phone = await device(stage)
    answer = await phone.ask(request)
    await phone.close()
    return answer.status


async def announced(stage: Stage, request: control.Request, *keys: DeviceKey) -> None:
    """An administrator's word that the workers have heard of, for all these entries."""
    follower = stage.follow()
    await say(stage, request)
    await asyncio.to_thread(follower.until, *keys)
    follower.close()


async def test_a_word_on_a_windows_name_is_a_word_on_the_phone_that_logs_in_with_it(stage: Stage) -> None:
    """However the administrator and the phone write it; and a name that nobody can have is refused."""
    phone = post(version="12.1", authorization=basic("CORP\\Anna"), user="anna")
    await say(stage, control.Register(device_id="phone1", principal="corp\\ANNA"))
    assert await status_of(stage, phone) == 200
    block = control.SetState(device_id="phone1", principal="CORP\\Anna", state=State.BLOCKED)
    await announced(stage, block, DeviceKey("PHONE1", "anna@corp"))
    assert await status_of(stage, phone) == 403
    with pytest.raises(ControlError, match="invalid: a principal is `user`, `user@domain` or `DOMAIN"):
        await say(stage, control.Register(device_id="phone1", principal="anna smith"))


async def test_a_block_of_one_spelling_stops_a_phone_whose_other_spellings_were_registered(
    stage: Stage, backend: Backend
) -> None:
    """The id in hex and the person without a domain: both were registered before any contact, neither passes any more."""
    twin = DeviceKey(b"PHONE1".hex().upper(), PHONE.principal)
    bare = DeviceKey("PHONE1", "anna")
    for key in (PHONE, twin, bare):
        await say(stage, control.Register(device_id=key.device_id, principal=key.principal))
    spellings = (
        post(version="12.1", device=twin.device_id),
        post(version="12.1", authorization=basic("anna"), user="anna"),
    )
    assert [await status_of(stage, spelling) for spelling in spellings] == [200, 200]
    await announced(stage, BLOCK, PHONE, twin, bare)
    assert [await status_of(stage, spelling) for spelling in spellings] == [403, 403]
    assert len(backend.seen) == 2


async def test_a_known_device_goes_on_while_agent_and_uem_are_dead(stage: Stage, backend: Backend) -> None:
    """The worker reads the list itself; a new device gets 503 and may come again."""
    await say(stage, REGISTER)
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    for process in stage.running[:2]:
        process.kill()
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    stranger = await device(stage)
    unknown = await stranger.ask(post(device="STRANGER1"))
    await stranger.close()
    assert (unknown.status, "retry-after" in unknown.headers) == (503, True)
    stage.agent()
    phone = await device(stage)
    assert (await phone.ask(post())).status == 200
    await phone.close()
    assert len(backend.seen) == 3


def flag(cause: Reason, *, holds: bool) -> control.Flag:
    """Something is wrong with the phone, or no longer."""
    return control.Flag(device_id=PHONE.device_id, principal=PHONE.principal, cause=cause, holds=holds)


@pytest.mark.shows("stig 5a", "core 5a", "core breach")
async def test_two_causes_block_and_clearing_one_keeps_the_block(stage: Stage) -> None:
    """Feature rows 11 and 48: from the UEM through the agent to the gateway, and the explanation names what is left."""
    phone = post(version="12.1")
    await say(stage, REGISTER)
    assert await status_of(stage, phone) == 200
    await announced(stage, flag(Reason.COMPROMISED, holds=True), PHONE)
    await announced(stage, flag(Reason.OS_VERSION, holds=True), PHONE)
    assert await status_of(stage, phone) == 403
    await announced(stage, flag(Reason.COMPROMISED, holds=False), PHONE)
    assert await status_of(stage, phone) == 403
    asked = control.Explain(device_id="phone1", principal="Anna@Lab.test")
    said = await asyncio.to_thread(control.call, stage.settings.paths.gateway_control, asked, control.Explanation)
    assert (said.action, said.reasons, said.decided_by) == ("block", ("os_version",), "blocked")
    await announced(stage, flag(Reason.OS_VERSION, holds=False), PHONE)
    assert await status_of(stage, phone) == 200


async def test_what_an_administrator_says_by_hand_stands_above_every_cause(stage: Stage) -> None:
    """Feature row 13, in both directions: Allow against a cause, Block although there is none."""
    phone = post(version="12.1")
    await say(stage, REGISTER)
    assert await status_of(stage, phone) == 200
    await announced(stage, flag(Reason.COMPROMISED, holds=True), PHONE)
    allow = control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.ALLOWED)
    await announced(stage, allow, PHONE)
    assert await status_of(stage, phone) == 200
    await announced(stage, BLOCK, PHONE)
    word = await say(stage, flag(Reason.COMPROMISED, holds=False))  # nothing to announce: it is blocked all the same
    assert (word.state, word.reasons) == (State.BLOCKED, (Reason.MANUAL,))
    assert await status_of(stage, phone) == 403
    with pytest.raises(ControlError, match="`cause` is one of compromised"):
        await say(stage, flag(Reason.MANUAL, holds=True))


@pytest.mark.shows("core breach")
async def test_a_posture_that_changes_cuts_what_hangs(stage: Stage, backend: Backend) -> None:
    """Feature row 11: the UEM learns that the device is compromised; its Ping ends at once."""

    async def hold(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    await say(stage, REGISTER)
    backend.script = hold
    phone = await device(stage)
    await phone.send(post("Ping"))
    await backend.wait_seen()
    await say(stage, flag(Reason.COMPROMISED, holds=True))
    assert (await phone.response()).body.endswith(b"\x03129\x00\x01\x01")
    await phone.close()


NAMES = ("anna@lab.test", "LAB\\anna", "anna", "\\Anna", "anna@lab", "lab.test\\ANNA")


@pytest.mark.shows("stig 5b", "core 5b")
async def test_many_first_contacts_of_one_mailbox_at_once_get_two_places(crowded: Stage, backend: Backend) -> None:
    """Under every form of the name; those beyond are told so in the words of their version."""
    phones = [await device(crowded) for _ in range(12)]
    for number, phone in enumerate(phones):
        name = NAMES[number % len(NAMES)]
        version = "12.1" if number % 2 else "14.1"
        await phone.send(post(device=f"D{number}", authorization=basic(name), user="anna", version=version))
    answers = [await phone.response() for phone in phones]
    passed = [(answer.status, answer.body) == (200, b"") for answer in answers]
    assert passed.count(True) == 2
    for number, answer in enumerate(answers):
        if not passed[number]:
            assert answer.status == (403 if number % 2 else 200)
            assert number % 2 or b"177" in answer.body
        await phones[number].close()
    assert len(backend.seen) == 2
    listed = crowded.listed()
    assert {record.key.principal for record in listed} == {"anna@lab.test"}
    assert sorted(record.reasons for record in listed) == [()] * 2 + [(Reason.MAILBOX_LIMIT,)] * 10


async def test_a_removed_device_makes_room_for_the_next(crowded: Stage, backend: Backend) -> None:
    """Whoever has waited longest, within the time of a push; what is allowed by hand needs no room."""
    for number, status in ((1, 200), (2, 200), (3, 403), (4, 403)):
        assert await status_of(crowded, post(device=f"D{number}", version="12.1")) == status
    blob = "eQAJBAJEMQAGaVBob25l"  # Sync in 12.1 of the device of the bytes "D1"
    who = basic("LAB\\anna")
    head = f"POST /Microsoft-Server-ActiveSync?{blob} HTTP/1.1\r\nHost: a\r\nAuthorization: {who}\r\n"
    assert await status_of(crowded, f"{head}Content-Length: 0\r\n\r\n".encode()) == 200
    allow = control.SetState(device_id="D4", principal="LAB\\Anna", state=State.ALLOWED, reasons=())
    await announced(crowded, allow, DeviceKey("D4", "anna@lab.test"))
    assert await status_of(crowded, post(device="D4", version="12.1")) == 200
    assert await status_of(crowded, post(device="D3", version="12.1")) == 403
    remove = control.Remove(device_id="D2", principal="anna")
    await announced(crowded, remove, DeviceKey("D2", "anna@lab.test"), DeviceKey("D3", "anna@lab.test"))
    assert await status_of(crowded, post(device="D3", version="12.1")) == 200
    assert await status_of(crowded, post(device="D2", version="12.1")) == 403


async def test_every_form_of_a_users_name_is_one_device_in_the_list(crowded: Stage, backend: Backend) -> None:
    """And one question; the administrator's word under yet another form is about it."""
    for name in NAMES:
        assert await status_of(crowded, post(authorization=basic(name), user="anna")) == 200
    assert [record.key for record in crowded.listed()] == [PHONE]
    assert crowded.status()["questions"] == 1
    await announced(crowded, control.SetState(device_id="phone1", principal="Lab\\ANNA", state=State.BLOCKED), PHONE)
    for name in NAMES:
        assert await status_of(crowded, post(authorization=basic(name), user="anna", version="12.1")) == 403


@pytest.mark.shows("core 2", "core 3")
async def test_a_hundred_first_requests_at_once_are_one_entry_and_one_question(
    crowded: Stage, backend: Backend
) -> None:
    """Each on a connection of its own."""
    phones = [await device(crowded) for _ in range(100)]
    for phone in phones:
        await phone.send(post())
    assert {(await phone.response()).status for phone in phones} == {200}
    for phone in phones:
        await phone.close()
    assert [record.key for record in crowded.listed()] == [PHONE]
    assert crowded.status()["questions"] == 1
    assert len(backend.seen) == 100
