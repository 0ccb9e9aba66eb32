"""What a UEM does to devices by being away, slow or wrong: nothing, on real processes and over hours of an injected clock."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.agent.circuit import BACKOFF_LAST_SECONDS, Circuit, LinkState
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.keeper import Keeper
from sentry_runtime.agent.questions import Questions
from sentry_runtime.agent.reconciler import Reconciler
from sentry_runtime.control import Ask
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.devices.store import Reader, Writer
from sentry_runtime.settings import Limits
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.link import UemLink
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage, open_connections, parted
from tests.agent.test_outages import set_state
from tests.agent.test_three_processes import device, status_of
from tests.clock import Clock
from tests.gateway.stand import PHONE, Backend, post
from tests.unit.agent.ears import Ears

OTHER = DeviceKey("BLOCKEDONE", "anna@lab.test")
HOUR = 3_600.0


async def decisions(stage: Stage) -> list[int]:
    """What a known device that may pass, a known one that may not and a stranger get."""
    return [
        await status_of(stage, post(device=one, version="12.1")) for one in (PHONE.device_id, OTHER.device_id, "NEW")
    ]


async def test_with_the_uem_gone_a_restart_of_agent_and_gateway_changes_no_decision(
    make_stage: MakeStage, backend: Backend
) -> None:
    """The persisted list is what decides."""
    stage = make_stage()
    stage.front(backend.port, throttle=None)
    uem = stage.uem()
    for key, state in ((PHONE, State.ALLOWED), (OTHER, State.BLOCKED)):
        await asyncio.to_thread(set_state, stage, key, state)
    agent = stage.agent()
    gateway = stage.start("gateway")
    await asyncio.to_thread(stage.wait, lambda: stage.status()["devices"] == 2)
    await asyncio.to_thread(uem.kill)
    before = await decisions(stage)
    assert before == [200, 403, 503]  # the stranger by the fail mode: blocked for now
    for process in (gateway, agent):
        assert await asyncio.to_thread(process.terminate) == 0
    stage.agent()
    stage.start("gateway")
    assert await decisions(stage) == before


Parts = tuple[DeviceList, Circuit, Questions, Keeper]


@contextlib.asynccontextmanager
async def parts(stage: Stage, folder: Path, clock: Clock, ears: Ears) -> AsyncIterator[Parts]:
    """An agent's list, circuit, questions and keeper on this clock, with a real link to the stage's UEM."""
    store = Writer(folder)
    devices = DeviceList(store, ears.announce, clock=clock)
    circuit = Circuit(clock, draw=lambda: 1.0)
    tls = client_context(stage.pki.client("agent"))
    async with UemLink(f"https://127.0.0.1:{stage.uem_port}", tls, 5.0) as link:
        questions = Questions(devices, link, circuit, "block", audit=ears.audit, clock=clock)
        keeper = Keeper(
            *(devices, link, circuit, questions),
            reconciler=Reconciler(devices, link, audit=ears.audit),
            resync_seconds=60.0,
            audit=ears.audit,
            clock=clock,
            draw=lambda: 0.5,
        )
        yield devices, circuit, questions, keeper
    await devices.close()
    store.close()
    await parted()


async def test_what_is_left_of_a_link_waits_for_the_good_bye_of_a_uem_that_stands_still(
    stage: Stage, tmp_path: Path
) -> None:
    """Else the socket were open when the test's loop ends, and whatever test the collector comes by would be told of it."""
    uem = stage.uem()
    folder = tmp_path / "part"
    folder.mkdir()
    async with parts(stage, folder, Clock(1_000_000.0), Ears()) as (_, circuit, _, keeper):
        await keeper.round()
        assert circuit.state is LinkState.UP
        assert len(open_connections()) == 1
        uem.popen.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.5, uem.popen.send_signal, signal.SIGCONT)
    assert open_connections() == []


async def test_an_hour_without_the_uem_with_a_restart_in_it_changes_no_decision(stage: Stage, tmp_path: Path) -> None:
    """By the injected clock, against a real port where nobody is: what is known stays, strangers get the fail mode, and the
    prober comes at most every half minute. The UEM that is back an hour later is believed at once."""
    uem = stage.uem()
    for key, state in ((PHONE, State.ALLOWED), (OTHER, State.BLOCKED)):
        await asyncio.to_thread(set_state, stage, key, state)
    folder, clock, ears = tmp_path / "hour", Clock(1_000_000.0), Ears()
    folder.mkdir()
    async with parts(stage, folder, clock, ears) as (devices, circuit, questions, keeper):
        await keeper.round()
        before = [devices.get(PHONE), devices.get(OTHER)]
        await asyncio.to_thread(uem.kill)
    began = clock.now
    while clock.now < began + HOUR:
        # Each time as after a restart.
        async with parts(stage, folder, clock, ears) as (devices, circuit, questions, keeper):
            for _ in range(20):
                await keeper.round()
                assert circuit.state is LinkState.DOWN
                assert keeper._wait() <= BACKOFF_LAST_SECONDS
                answers = [await questions.ask(Ask(key=key, device_type="iPhone")) for key in (PHONE, OTHER)]
                assert answers == before
                stranger = await questions.ask(Ask(key=DeviceKey("NEW", "anna@lab.test"), device_type="iPhone"))
                assert stranger.reasons == (Reason.UEM_UNREACHABLE,)
                clock.now += keeper._wait()
            assert devices.count == 2
    with contextlib.closing(Reader(folder)) as gateway:  # what a worker that starts now goes by
        assert [gateway.get(PHONE), gateway.get(OTHER)] == before
    stage.uem()
    await asyncio.to_thread(set_state, stage, OTHER, State.ALLOWED)
    async with parts(stage, folder, clock, ears) as (devices, circuit, questions, keeper):
        await keeper.round()
        record = devices.get(OTHER)
        assert record is not None
        assert (circuit.state, record.state) == (LinkState.UP, State.ALLOWED)


async def test_with_a_uem_that_does_not_answer_no_device_waits_longer_than_the_decision_may_take(
    make_stage: MakeStage, backend: Backend
) -> None:
    """The UEM's answer is let wait for longer than this test has patience: only the gateway's own time-out can have ended it.
    Meanwhile known devices go on, and afterwards the stranger is decided about."""
    stage = make_stage("allow")
    stage.front(backend.port, limits=Limits(decision_seconds=0.5), throttle=None)
    link = msgspec.structs.replace(stage.settings.agent.uem, timeout_seconds=120.0)
    stage.settings = msgspec.structs.replace(
        stage.settings, agent=msgspec.structs.replace(stage.settings.agent, uem=link)
    )
    uem = stage.uem()
    await asyncio.to_thread(set_state, stage, PHONE, State.ALLOWED)
    stage.agent()
    stage.start("gateway")
    await asyncio.to_thread(stage.wait, lambda: stage.status()["devices"] == 1)
    uem.popen.send_signal(signal.SIGSTOP)
    strangers = [post(device=f"NEW{number}", version="12.1") for number in range(20)]
    assert set(await asyncio.gather(*(status_of(stage, one) for one in strangers))) == {503}
    assert await status_of(stage, post(version="12.1")) == 200
    status = await asyncio.to_thread(stage.status)
    assert (status["by_fail_mode"], status["devices"]) == (0, 1)
    uem.popen.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):
        while await status_of(stage, strangers[0]) != 403:
            pass


@pytest.mark.parametrize("killed_after", [0, 1, 3, 7])
def test_kill_9_of_the_agent_in_the_middle_of_its_load_leaves_a_list_that_opens_clean(
    stage: Stage, killed_after: int
) -> None:
    """Whenever it comes: what is in the list is as the UEM says, the cursor stands behind nothing that is not there, and the next
    start has the rest."""
    keys = [DeviceKey(f"D{number:04}", f"u{number}@lab.test") for number in range(2_500)]
    stage.enrol(keys)
    stage.uem()
    agent = stage.agent()
    stage.wait(lambda: stage.status()["devices"] >= 200 * killed_after)
    agent.kill()
    with contextlib.closing(Writer(stage.paths.devices)) as store:
        held, after = [], None
        while page := store.iterate(after, 1_000):
            held += page
            after = page[-1].key
        assert [record.version for record in held] == list(range(1, len(held) + 1))
        assert store.cursor == len(held)
    stage.agent()
    stage.wait(lambda: stage.status()["digests"] == "equal")
    assert stage.status()["devices"] == len(keys)


async def test_a_device_that_waits_is_served_when_the_uem_answers_late_but_in_time(
    make_stage: MakeStage, backend: Backend
) -> None:
    """Slow is not wrong: one question, and the answer is taken."""
    stage = make_stage()
    stage.front(backend.port, limits=Limits(decision_seconds=8.0), throttle=None)
    link = msgspec.structs.replace(stage.settings.agent.uem, timeout_seconds=7.0)
    stage.settings = msgspec.structs.replace(
        stage.settings, agent=msgspec.structs.replace(stage.settings.agent, uem=link)
    )
    uem = stage.uem()
    stage.agent()
    stage.start("gateway")
    await asyncio.to_thread(stage.wait, lambda: stage.status()["link"] == "up")
    uem.popen.send_signal(signal.SIGSTOP)
    phone = await device(stage)
    await phone.send(post(version="12.1"))
    await asyncio.to_thread(stage.wait, lambda: stage.status()["questions_open"] == 1)
    uem.popen.send_signal(signal.SIGCONT)
    assert (await phone.response()).status == 403
    await phone.close()
    listed = await asyncio.to_thread(control.call, stage.paths.uem_admin, control.ListRegistered(), list[Decision])
    assert [one.device_id for one in listed] == [PHONE.device_id]
