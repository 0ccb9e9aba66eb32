"""What news does to an entry, as a table and as a law."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.agent.changes import Admitted, Answered, Effect, Expired, Known, Marked, News, effect
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.eas.policy import TEMPORARY, Policy, digest
from sentry_runtime.uem.api import Decision

STRICT, LAX = Policy(device_password_enabled=True), Policy(allow_camera=True)
KEY = DeviceKey("C1", "anna@lab.test")
NOW = 1_000


def decision(version: int, state: State = State.ALLOWED, **more: Any) -> Decision:
    """The UEM's word at this version."""
    return Decision(device_id=KEY.device_id, principal=KEY.principal, state=state, version=version, **more)


def entry(version: int, state: State = State.ALLOWED, policy: Policy | None = None, **more: Any) -> Record:
    """What stands in the list."""
    named = b"" if policy is None else digest(policy)
    return Record(key=KEY, state=state, version=version, first_seen=NOW, updated=NOW, policy=named, **more)


GUESS = entry(0, policy=TEMPORARY, provisional=True)
NAMED = entry(3, policy=STRICT)


@pytest.mark.parametrize(
    ("known", "news", "then"),
    [
        pytest.param(Known(None, 0, 0), decision(1), Effect(entry(1)), id="a first decision is written"),
        pytest.param(Known(entry(3), 0, 0), decision(3, State.BLOCKED), None, id="the same version changes nothing"),
        pytest.param(Known(entry(3), 0, 0), decision(2, State.BLOCKED), None, id="an older version changes nothing"),
        pytest.param(
            Known(entry(3), 0, 3),
            decision(4, State.BLOCKED),
            Effect(entry(4, State.BLOCKED)),
            id="a newer one overwrites",
        ),
        pytest.param(
            Known(entry(3), 0, 0),
            decision(4),
            Effect(entry(4), visible=False),
            id="the same word again is not announced",
        ),
        pytest.param(
            Known(entry(3), 0, 0), decision(4, note="why"), Effect(entry(4, note="why")), id="another note is"
        ),
        pytest.param(Known(entry(3), 0, 0), decision(4, removed=True), Effect(None, 4), id="a removal takes it out"),
        pytest.param(
            Known(None, 0, 0),
            decision(4, removed=True),
            Effect(None, 4, visible=False),
            id="an early removal is remembered",
        ),
        pytest.param(Known(None, 4, 0), decision(3), None, id="news from before the removal is old"),
        pytest.param(Known(None, 4, 0), decision(5), Effect(entry(5)), id="news from after the removal is not"),
        pytest.param(Known(None, 0, 5), decision(5), None, id="news up to the cursor is old where there is no entry"),
        pytest.param(
            Known(None, 0, 0),
            decision(1, policy=STRICT),
            Effect(entry(1, policy=STRICT), policy=STRICT),
            id="a policy is named by the entry",
        ),
        pytest.param(
            Known(entry(3), 0, 0),
            decision(4, policy=STRICT),
            Effect(entry(4, policy=STRICT, policy_before=b""), policy=STRICT),
            id="what it replaces is remembered, the site's own too",
        ),
        pytest.param(
            Known(NAMED, 0, 0),
            decision(4, policy=LAX),
            Effect(entry(4, policy=LAX, policy_before=digest(STRICT)), policy=LAX),
            id="another policy is announced",
        ),
        pytest.param(
            Known(NAMED, 0, 0),
            decision(4),
            Effect(entry(4, policy_before=digest(STRICT))),
            id="none is the site's own again",
        ),
        pytest.param(
            Known(entry(3, policy=STRICT, policy_before=digest(LAX)), 0, 0),
            decision(4, policy=STRICT),
            Effect(entry(4, policy=STRICT, policy_before=digest(LAX)), visible=False, policy=STRICT),
            id="the same policy again keeps what it replaced, and is not announced",
        ),
        pytest.param(
            Known(GUESS, 0, 0),
            decision(1),
            Effect(entry(1, policy_before=digest(TEMPORARY))),
            id="a decision replaces a guess",
        ),
        pytest.param(
            Known(None, 0, 9), Admitted(GUESS, TEMPORARY), Effect(GUESS, policy=TEMPORARY), id="a guess fills a gap"
        ),
        pytest.param(Known(entry(1), 0, 0), Admitted(GUESS), None, id="a guess never replaces a decision"),
        pytest.param(Known(GUESS, 0, 0), Expired(KEY), Effect(None), id="a guess expires"),
        pytest.param(Known(entry(1), 0, 0), Expired(KEY), None, id="a decision does not"),
        pytest.param(Known(None, 0, 0), Expired(KEY), None, id="what is not there cannot expire"),
    ],
)
def test_effect(known: Known, news: News, then: Effect | None) -> None:
    """One row each: what is known, what comes, what is written."""
    assert effect(known, news, NOW) == then


def test_an_entry_keeps_when_it_was_first_seen_and_gets_its_reasons_sorted_and_once() -> None:
    """So that equal words are equal entries."""
    word = Decision(
        device_id="C1",
        principal="anna@lab.test",
        state=State.BLOCKED,
        version=2,
        reasons=(Reason.POLICY, Reason.MANUAL, Reason.POLICY),
    )
    change = effect(Known(entry(1), 0, 0), word, NOW + 60)
    assert change is not None
    assert change.record is not None
    assert (change.record.first_seen, change.record.updated) == (NOW, NOW + 60)
    assert change.record.reasons == (Reason.MANUAL, Reason.POLICY)


histories = st.lists(
    st.tuples(
        st.sampled_from([State.ALLOWED, State.BLOCKED, State.WIPE_PENDING]),
        st.booleans(),
        st.sampled_from([None, STRICT, LAX]),
    ),
    min_size=1,
    max_size=8,
)


@given(histories, st.data())
def test_any_order_and_repetition_of_one_devices_history_ends_in_its_last_word(
    history: list[tuple[State, bool, Policy | None]], data: st.DataObject
) -> None:
    """The law behind the table: versions decide, arrival does not. What the device may have had before is all that is left of
    how it came about."""
    words = [
        decision(version, state, removed=removed, policy=policy)
        for version, (state, removed, policy) in enumerate(history, 1)
    ]
    arrivals = data.draw(st.permutations(words + data.draw(st.lists(st.sampled_from(words), max_size=8))))
    record: Record | None = None
    removed_at = 0
    for word in arrivals:
        change = effect(Known(record, removed_at, 0), word, NOW)
        if change is not None:
            record, removed_at = change.record, change.removed_at
    last = words[-1]
    before = None if record is None else record.policy_before
    expected = entry(last.version, last.state, last.policy, policy_before=before)
    assert record == (None if last.removed else expected)


HANDED_OUT, UNVERIFIED, VERIFIED = WipeMark.HANDED_OUT, WipeMark.UNVERIFIED, WipeMark.VERIFIED
ORDER = 3


def wipe(*marks: WipeMark, order: int = ORDER) -> Wipe:
    """An order with what has come of it."""
    return Wipe(kind=WipeKind.DEVICE, order=order, marks=marks)


def wiping(version: int, *marks: WipeMark, order: int = ORDER, unreported: bool = False) -> Record:
    """What stands in the list of a device with an order."""
    known = wipe(*marks, order=order)
    stands = {"state": known.state, "wipe": known, "first_seen": NOW, "updated": NOW}
    return Record(key=KEY, version=version, unreported=unreported, **stands)  # type: ignore[arg-type]


def ordered(version: int, *marks: WipeMark, order: int = ORDER) -> Decision:
    """The UEM's word on such a device."""
    known = wipe(*marks, order=order)
    return Decision(device_id=KEY.device_id, principal=KEY.principal, state=known.state, version=version, wipe=known)


@pytest.mark.parametrize(
    ("entry_before", "news", "then"),
    [
        pytest.param(entry(2), ordered(3), Effect(wiping(3)), id="an order is written"),
        pytest.param(wiping(3), decision(4), Effect(entry(4)), id="a cancelled one is gone"),
        pytest.param(
            wiping(3),
            Marked(KEY, ORDER, HANDED_OUT),
            Effect(wiping(3, HANDED_OUT, unreported=True)),
            id="what comes of it is kept, and the UEM does not know",
        ),
        pytest.param(
            wiping(3),
            Marked(KEY, ORDER, UNVERIFIED),
            Effect(wiping(3, UNVERIFIED, unreported=True)),
            id="who has acknowledged is wiped at once",
        ),
        pytest.param(wiping(3, HANDED_OUT), Marked(KEY, ORDER, HANDED_OUT), None, id="the same again is no news"),
        pytest.param(wiping(3), Marked(KEY, ORDER - 1, VERIFIED), None, id="nor is a mark of another order"),
        pytest.param(entry(3), Marked(KEY, ORDER, VERIFIED), None, id="nor of one that is not there"),
        pytest.param(None, Marked(KEY, ORDER, VERIFIED), None, id="nor of a device that is not there"),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True),
            ordered(4, HANDED_OUT),
            Effect(wiping(4, HANDED_OUT, UNVERIFIED, unreported=True)),
            id="a word in ignorance of a mark adds its own",
        ),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True),
            ordered(4, UNVERIFIED, VERIFIED),
            Effect(wiping(4, UNVERIFIED, VERIFIED)),
            id="a word in knowledge of all ends what is unreported",
        ),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True), decision(4), None, id="who has acknowledged is not let in"
        ),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True), ordered(4, order=4), None, id="nor asked by another order for now"
        ),
        pytest.param(
            wiping(3, HANDED_OUT, unreported=True), decision(4), Effect(entry(4)), id="who has not acknowledged is"
        ),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True), decision(4, removed=True), Effect(None, 4), id="a removal is one"
        ),
        pytest.param(wiping(3, UNVERIFIED), decision(4), Effect(entry(4)), id="what the UEM says knowingly holds"),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True),
            Answered(decision(4), wipe(UNVERIFIED)),
            Effect(entry(4)),
            id="so does its answer to the report",
        ),
        pytest.param(
            wiping(3, HANDED_OUT, UNVERIFIED, unreported=True),
            Answered(decision(4), wipe(HANDED_OUT)),
            None,
            id="but not an answer to what was reported before the acknowledgement",
        ),
        pytest.param(
            wiping(9, UNVERIFIED, order=8, unreported=True),
            Answered(decision(10), wipe(UNVERIFIED)),
            None,
            id="nor an answer about another order",
        ),
        pytest.param(
            wiping(3, UNVERIFIED, unreported=True),
            Answered(ordered(4, order=4), wipe(UNVERIFIED)),
            Effect(wiping(4, order=4)),
            id="a new order that was given knowingly holds",
        ),
    ],
)
def test_what_comes_of_a_wipe(entry_before: Record | None, news: News, then: Effect | None) -> None:
    """One row each, as above."""
    assert effect(Known(entry_before, 0, 0), news, NOW) == then


def test_every_mark_is_announced() -> None:
    """The workers answer by them."""
    change = effect(Known(wiping(3, UNVERIFIED), 0, 0), Marked(KEY, ORDER, VERIFIED), NOW)
    assert change is not None
    assert change.visible
    silent = effect(Known(wiping(3, UNVERIFIED, unreported=True), 0, 0), ordered(4, UNVERIFIED), NOW)
    assert silent is not None
    assert not silent.visible
