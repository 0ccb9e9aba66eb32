"""The interactions of device, gateway and UEM, step by step as the commissioning documents number them (`docs/interactions.md`);
gateway, agent and UEM are real processes."""

import asyncio

import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import Reason, State
from sentry_runtime.uem.api import Decision
from tests.agent.stage import Stage
from tests.agent.test_policies import assign, register
from tests.agent.test_policy_to_device import STRICT, backend, provision, stage, status_of
from tests.agent.test_three_processes import device
from tests.gateway.stand import PATIENCE, PHONE, Backend, post

__all__ = ["backend", "stage"]  # fixtures


def uem_view(running: Stage) -> list[Decision]:
    """What an administrator sees at the UEM."""
    return list(control.call(running.paths.uem_admin, control.ListRegistered(), list[Decision]))


@pytest.mark.shows("stig 1", "stig 2", "stig 3", "stig 4", "stig 5a", "stig 6", "stig 7")
@pytest.mark.shows(
    "core 1", "core 2", "core 3", "core 4", "core 5", "core 6", "core 7", "cloud 1", "cloud 4", "cloud 5"
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
    assert len(backend.seen) == 1
    await phone.close()


@pytest.mark.shows("stig 1", "stig 2", "stig 3", "stig 4", "stig 5c", "stig 8", "core 4", "core 5", "core 7", "cloud 5")
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


@pytest.mark.shows("core again", "cloud again")
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
