"""Three check-ins on three schedules, with a clock and a draw that are given."""

import pytest

from sentry_runtime.agent.schedule import CheckIn, Schedule
from tests.clock import Clock

SECONDS = {CheckIn.COMPLIANCE: 60.0, CheckIn.ACTIONS: 30.0, CheckIn.INVENTORY: 900.0}


@pytest.mark.shows("cloud schedules")
def test_each_is_due_after_its_own_interval() -> None:
    """Over a quarter of an hour, every one as often as its interval fits."""
    clock = Clock(100.0)
    schedule = Schedule(SECONDS, clock, lambda: 0.5)
    times: dict[CheckIn, list[float]] = {one: [] for one in CheckIn}
    while clock.now <= 1_000.0:
        for one in schedule.due():
            times[one].append(clock.now - 100.0)
            schedule.done(one)
        clock.now += schedule.wait
    assert times[CheckIn.COMPLIANCE] == [60.0 * place for place in range(16)]
    assert times[CheckIn.ACTIONS] == [30.0 * place for place in range(31)]
    assert times[CheckIn.INVENTORY] == [0.0, 900.0]


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 54.0), (0.5, 60.0), (1.0, 66.0)])
def test_an_interval_is_drawn_within_a_tenth(drawn: float, wait: float) -> None:
    """From nine to eleven tenths."""
    schedule = Schedule(dict.fromkeys(CheckIn, 60.0), Clock(100.0), lambda: drawn)
    schedule.done(CheckIn.COMPLIANCE)
    assert schedule.wait_of(CheckIn.COMPLIANCE) == pytest.approx(wait)
    assert schedule.wait == 0.0
    assert schedule.due() == (CheckIn.ACTIONS, CheckIn.INVENTORY)


def test_each_is_drawn_for_itself() -> None:
    """What is due together now is not the next time."""
    draws = iter([0.0, 0.5, 1.0])
    schedule = Schedule(dict.fromkeys(CheckIn, 60.0), Clock(100.0), lambda: next(draws))
    for one in schedule.due():
        schedule.done(one)
    assert [schedule.wait_of(one) for one in CheckIn] == pytest.approx([54.0, 60.0, 66.0])
