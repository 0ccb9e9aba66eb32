"""Outages, kills and lost messages, on real processes."""

import contextlib
import signal
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem_server.room import PER_PRINCIPAL
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage
from tests.full_queue import fill_queue

ANNA = DeviceKey("C1", "anna@lab.test")
BERT = DeviceKey("C2", "bert@lab.test")


def set_state(stage: Stage, key: DeviceKey, state: State) -> Decision:
    """An administrator's word."""
    message = control.SetState(device_id=key.device_id, principal=key.principal, state=state)
    decision = control.call(stage.paths.uem_admin, message, Decision)
    assert isinstance(decision, Decision)
    return decision


def test_a_thousand_requests_for_a_new_device_are_one_question_at_the_uem(stage: Stage) -> None:
    """Over a thousand real connections at once, as counted by the UEM itself."""
    stage.uem()
    stage.agent()
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: stage.ask(ANNA), range(1_000)))
    assert set(answers) == {answers[0]}
    assert stage.status()["questions"] == 1
    assert control.call(stage.paths.uem_admin, control.Status())["contacts"] == 1


@pytest.mark.shows("cloud away 1")
def test_fail_mode_block_blocks_while_the_uem_is_gone_and_keeps_nothing_of_it(stage: Stage) -> None:
    """When the UEM is back, the device's next contact is decided."""
    stage.agent()
    answer = stage.ask(ANNA)
    assert (answer.state, answer.reasons) == (State.BLOCKED, (Reason.UEM_UNREACHABLE,))
    assert (stage.listed(), stage.status()["link"]) == ([], "down")
    follower = stage.follow()
    stage.uem()
    set_state(stage, BERT, State.ALLOWED)
    follower.until(BERT)
    follower.close()


@pytest.mark.shows("core away 1", "core away 3 state", "cloud away 1")
def test_fail_mode_allow_admits_and_the_returned_uem_corrects_at_once(make_stage: MakeStage) -> None:
    """The follower hears of the correction, so that a worker can cut what the guess let in."""
    stage = make_stage("allow")
    stage.agent()
    guess = stage.ask(ANNA)
    assert (guess.state, guess.provisional) == (State.ALLOWED, True)
    assert stage.listed() == [guess]
    follower = stage.follow()
    stage.uem()
    follower.until(ANNA)
    follower.close()
    decided = stage.ask(ANNA)
    assert (decided.state, decided.provisional, decided.reasons) == (State.BLOCKED, False, (Reason.UNREGISTERED,))


def test_a_stopped_uem_process_is_unavailable_and_admits_nobody(make_stage: MakeStage) -> None:
    """Its kernel still accepts connections: that is slowness, not an outage, also for fail mode `allow`."""
    stage = make_stage("allow", timeout_seconds=3.0)
    uem = stage.uem()
    stage.agent()
    uem.popen.send_signal(signal.SIGSTOP)
    with pytest.raises(ControlError, match="unavailable: "):
        stage.ask(ANNA)
    assert stage.listed() == []
    uem.popen.send_signal(signal.SIGCONT)
    assert stage.ask(ANNA).state is State.BLOCKED


def test_a_stopped_uem_whose_accept_queue_is_full_admits_nobody(make_stage: MakeStage) -> None:
    """Not even TCP answers any more: whoever can bring that about gains no admission by it, in fail mode `allow` either."""
    stage = make_stage("allow", timeout_seconds=3.0)
    uem = stage.uem()
    stage.agent()
    uem.popen.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        assert fill_queue(stage.uem_port, stack) > 0
        with ThreadPoolExecutor(4) as pool:
            keys = [DeviceKey(f"R{number}", "eve@lab.test") for number in range(4)]
            asked = [pool.submit(stage.ask, key) for key in keys]
            refusals = [str(one.exception()) for one in asked]
        assert all(words.startswith("unavailable: ") for words in refusals), refusals
        assert (stage.listed(), stage.status()["by_fail_mode"]) == ([], 0)
        assert stage.status()["link"] != "down"
    uem.popen.send_signal(signal.SIGCONT)


def test_invented_device_ids_of_one_account_are_bounded_at_agent_and_uem(stage: Stage) -> None:
    """Further ones are refused and leave no row; an administrator's block of another device is there at once."""
    stage.uem()
    stage.agent()
    for number in range(PER_PRINCIPAL):
        stage.ask(DeviceKey(f"R{number}", "eve@lab.test"))
    for number in range(3):
        with pytest.raises(ControlError, match="unavailable: the UEM answered 429: too many unregistered devices"):
            stage.ask(DeviceKey(f"S{number}", "eve@lab.test"))
    assert stage.status()["devices"] == PER_PRINCIPAL
    follower = stage.follow()
    set_state(stage, BERT, State.BLOCKED)
    follower.until(BERT)
    follower.close()
    assert control.call(stage.paths.uem_admin, control.Status())["devices"] == PER_PRINCIPAL + 1


@pytest.mark.shows("stig again", "core again")
def test_known_devices_go_on_while_the_uem_is_gone(stage: Stage) -> None:
    """And its return is noticed without anybody asking."""
    uem = stage.uem()
    set_state(stage, ANNA, State.ALLOWED)
    stage.agent()
    known = stage.ask(ANNA)
    uem.kill()
    assert stage.ask(ANNA) == known
    assert stage.ask(BERT).reasons == (Reason.UEM_UNREACHABLE,)
    assert stage.ask(ANNA) == known


@pytest.mark.shows("core start 1", "core start 2")
def test_decisions_from_before_the_agents_start_are_loaded_page_by_page(stage: Stage) -> None:
    """More than a page of them; then no question is needed for any."""
    keys = [DeviceKey(f"D{number:04}", "anna@lab.test") for number in range(2_100)]
    stage.enrol(keys)
    stage.uem()
    with stage.audit() as trail:
        stage.agent()
        trail.until("uem_up")  # the end of the first round
    assert walk(stage) == keys
    assert stage.ask(keys[-1]).state is State.ALLOWED
    assert (stage.status()["questions"], stage.status()["devices"]) == (0, 2_100)


def walk(stage: Stage) -> list[DeviceKey]:
    """All keys of the device list, page by page."""
    keys: list[DeviceKey] = []
    while records := control.call(
        stage.paths.agent_socket,
        control.ListDevices(after=keys[-1] if keys else None, limit=300),
        list[dict[str, object]],
    ):
        keys += [msgspec.convert(record["key"], DeviceKey) for record in records]
    return keys


@pytest.mark.shows("core resync state")
def test_a_push_that_never_arrives_is_repaired_by_the_feed(make_stage: MakeStage) -> None:
    """The UEM's push certificate is not accepted here: only the resync can bring the block."""
    stage = make_stage(resync_seconds=0.2)
    assert stage.settings.uem_server is not None
    broken = msgspec.structs.replace(stage.settings.uem_server, push_tls=stage.pki.client("stranger"))
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=broken)
    stage.uem()
    stage.agent()
    follower = stage.follow()
    set_state(stage, ANNA, State.BLOCKED)
    follower.until(ANNA)
    follower.close()
    assert (stage.ask(ANNA).state, stage.status()["pushes"]) == (State.BLOCKED, 0)


def test_an_administrators_answer_does_not_wait_for_the_push(stage: Stage) -> None:
    """No agent runs; the change is made, its push waits, and the agent that starts later gets it."""
    stage.uem()
    set_state(stage, ANNA, State.BLOCKED)
    assert control.call(stage.paths.uem_admin, control.Status())["pushes_pending"] == 1
    stage.agent()
    answer = stage.ask(ANNA)
    assert (answer.state, answer.reasons) == (State.BLOCKED, (Reason.MANUAL,))


def test_kill_9_in_the_middle_of_first_contacts_loses_no_answered_one(stage: Stage) -> None:
    """Three times: what any client was told before the kill is there after it, with the UEM gone."""
    told: dict[DeviceKey, Record] = {}
    for round_number in range(3):
        uem, agent = stage.uem(), stage.agent()
        keys = [DeviceKey(f"R{round_number}", f"user{number}@lab.test") for number in range(120)]
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(stage.ask, key) for key in keys]
            asked[10 + 30 * round_number].result()
            agent.kill()
        told |= {ask.result().key: ask.result() for ask in asked if ask.exception() is None}
        uem.kill()
        after = stage.agent()
        assert {key: stage.ask(key) for key in told} == told
        assert stage.status()["questions"] == 0
        after.kill()
    assert len(told) >= 100


def test_kill_9_of_the_uem_loses_no_confirmed_registration(stage: Stage) -> None:
    """What an administrator was told stands; the change numbers go on."""
    last = 0
    for number in range(5):
        uem = stage.uem()
        version = set_state(stage, DeviceKey(f"D{number}", "x"), State.ALLOWED).version
        uem.kill()
        assert version > last
        last = version
    stage.uem()
    listed = control.call(stage.paths.uem_admin, control.ListRegistered(), list[Decision])
    assert [decision.device_id for decision in listed] == ["D0", "D1", "D2", "D3", "D4"]
