"""How much a device may ask, and when it goes round in circles."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import throttle
from sentry_runtime.gateway.decide import Excess
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.throttle import Print, Throttle
from tests.clock import Clock

LIMITS = settings.Throttle(requests_per_second=2.0, burst=10, repeats=5, pause_seconds=30.0)
FAST = 0.05


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claim(device: str = "PHONE1", who: str = "anna", aliases: tuple[str, ...] = ()) -> Claim:
    """A device."""
    return Claim(DeviceKey(device, who), aliases, "iPhone", who, "Sync", "14.1", None)


PHONE = claim()


def made(number: int = 0, status: int = 200, size: int = 13) -> Print:
    """A request with the body of this number, and its answer."""
    return (b"Cmd=Sync", number, 20, status, size)


def limits(**changes: float) -> settings.Throttle:
    """The limits but for these."""
    return msgspec.structs.replace(LIMITS, **changes)


def excess(one: Throttle, who: Claim = PHONE) -> Excess | None:
    """Why this device has to wait, if it has."""
    pause = one.pause(who)
    return None if pause is None else pause.excess


# --- the rate ---------------------------------------------------------------------------------------------------------


def test_a_burst_is_free_and_then_the_device_waits(clock: Clock) -> None:
    """As many as the bucket holds; what came in the meantime counts."""
    one = Throttle(LIMITS, clock)
    for number in range(10):
        one.served(PHONE, FAST, made(number))
        assert excess(one) is None
    one.served(PHONE, FAST, made(10))
    assert excess(one) is Excess.TOO_MANY_REQUESTS


def test_who_asks_no_faster_than_the_rate_never_waits(clock: Clock) -> None:
    """For an hour."""
    one = Throttle(LIMITS, clock)
    for number in range(7_200):
        one.served(PHONE, FAST, made(number))
        assert excess(one) is None
        clock.now += 0.5


def test_the_pause_ends_by_itself_with_a_new_start(clock: Clock) -> None:
    """On the second; what had been asked at once and was still under way does not prolong it for ever."""
    one = Throttle(LIMITS, clock)
    for number in range(500):
        one.served(PHONE, FAST, made(number))
    pause = one.pause(PHONE)
    assert pause is not None
    assert one.left(pause) == 30.0
    clock.now += 29.9
    assert excess(one) is Excess.TOO_MANY_REQUESTS
    clock.now += 0.1
    assert excess(one) is None
    for number in range(10):
        one.served(PHONE, FAST, made(number))
    assert excess(one) is None


def test_others_notice_nothing(clock: Clock) -> None:
    """Neither the same phone's other mailbox nor the mailbox's other phone."""
    one = Throttle(LIMITS, clock)
    for number in range(11):
        one.served(PHONE, FAST, made(number))
    assert excess(one) is not None
    assert (excess(one, claim(who="bert")), excess(one, claim("PHONE2"))) == (None, None)


def test_one_phone_in_both_forms_of_the_query_is_one_device(clock: Clock) -> None:
    """Its text is its name in either."""
    packed = claim(b"PHONE1".hex().upper(), aliases=("PHONE1",))
    one = Throttle(LIMITS, clock)
    for number in range(11):
        one.served(packed if number % 2 else PHONE, FAST, made(number))
    assert (excess(one), excess(one, packed)) == (Excess.TOO_MANY_REQUESTS, Excess.TOO_MANY_REQUESTS)


# --- loops ------------------------------------------------------------------------------------------------------------


def test_the_same_request_with_the_same_answer_again_and_again_is_a_loop(clock: Clock) -> None:
    """The first is none, and then so many repetitions."""
    one = Throttle(limits(burst=1_000), clock)
    for _ in range(5):
        one.served(PHONE, FAST, made())
        clock.now += 1
    assert excess(one) is None
    one.served(PHONE, FAST, made())
    assert excess(one) is Excess.SYNC_LOOP


def test_a_circle_of_several_requests_is_a_loop_too(clock: Clock) -> None:
    """Sync says "do a FolderSync", FolderSync says "nothing new", and so on."""
    one = Throttle(limits(burst=1_000), clock)
    for number in range(throttle.ROUND * 2):
        one.served(PHONE, FAST, made(number % throttle.ROUND))
        clock.now += 1
    assert excess(one) is Excess.SYNC_LOOP


@pytest.mark.parametrize(
    ("prints", "seconds", "gap"),
    [
        pytest.param([made(number) for number in range(100)], FAST, 0.1, id="each one's SyncKey has moved on"),
        pytest.param([made(size=number) for number in range(100)], FAST, 0.1, id="each gets more"),
        pytest.param([made()] * 100, 600.0, 0.1, id="a Ping that is held"),
        pytest.param([made()] * 100, 2.1, 0.1, id="a slow backend"),
        pytest.param([made()] * 100, FAST, 60.0, id="a device that polls"),
        pytest.param([None] * 100, FAST, 0.1, id="mails, which are no small requests"),
        pytest.param(
            [made(0) if number % 4 else made(number) for number in range(100)], FAST, 0.1, id="news in between"
        ),
        pytest.param([made(number % 9) for number in range(100)], FAST, 0.1, id="more than a circle holds"),
    ],
)
def test_what_is_no_loop(clock: Clock, prints: list[Print | None], seconds: float, gap: float) -> None:
    """Something has moved on, or nobody is in a hurry."""
    one = Throttle(limits(burst=1_000), clock)
    for each in prints:
        clock.now += gap + seconds
        one.served(PHONE, seconds, each)
        assert excess(one) is None


def test_after_a_loops_pause_it_takes_a_new_loop(clock: Clock) -> None:
    """One more equal request is not enough."""
    one = Throttle(limits(burst=1_000), clock)
    for _ in range(6):
        one.served(PHONE, FAST, made())
    clock.now += 30
    for _ in range(5):
        one.served(PHONE, FAST, made())
        assert excess(one) is None
    one.served(PHONE, FAST, made())
    assert excess(one) is Excess.SYNC_LOOP


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_the_memory_is_bounded_and_the_longest_silent_goes_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew with a full share; who has to wait still waits."""
    monkeypatch.setattr(throttle, "DEVICES", 3)
    one = Throttle(LIMITS, clock)
    for number in range(11):
        one.served(PHONE, FAST, made(number))
    for number in range(9):
        one.served(claim("BUSY"), FAST, made(number))
    for name in ("A", "B", "C"):
        one.served(claim(name), FAST, made())
        one.served(claim("BUSY"), FAST, None)
    assert len(one._paces) == 3
    assert excess(one) is Excess.TOO_MANY_REQUESTS
    assert excess(one, claim("BUSY")) is Excess.TOO_MANY_REQUESTS


def test_pauses_are_told_of_and_forgotten_when_they_are_over(clock: Clock) -> None:
    """So that they cannot pile up."""
    one = Throttle(LIMITS, clock)
    for number in range(11):
        one.served(PHONE, FAST, made(number))
    assert [(pause.device, pause.excess) for pause in one.pauses()] == [
        (DeviceKey("PHONE1", "anna"), Excess.TOO_MANY_REQUESTS)
    ]
    clock.now += 30
    assert (one.pauses(), one._pauses) == ((), {})


def test_a_request_that_names_no_device_is_nobodys(clock: Clock) -> None:
    """A bare OPTIONS."""
    bare = Claim(None, (), "", "anna", "OPTIONS", "", None)
    one = Throttle(limits(burst=1), clock)
    for _ in range(20):
        one.served(bare, FAST, made())
    assert (one.pause(bare), one.pauses()) == (None, ())


steps = st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 5.0), st.integers(0, 3)), max_size=60)


@given(steps)
def test_a_pause_never_lasts_longer_than_it_should_and_the_share_never_exceeds_the_burst(
    steps: list[tuple[float, float, int]],
) -> None:
    """Whatever the device does."""
    clock = Clock()
    one = Throttle(LIMITS, clock)
    for gap, seconds, number in steps:
        clock.now += gap + seconds
        one.served(PHONE, seconds, made(number))
        pause = one.pause(PHONE)
        assert pause is None or 0 < one.left(pause) <= LIMITS.pause_seconds
        assert -1 <= one._paces[DeviceKey("PHONE1", "anna")].tokens <= LIMITS.burst
        assert len(one._paces[DeviceKey("PHONE1", "anna")].round) <= throttle.ROUND
