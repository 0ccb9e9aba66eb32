"""When orders are tried, as a table of times."""

import pytest

from appliance.acme import orders
from appliance.acme.orders import FIRST_TRY, LAST_TRY, LONGEST_HOLD, Order, State

NOW = 1_800_000_000.0
ALL = ("gateway", "portal", "uem-push")


def state_of(*services: str) -> State:
    """A state with an order for each of the services."""
    return State(orders={service: Order(request=service) for service in services})


def test_a_new_order_is_due_and_a_failed_one_later() -> None:
    state = state_of("portal")
    assert orders.due(state, NOW, ALL) == "portal"
    orders.begin(state, "portal", NOW)
    orders.fail(state, "portal", "no", NOW)
    assert orders.due(state, NOW + FIRST_TRY - 1, ALL) is None
    assert orders.due(state, NOW + FIRST_TRY, ALL) == "portal"


def test_the_pause_doubles_up_to_an_hour() -> None:
    state, pauses = state_of("portal"), []
    for _ in range(8):
        orders.fail(state, "portal", "no", NOW)
        pauses.append(state.orders["portal"].not_before - NOW)
    assert pauses == [120, 240, 480, 960, 1_920, LAST_TRY, LAST_TRY, LAST_TRY]
    state.orders["portal"].tries = 10_000
    orders.fail(state, "portal", "no", NOW)
    assert state.orders["portal"].not_before == NOW + LAST_TRY


def test_an_attempt_whose_end_nobody_saw_waits_as_a_failed_one() -> None:
    state = state_of("portal")
    orders.begin(state, "portal", NOW)
    assert orders.due(state, NOW + FIRST_TRY - 1, ALL) is None
    assert orders.due(state, NOW + FIRST_TRY, ALL) == "portal"


def test_the_server_s_wish_holds_for_all_orders() -> None:
    state = state_of("gateway", "portal")
    orders.fail(state, "gateway", "no", NOW, hold=7_200.0)
    assert orders.due(state, NOW + 7_199, ALL) is None
    assert orders.due(state, NOW + 7_200, ALL) == "gateway"
    other = orders.ask(state, "uem-push", "new")
    assert other is not None
    assert orders.next_try(state, other, NOW) == NOW + 7_200


@pytest.mark.parametrize("hold", [10 * LONGEST_HOLD, -5.0])
def test_no_server_can_wish_for_ever_or_for_yesterday(hold: float) -> None:
    state = state_of("portal")
    orders.fail(state, "portal", "no", NOW, hold=hold)
    assert NOW <= state.held_until <= NOW + LONGEST_HOLD


def test_a_clock_that_was_set_back_makes_nobody_wait_for_years() -> None:
    state = state_of("portal")
    orders.fail(state, "portal", "no", NOW, hold=60.0)
    past = NOW - 100 * 86_400
    assert orders.due(state, past, ALL) == "portal"


def test_whoever_has_waited_longest_comes_first() -> None:
    state = state_of("gateway", "portal")
    orders.fail(state, "gateway", "no", NOW - 5_000)
    orders.fail(state, "portal", "no", NOW - 9_000)
    assert orders.due(state, NOW, ALL) == "portal"
    state.orders["portal"].chain = "there"
    assert orders.due(state, NOW, ALL) == "gateway"


def test_what_nobody_wants_any_more_is_not_due() -> None:
    state = state_of("gateway", "portal")
    assert orders.due(state, NOW, ("portal",)) == "portal"
    assert orders.due(state, NOW, ()) is None


def test_judging_what_is_not_there_changes_nothing() -> None:
    state = state_of("portal")
    orders.judge(state, "portal", "", NOW)
    orders.judge(state, "gateway", "no", NOW)
    assert state == state_of("portal")
