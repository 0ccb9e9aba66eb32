"""How long a host is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.uem.adapters import pace
from sentry_runtime.uem.adapters.pace import Pace, retry_after
from tests.clock import Clock


def test_failures_double_the_rest_up_to_a_bound_and_a_success_ends_them() -> None:
    """Half of each is drawn."""
    clock = Clock(50.0)
    made = Pace(clock, draw=lambda: 1.0)
    waits = []
    for _ in range(9):
        made.failed()
        waits.append(made.wait)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    clock.now += 60.0
    assert made.wait == 0.0
    made.answered()
    made.failed()
    assert made.wait == pace.FIRST_SECONDS
    half = Pace(clock, draw=lambda: 0.0)
    half.failed()
    assert half.wait == pace.FIRST_SECONDS / 2


@given(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.floats(0, 1))
def test_whatever_a_host_says_it_is_left_alone_for_a_bounded_time(seconds: float | None, drawn: float) -> None:
    """Not shorter than it says, unless it says more than an hour."""
    made = Pace(Clock(50.0), draw=lambda: drawn)
    made.throttled(seconds)
    assert 0 < made.wait <= pace.LONGEST_SECONDS + 1e-6
    if seconds is not None and 1 <= seconds <= pace.LONGEST_SECONDS:
        assert made.wait == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("9" * 400, 999_999_999.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 70.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", -40.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    """RFC 9110 10.2.3; nonsense is as good as nothing."""
    assert retry_after(header, now=50.0) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(header: str) -> None:
    """It is a stranger's text."""
    found = retry_after(header, 50.0)
    assert found is None or isinstance(found, float)
