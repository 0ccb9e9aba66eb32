"""Who gets the places of a mailbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem_server import places
from sentry_runtime.uem_server.places import Candidate, Seating, seat

ANNA = "anna@lab.test"


def wants(number: int, root: str = "", principal: str = ANNA, *, has_one: bool = False, rank: int = 0) -> Candidate:
    """A device that wants a place, in the order of the numbers unless said."""
    return Candidate(number, root or f"D{number}", principal, rank or number, waits=not has_one)


@pytest.mark.parametrize(
    ("limit", "candidates", "left_out"),
    [
        pytest.param(0, [wants(1), wants(2)], set(), id="no limit"),
        pytest.param(2, [wants(1), wants(2)], set(), id="room for all"),
        pytest.param(2, [wants(1), wants(2), wants(3)], {3}, id="the last one"),
        pytest.param(1, [wants(1, rank=9), wants(2)], {1}, id="who has waited longest comes first"),
        pytest.param(1, [wants(1, rank=5), wants(2, rank=5)], {2}, id="of two the one that was known first"),
        pytest.param(1, [wants(1), wants(2, has_one=True)], {1}, id="who has a place keeps it"),
        pytest.param(
            1, [wants(2, has_one=True), wants(1, has_one=True)], {2}, id="a lower limit takes it from the last"
        ),
        pytest.param(1, [wants(1, "P"), wants(2, "P"), wants(3)], {3}, id="both forms of a phone share a place"),
        pytest.param(
            1, [wants(3), wants(1, "P", has_one=True), wants(2, "P")], {3}, id="also when the second comes late"
        ),
        pytest.param(1, [wants(1), wants(2, principal="anna")], {2}, id="another way to write a name is no way round"),
        pytest.param(1, [wants(1), wants(2, principal="anna@lab")], {2}, id="nor the short domain"),
        pytest.param(1, [wants(1), wants(2, principal="anna@other.test")], set(), id="two people have two mailboxes"),
        pytest.param(
            1,
            [wants(1), wants(2, principal="anna@other.test"), wants(3, principal="anna")],
            {3},
            id="who may be either of two needs room in both",
        ),
        pytest.param(
            1,
            [wants(1, "P"), wants(2, "Q", "anna@other.test"), wants(3, "P", "anna")],
            {3},
            id="even with the phone of one of them",
        ),
        pytest.param(
            1,
            [wants(2, has_one=True), wants(1, principal="anna"), wants(3, principal="anna@other.test", has_one=True)],
            {1},
            id="a place that gets free in one of the two is not taken from the other",
        ),
    ],
)
def test_the_table(limit: int, candidates: list[Candidate], left_out: set[int]) -> None:
    """In whatever order they are looked at."""
    assert set(seat(candidates, limit).waiting) == left_out
    assert seat(reversed(candidates), limit) == seat(candidates, limit)


some = st.lists(
    st.builds(
        Candidate,
        number=st.integers(1, 30),
        root=st.sampled_from("PQRST"),
        principal=st.sampled_from(["anna", "anna@lab", ANNA, "anna@other.test"]),
        rank=st.integers(1, 5),
        waits=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda candidate: candidate.number,
)


@given(some, st.integers(1, 4))
def test_no_principal_ever_has_more_phones_than_the_limit(candidates: list[Candidate], limit: int) -> None:
    """And nobody is left out who has the mailbox for themselves."""
    left_out = seat(candidates, limit).waiting
    for principal in {one.principal for one in candidates}:
        seated = {one.root for one in candidates if one.principal == principal and one.number not in left_out}
        assert len(seated) <= limit
    if len({one.root for one in candidates}) <= limit:
        assert not left_out


@given(some, st.integers(1, 4), st.sampled_from("PQRST"), st.sampled_from(["anna", ANNA, "anna@other.test"]))
def test_a_newcomer_takes_no_place_from_anybody(
    candidates: list[Candidate], limit: int, root: str, principal: str
) -> None:
    """Once places have been given, a device that comes later changes nobody's; nor does looking again."""
    seating = seat(candidates, limit)
    by_number = {one.number: one for one in candidates}
    settled = [
        Candidate(number, by_number[number].root, by_number[number].principal, rank, waits=number in seating.waiting)
        for rank, number in enumerate((*seating.seated, *seating.waiting))
    ]
    assert seat(settled, limit) == seating
    newcomer = Candidate(99, root, principal, 99, waits=True)
    then = seat([*settled, newcomer], limit)
    assert [number for number in then.seated if number != 99] == list(seating.seated)
    assert [number for number in then.waiting if number != 99] == list(seating.waiting)


@given(some, st.integers(1, 4), st.integers(0, 11))
def test_who_leaves_takes_no_place_from_anybody(candidates: list[Candidate], limit: int, place: int) -> None:
    """Who waited may find room; nobody who has a place loses it."""
    seating = seat(candidates, limit)
    by_number = {one.number: one for one in candidates}
    settled = [
        Candidate(number, by_number[number].root, by_number[number].principal, rank, waits=number in seating.waiting)
        for rank, number in enumerate((*seating.seated, *seating.waiting))
        if rank != place
    ]
    assert set(seat(settled, limit).waiting) <= set(seating.waiting)


@given(some, st.integers(0, 4))
def test_the_places_are_those_of_the_rule_as_it_is_said(candidates: list[Candidate], limit: int) -> None:
    """One after the other: is there room for one more phone among all that are in the mailbox by then?"""
    seated: list[Candidate] = []
    waiting: list[Candidate] = []
    for one in sorted(candidates, key=lambda candidate: (candidate.waits, candidate.rank, candidate.number)):
        phones = {other.root for other in seated if same_person(one.principal, other.principal)} | {one.root}
        (seated if not limit or len(phones) <= limit else waiting).append(one)
    found = seat(candidates, limit)
    assert found == Seating(tuple(one.number for one in seated), tuple(one.number for one in waiting))


@pytest.mark.parametrize("limit", [0, 5, 3_000])
def test_the_devices_of_one_name_are_not_held_against_each_other(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 devices of one person take 3,000 steps, not their square."""
    steps = 0

    def counted(one: str, other: str) -> bool:
        nonlocal steps
        steps += 1
        return same_person(one, other)

    monkeypatch.setattr(places, "same_person", counted)
    found = seat([wants(number) for number in range(1, 3_001)], limit)
    assert len(found.seated) == (limit or 3_000)
    assert steps <= 3_000
