"""The interactions of device, gateway and UEM, step by step as the commissioning documents number them (`docs/interactions.md`);
gateway, agent and UEM are real processes."""

import asyncio

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import Reason, State
from sentry_runtime.eas.policy import TEMPORARY
from sentry_runtime.eas.provision import Ask
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Stage
from tests.agent.test_policies import assign, details, register
from tests.agent.test_policy_to_device import SITES, STRICT, provision, say, stage, status_of
from tests.agent.test_three_processes import device
from tests.gateway.stand import PATIENCE, PHONE, Backend, post

__all__ = ["stage"]  # a fixture


def uem_view(running: Stage) -> list[Decision]:
    """What an administrator sees at the UEM."""
    return list(control.call(running.paths.uem_admin, control.ListRegistered(), list[Decision]))


@pytest.mark.shows("stig 1", "stig 2", "stig 3", "stig 4", "stig 5a", "stig 6", "stig 7")
@pytest.mark.shows(
    "core 1", "core 2", "core 3", "core 4", "core 5a", "core 6", "core 7", "cloud 1", "cloud 4", "cloud 5"
)
async def test_a_first_attempt_of_a_device_that_may_pass(stage: Stage, backend: Backend) -> None:
    """From its first request to its mail, with the policy that the UEM wants on it."""
    stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    await asyncio.to_thread(assign, stage, PHONE, "strict")
    (before,) = await asyncio.to_thread(uem_view, stage)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    # It attempts; the gateway has it in its list, has told the UEM, and tells it that it may pass with a policy.
    assert await status_of(phone, 0) == (449, b"142")
    (listed,) = await asyncio.to_thread(stage.listed)
    assert (listed.key, listed.state) == (PHONE, State.ALLOWED)
    (after,) = await asyncio.to_thread(uem_view, stage)
    assert (after.state, after.policy, before.policy) == (State.ALLOWED, STRICT, STRICT)
    assert backend.seen == []
    # It applies the policy and goes on with its mail.
    policy, key = await provision(phone)
    assert policy == STRICT
    assert await status_of(phone, key) == (200, b"")
    assert [seen.query.command for seen in backend.seen] == [
        "Provision",
        "FolderSync",
    ]  # whether it has a policy; then mail
    await phone.close()


@pytest.mark.shows("stig 1", "stig 2", "stig 3", "stig 4", "stig 5c", "stig 8", "core 4", "core 5c", "core 7 not")
@pytest.mark.shows("cloud 1", "cloud 4", "cloud 5 not")
async def test_a_first_attempt_of_a_device_that_nobody_has_registered(stage: Stage, backend: Backend) -> None:
    """It is in the gateway's list and in the UEM's view, blocked, and told so in the words of its version."""
    stage.uem()
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, 0) == (200, b"129")
    assert (await phone.ask(post(version="12.1"))).status == 403
    (listed,) = await asyncio.to_thread(stage.listed)
    assert (listed.state, listed.reasons) == (State.BLOCKED, (Reason.UNREGISTERED,))
    (seen,) = await asyncio.to_thread(uem_view, stage)
    assert (seen.device_id, seen.state, seen.registered) == (PHONE.device_id, State.BLOCKED, False)
    assert backend.seen == []
    await phone.close()


@pytest.mark.shows("stig again", "core again", "cloud again")
async def test_at_its_next_attempt_the_uem_is_not_asked(stage: Stage) -> None:
    """Not even when it is away: the list has what it said, and what it said since."""
    uem = stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    _, key = await provision(phone)
    assert await status_of(phone, key) == (200, b"")
    questions = stage.status()["questions"]
    await asyncio.to_thread(uem.kill)
    for _ in range(3):
        assert await status_of(phone, key) == (200, b"")
    await phone.close()
    again = await device(stage)
    assert await status_of(again, key) == (200, b"")
    assert stage.status()["questions"] == questions
    await again.close()


@pytest.mark.shows("core start 1", "core start 2", "core start 2b")
async def test_at_its_start_a_sentry_has_the_devices_with_their_policies(stage: Stage, backend: Backend) -> None:
    """Before any of them comes; one that is not among them is asked about as at its first attempt."""
    stage.uem()
    await asyncio.to_thread(register, stage, PHONE)
    await asyncio.to_thread(assign, stage, PHONE, "strict")
    stage.agent()
    async with asyncio.timeout(PATIENCE):
        while not (listed := await asyncio.to_thread(stage.listed)):
            pass
    assert [(one.key, one.state) for one in listed] == [(PHONE, State.ALLOWED)]
    assert listed[0].policy
    stage.start("gateway")
    phone = await device(stage)
    policy, key = await provision(phone)
    assert (policy, await status_of(phone, key)) == (STRICT, (200, b""))
    assert stage.status()["questions"] == 0
    assert (await phone.ask(post(device="STRANGER", version="12.1"))).status == 403
    assert stage.status()["questions"] == 1
    await phone.close()


@pytest.mark.shows("core away 1", "core away 2", "core away 3", "core away 3 state")
@pytest.mark.parametrize("state", [State.ALLOWED, State.BLOCKED, State.WIPE_PENDING])
async def test_what_was_let_in_while_the_uem_was_away_has_its_proper_state_after_the_resync(
    stage: Stage, backend: Backend, state: State
) -> None:
    """With the temporary policy until then; afterwards with its own, or with none of its mail any more, or wiped."""
    uem = unthrottled(stage).uem()
    await asyncio.to_thread(register, stage, PHONE)
    await asyncio.to_thread(assign, stage, PHONE, "strict")
    if state is not State.ALLOWED:
        await asyncio.to_thread(control.call, stage.paths.uem_admin, WORDS[state])
    await asyncio.to_thread(uem.kill)
    stage.agent()
    stage.start("gateway")
    phone = await device(stage)
    assert await status_of(phone, 0) == (449, b"142")
    policy, key = await provision(phone)
    assert (policy, await status_of(phone, key)) == (TEMPORARY, (200, b""))
    await phone.close()
    stage.uem()
    await until_told(stage, key, {State.ALLOWED: (449, b"143"), State.BLOCKED: BLOCKED}.get(state, (449, b"140")))
    (listed,) = await asyncio.to_thread(stage.listed)
    assert (listed.state, listed.provisional) == (state, False)
    served = len(backend.seen)
    phone = await device(stage)
    if state is State.ALLOWED:
        policy, key = await provision(phone)
        assert (policy, await status_of(phone, key)) == (STRICT, (200, b""))
        served = len(backend.seen)
    elif state is State.BLOCKED:
        assert await status_of(phone, key) == BLOCKED
    else:
        assert (await say(phone, Ask())).remote_wipe
    assert len(backend.seen) == served
    await phone.close()


async def until_told(stage: Stage, key: int, expected: tuple[int, bytes]) -> None:
    """Until a request with this key is answered so; each on a connection of its own, since what is at the backend when the
    word comes ends together with its connection."""
    answered = None
    async with asyncio.timeout(PATIENCE):
        while answered != expected:
            phone = await device(stage)
            answered = await status_of(phone, key)
            await phone.close()


BLOCKED = (200, b"129")
WORDS: dict[State, control.Request] = {
    State.BLOCKED: control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.BLOCKED),
    State.WIPE_PENDING: control.OrderWipe(device_id=PHONE.device_id, principal=PHONE.principal),
}


def unthrottled(stage: Stage) -> Stage:
    """The phone asks the same again and again until the answer is another one, which looks like a sync loop."""
    gateway = msgspec.structs.replace(stage.settings.gateway, throttle=None)
    stage.settings = msgspec.structs.replace(stage.settings, gateway=gateway)
    return stage


@pytest.fixture
def deaf(stage: Stage) -> Stage:
    """The stage where no push ever arrives: what the UEM pushes with is not accepted. Only the resync tells."""
    assert stage.settings.uem_server is not None
    server = msgspec.structs.replace(stage.settings.uem_server, push_tls=stage.pki.client("stranger"))
    link = msgspec.structs.replace(stage.settings.agent.uem, resync_seconds=0.2)
    agent = msgspec.structs.replace(stage.settings.agent, uem=link)
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=server, agent=agent)
    return unthrottled(stage)


@pytest.mark.shows("core resync state", "core resync policy", "core resync device", "core resync wipe")
@pytest.mark.shows("cloud breach", "cloud periodic", "cloud again")
async def test_what_no_push_has_told_the_periodic_resync_brings_to_the_device(deaf: Stage) -> None:
    """Allowed, with another policy, in breach and no longer, blocked, allowed, wiped: each by the next resync alone."""
    deaf.uem()
    deaf.agent()
    deaf.start("gateway")
    await until_told(deaf, 0, BLOCKED)
    await asyncio.to_thread(register, deaf, PHONE)
    await until_told(deaf, 0, (449, b"142"))
    phone = await device(deaf)
    policy, key = await provision(phone)
    assert (policy, await status_of(phone, key)) == (SITES, (200, b""))
    await phone.close()  # turned off, while its policy becomes another one
    await asyncio.to_thread(assign, deaf, PHONE, "strict")
    await asyncio.to_thread(deaf.wait, lambda: details(deaf, PHONE).policy == STRICT)
    await until_told(deaf, key, (449, b"143"))
    phone = await device(deaf)
    policy, key = await provision(phone)
    assert (policy, await status_of(phone, key)) == (STRICT, (200, b""))
    await phone.close()
    breach = control.Flag(device_id=PHONE.device_id, principal=PHONE.principal, cause=Reason.COMPROMISED, holds=True)
    over = msgspec.structs.replace(breach, holds=False)
    allow = control.SetState(device_id=PHONE.device_id, principal=PHONE.principal, state=State.ALLOWED)
    for word, expected in (
        (breach, BLOCKED),
        (over, (200, b"")),
        (WORDS[State.BLOCKED], BLOCKED),
        (allow, (200, b"")),
        (WORDS[State.WIPE_PENDING], (449, b"140")),
    ):
        await asyncio.to_thread(control.call, deaf.paths.uem_admin, word)
        await until_told(deaf, key, expected)
    phone = await device(deaf)
    assert (await say(phone, Ask())).remote_wipe
    await phone.close()
    assert deaf.status()["pushes"] == 0
