"""What goes wrong while a wipe is pending, and loses nothing of it."""

import asyncio
import os
import signal

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, WipeMark
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import EAS_WBXML, Ask, Response, WipeAcknowledgement, decode_response, encode_request
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, Stand, Turn, basic, post, until
from tests.gateway.test_provisioning import plain, set_gateway
from tests.gateway.wipe.asking import DONE, UNVERIFIED, VERIFIED, marked, marks, provision, say, take


async def test_the_device_hangs_up_with_its_acknowledgement_and_it_counts(stand: Stand) -> None:
    """It wipes itself without waiting for an answer."""
    release = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await turn.body()
        await release.wait()
        await turn.ok()

    stand.backend.probe = slow
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    await device.send(provision(DONE, authorization=basic()))
    await until(lambda: len(stand.backend.probes) == 1)
    await device.close()
    await marked(stand, UNVERIFIED)
    release.set()
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_new_settings_take_no_verification_with_them(stand: Stand) -> None:
    """The old worker stays, without any connection, until the backend has said what the acknowledgement is worth."""
    await stand.agent.order_wipe(PHONE)
    answer = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await answer.wait()
        await turn.ok()

    stand.backend.probe = slow
    device = await stand.device()
    assert (await device.ask(provision(WipeAcknowledgement(1), authorization=basic()))).status == 200
    await until(lambda: len(stand.backend.probes) == 1)
    await until(lambda: stand.status()["connections_now"] == 1)
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: stand.status()["workers_retired"] == 1)
    await device.close()
    await until(lambda: (stand.status()["connections"], stand.status()["connections_now"]) == (1, 0))
    answer.set()
    await until(lambda: WipeMark.VERIFIED in marks(stand))
    await until(lambda: stand.status()["workers_retired"] == 0)


async def test_the_agent_is_away_for_a_moment_and_the_device_waits(stand: Stand) -> None:
    """An agent restarts in a second."""
    await stand.agent.order_wipe(PHONE)
    await stand.agent.stop_socket()
    device = await stand.device()
    await device.send(provision(DONE, authorization=basic()))
    await until(lambda: len(stand.backend.probes) == 1)
    await stand.agent.start()
    assert decode_response((await device.response()).body) == Response(status=1)
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_the_agent_is_away_for_long_and_the_device_may_come_back(stand: Stand) -> None:
    """503; the worker goes on telling, and the device is refused all the time."""
    await stand.agent.order_wipe(PHONE)
    await stand.agent.stop_socket()
    device = await stand.device()
    answer = await device.ask(provision(DONE, authorization=basic()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert (await device.ask(post(version="12.1"))).status == 449
    await stand.agent.start()
    await marked(stand, UNVERIFIED, VERIFIED)


async def test_a_worker_killed_after_its_answer_has_lost_nothing(stand: Stand) -> None:
    """The acknowledgement was kept first; that nobody could verify it any more is what is seen of it."""

    async def never(turn: Turn) -> None:
        await turn.body()
        await turn.reader.read()

    stand.backend.probe = never
    await stand.agent.order_wipe(PHONE)
    device = await stand.device()
    assert await say(device, provision(DONE, authorization=basic())) == Response(status=1)
    (worker,) = stand.workers()
    os.kill(worker, signal.SIGKILL)
    assert marks(stand) == {UNVERIFIED}
    again = await stand.device()
    assert (await again.ask(post(version="12.1"))).status == 449


async def test_a_wipe_cancelled_while_the_body_comes_is_not_handed_out(stand: Stand) -> None:
    """The list has the last word; the request goes where it was meant to go."""
    await stand.agent.order_wipe(PHONE)
    device, request = await stand.device(), provision(Ask(), authorization=basic())
    end = request.index(b"\r\n\r\n") + 6
    await device.send(request[:end])
    await stand.audit.count(1)
    await stand.agent.put(PHONE, State.ALLOWED)
    other = await stand.device()
    async with asyncio.timeout(10):
        while (await other.ask(post(version="12.1"))).status != 200:
            pass
    assert (await device.ask(request[end:])).status == 200
    assert stand.backend.seen[-1].target.startswith("/Microsoft-Server-ActiveSync?Cmd=Provision&")
    assert stand.backend.seen[-1].body == encode_request(Ask())


async def test_a_wipe_ordered_while_the_gateways_own_policy_is_asked_for(make_stand: MakeStand) -> None:
    """The device gets the directive and no key of the policy."""
    stand = await make_stand(started=False)
    (stand.folder / "fleet.key").write_bytes(bytes(32))
    set_gateway(stand, policy=Policy(min_device_password_length=6), fleet_secret=str(stand.folder / "fleet.key"))
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)

    async def ordered_meanwhile(turn: Turn) -> None:
        await stand.agent.order_wipe(PHONE)
        await take(turn)

    stand.backend.probe = ordered_meanwhile
    device = await stand.device()
    offered = await say(device, provision(Ask(EAS_WBXML), authorization=basic()))
    assert offered.remote_wipe
    assert offered.policy is not None
    assert offered.policy.document == Policy()
    refused = await device.ask(plain("FolderSync", "14.1", offered.policy.key))
    assert (refused.status, b"\x03140\x00" in refused.body) == (449, True)


async def test_a_first_contact_may_be_of_a_device_that_is_to_be_wiped(stand: Stand) -> None:
    """Its entry was lost here; the UEM knows."""

    async def wipe(ask: control.Ask) -> Record:
        return await stand.agent.order_wipe(ask.key)

    stand.agent.answer = wipe
    device = await stand.device()
    assert (await say(device, provision(Ask(), authorization=basic()))).remote_wipe


async def test_an_entry_from_before_orders_were_kept_is_refused_and_gets_the_directive(stand: Stand) -> None:
    """Nothing can be kept of it; a wiped one is blocked."""
    stand.agent.put_silently(Record(key=PHONE, state=State.WIPE_PENDING, version=1, reasons=(Reason.MANUAL,)))
    device = await stand.device()
    assert (await device.ask(post(version="12.1"))).status == 449
    assert (await say(device, provision(Ask()))).remote_wipe
    assert await say(device, provision(DONE)) == Response(status=1)
    assert stand.agent.marked == []
    other = DeviceKey("PHONE2", PHONE.principal)
    stand.agent.put_silently(Record(key=other, state=State.WIPED, version=1))
    assert (await device.ask(post(device="PHONE2", version="12.1"))).status == 403
