"""The bounds of one talk: of time as a whole, and of octets."""

import pytest

from appliance.directory.bounds import Bounds


def test_what_may_be_waited_is_never_more_than_what_is_left() -> None:
    now = 100.0
    bounds = Bounds(10.0, clock=lambda: now)
    assert bounds.patience(4.0) == 4.0
    now = 107.5
    assert bounds.patience(4.0) == 2.5
    now = 110.0
    with pytest.raises(TimeoutError, match="longer than it may"):
        bounds.patience(4.0)


def test_octets_are_counted_over_the_whole_talk() -> None:
    bounds = Bounds(10.0, octets=100)
    bounds.count(60)
    bounds.count(40)
    with pytest.raises(OSError, match="more than a talk may have"):
        bounds.count(1)
