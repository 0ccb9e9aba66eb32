"""The fuzzing targets hold on their seeds, and on what one careless or hostile hand makes of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

STRAY = [
    b"\0",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x03",
    b"\x40",
    b"\x80",
    b"\xc3",
    b"\xff",
    b"%",
    b"%2",
    b"=",
    b"&",
    b"+",
    b":",
    b"0",
]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_on_each_of_its_seeds(name: str) -> None:
    """Nothing but a parser's own refusal."""
    target = TARGETS[name]
    assert target.seeds
    for seed in target.seeds:
        target.run(seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=300)
def test_a_target_holds_on_what_a_hand_makes_of_its_seeds(name: str, data: st.DataObject) -> None:
    """Pieces of two seeds, put together anew with strays between them."""
    target = TARGETS[name]
    one, other = (data.draw(st.sampled_from(target.seeds)) for _ in range(2))
    begin, end = data.draw(st.integers(0, len(one))), data.draw(st.integers(0, len(other)))
    stray = data.draw(st.sampled_from(STRAY) | st.binary(max_size=8))
    target.run(one[:begin] + stray + other[end:])
