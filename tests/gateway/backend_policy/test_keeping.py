"""What the gateway has kept of a device and the backend: over workers, restarts and losses, and no longer than the entry."""

import asyncio
import os
import signal

from sentry_runtime import control
from sentry_runtime.devices.record import Record, State
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask
from tests.gateway.backend_policy.conftest import PHONES, MakeEnforced
from tests.gateway.stand import PATIENCE, PHONE, until
from tests.gateway.test_provisioning import SAYS, key_in, packed, plain, provision, say


async def test_killed_workers_and_a_restart_lose_nothing(make_enforced: MakeEnforced) -> None:
    """The second phase may come to another worker than the first, and the key holds after all of them have gone."""
    stand, _ = await make_enforced(workers=2)
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    before = stand.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(set(stand.workers()) - set(before)) == 2)
    device = await stand.device()
    final = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert stand.process is not None
    stand.process.send_signal(signal.SIGTERM)
    assert await stand.ended() == 0
    stand.agent.following.clear()
    await stand.start()
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_two_workers_agree_at_once(make_enforced: MakeEnforced) -> None:
    """Whichever takes the connection: what one has had kept, the next request finds."""
    stand, _ = await make_enforced(workers=2)
    for _ in range(6):
        devices = [await stand.device() for _ in range(4)]
        temporary = key_in(await say(devices[0], plain, "14.1", Ask(EAS_WBXML, SAYS)))
        final = key_in(await say(devices[1], plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
        for device in devices:
            assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_what_is_lost_makes_the_device_provision_again(make_enforced: MakeEnforced) -> None:
    """And no more than that."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device)
    stand.agent.forget_silently(PHONE)
    await stand.agent.put(PHONE, State.ALLOWED)  # tells the worker to look again
    async with asyncio.timeout(PATIENCE):
        while (await device.ask(plain("FolderSync", "14.1", final))).status != 449:
            pass  # the word is on its way
    assert await provision(device) == final  # both policies are what they were
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"


async def test_what_is_kept_goes_with_the_entry(make_enforced: MakeEnforced) -> None:
    """A device that is let in anew begins anew."""
    stand, _ = await make_enforced()
    final = await provision(await stand.device())
    await stand.agent.remove(PHONE)
    assert stand.agent.held(PHONE) is None
    await stand.agent.put(PHONE, State.ALLOWED)
    assert (await (await stand.device()).ask(plain("FolderSync", "14.1", final))).status == 449


async def test_each_form_of_a_device_id_is_a_device_of_its_own_to_the_backend(make_enforced: MakeEnforced) -> None:
    """As it is in the list: one that changes its form provisions once more."""
    stand, _ = await make_enforced()
    device = await stand.device()
    final = await provision(device, plain)
    assert (await device.ask(packed("FolderSync", "14.1", final))).status == 449
    await provision(device, packed)
    assert stand.agent.held(PHONES[packed]) is not None


async def test_a_provision_may_be_the_first_contact(make_enforced: MakeEnforced) -> None:
    """The record is there before the backend's keys are."""
    stand, _ = await make_enforced()
    await stand.agent.remove(PHONE)

    async def allow(ask: control.Ask) -> Record:
        return await stand.agent.put(ask.key, State.ALLOWED)

    stand.agent.answer = allow
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"
