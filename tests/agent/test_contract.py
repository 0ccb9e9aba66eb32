"""What holds between a Sentry and a UEM in either manner of the protocol: one suite, run in both.

In the Core manner news comes by itself; in the Cloud manner with the next check-in, which the suite has made at once.
"""

from collections.abc import Callable
from typing import Any

import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage
from tests.agent.test_cloud import ANNA, BOB, check_in, cloudy, entry, known, say
from tests.agent.test_policies import register

HEX = DeviceKey("4331", ANNA.principal)  # C1 in the other form of a query


@pytest.fixture(params=["core", "cloud"])
def pair(make_stage: MakeStage, request: pytest.FixtureRequest) -> Stage:
    """UEM and agent in one of the manners; they run, and the agent has heard of all there was."""
    stage = make_stage()
    if request.param == "cloud":
        cloudy(stage)
    stage.uem()
    stage.agent()
    stage.wait(lambda: stage.status()["link"] == "up" and stage.status()["rounds"] >= 1)
    return stage


def is_cloud(stage: Stage) -> bool:
    """Whether it only calls."""
    return stage.settings.agent.uem.mode == "cloud"


def until(stage: Stage, holds: Callable[[], bool]) -> None:
    """News has reached both sides, and then it holds."""
    if is_cloud(stage):
        check_in(stage)
    stage.wait(holds)


def word(stage: Stage, key: DeviceKey) -> tuple[State, tuple[Reason, ...]] | None:
    """What the list says."""
    found: Record | None = entry(stage, key)
    return None if found is None else (found.state, found.reasons)


def set_state(stage: Stage, key: DeviceKey, state: State) -> None:
    """By hand at the UEM."""
    say(stage, control.SetState(device_id=key.device_id, principal=key.principal, state=state))


def test_a_registered_device_may_pass(pair: Stage) -> None:
    """At its first contact, and it is known as registered."""
    register(pair, ANNA)
    record = pair.ask(ANNA)
    assert (record.state, record.registered, record.provisional) == (State.ALLOWED, True, False)


def test_a_device_that_nobody_registered_is_blocked_and_the_uem_hears_of_it(pair: Stage) -> None:
    """With the reason; and when it is registered afterwards it may pass."""
    assert pair.ask(BOB).reasons == (Reason.UNREGISTERED,)
    until(pair, lambda: known(pair)[BOB].state is State.BLOCKED)
    register(pair, BOB)
    until(pair, lambda: word(pair, BOB) == (State.ALLOWED, ()))


def test_an_unregistered_device_that_an_administrator_allowed_may_pass(pair: Stage) -> None:
    """Though nobody registered it."""
    set_state(pair, BOB, State.ALLOWED)
    record = pair.ask(BOB)
    assert (record.state, record.registered) == (State.ALLOWED, False)


def test_another_spelling_grants_nothing(pair: Stage) -> None:
    """The same bytes in the other form of a query are another device until somebody registers it."""
    register(pair, ANNA)
    assert pair.ask(HEX, aliases=("C1",)).reasons == (Reason.UNREGISTERED,)


def test_what_is_wrong_with_another_spelling_is_wrong_with_the_device(pair: Stage) -> None:
    """Though it is registered itself."""
    register(pair, HEX)
    set_state(pair, ANNA, State.BLOCKED)
    pair.ask(HEX, aliases=("C1",))
    until(pair, lambda: getattr(entry(pair, HEX), "state", None) is State.BLOCKED)


def test_a_breach_and_its_end_reach_the_list(pair: Stage) -> None:
    """The word follows from compliance."""
    register(pair, ANNA)
    pair.ask(ANNA)
    for holds, expected in ((True, (State.BLOCKED, (Reason.COMPROMISED,))), (False, (State.ALLOWED, ()))):
        flag = control.Flag(device_id=ANNA.device_id, principal=ANNA.principal, cause=Reason.COMPROMISED, holds=holds)
        say(pair, flag)
        until(pair, lambda expected=expected: word(pair, ANNA) == expected)  # type: ignore[misc]


def test_what_administrators_do_reaches_the_list(pair: Stage) -> None:
    """Block, allow, wipe, cancel, give back to the automatic word, remove."""
    register(pair, ANNA)
    pair.ask(ANNA)
    names: dict[str, Any] = {"device_id": ANNA.device_id, "principal": ANNA.principal}
    steps: list[tuple[control.Request, State | None]] = [
        (control.SetState(**names, state=State.BLOCKED), State.BLOCKED),
        (control.SetState(**names, state=State.ALLOWED), State.ALLOWED),
        (control.OrderWipe(**names), State.WIPE_PENDING),
        (control.CancelWipe(**names), State.ALLOWED),
        (control.Register(**names), State.ALLOWED),
        (control.Remove(**names), None),
    ]
    for request, state in steps:
        say(pair, request)
        until(pair, lambda state=state: getattr(entry(pair, ANNA), "state", None) is state)  # type: ignore[misc]


def test_a_removed_device_is_asked_about_anew(pair: Stage) -> None:
    """As at its first contact."""
    register(pair, ANNA)
    pair.ask(ANNA)
    say(pair, control.Remove(device_id=ANNA.device_id, principal=ANNA.principal))
    until(pair, lambda: entry(pair, ANNA) is None)
    assert pair.ask(ANNA).reasons == (Reason.UNREGISTERED,)


def test_what_was_said_before_the_agents_start_is_there_before_a_device_comes(pair: Stage) -> None:
    """Loaded at its start; without a UEM it decides the same afterwards."""
    pair.running[1].terminate()
    register(pair, ANNA)
    set_state(pair, BOB, State.BLOCKED)
    pair.agent()
    pair.wait(lambda: {one.key: one.state for one in pair.listed()} == {ANNA: State.ALLOWED, BOB: State.BLOCKED})
    pair.running[0].kill()
    pair.running[2].kill()
    pair.agent()
    assert (pair.ask(ANNA).state, pair.ask(BOB).state) == (State.ALLOWED, State.BLOCKED)
    assert pair.status()["questions"] == 0


def test_without_a_uem_the_fail_mode_speaks_for_new_devices_alone(pair: Stage) -> None:
    """It is `block`, and what it blocks is not kept."""
    register(pair, ANNA)
    pair.ask(ANNA)
    pair.running[0].kill()
    assert pair.ask(BOB).reasons == (Reason.UEM_UNREACHABLE,)
    assert pair.ask(ANNA).state is State.ALLOWED
    assert entry(pair, BOB) is None
