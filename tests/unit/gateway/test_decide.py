"""The decision: what all that is known of a device means for its request."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.gateway.decide import (
    ALLOW,
    ASK,
    SOFT,
    WAIT,
    WIPE,
    Action,
    Case,
    Excess,
    Need,
    Rule,
    Unreadable,
    Verdict,
    decide,
)

KEY = DeviceKey("PHONE1", "anna")
NEED = Need.POLICY_KEY_MISSING
keys = st.builds(DeviceKey, st.sampled_from(["PHONE1", "PHONE2", ""]), st.sampled_from(["anna", "bert", ""]))
records = st.builds(
    Record,
    key=keys,
    state=st.sampled_from(State),
    version=st.integers(0, 9),
    reasons=st.lists(st.sampled_from(Reason), max_size=3).map(tuple),
    registered=st.booleans(),
    provisional=st.booleans(),
)
cases = st.builds(
    Case,
    key=st.none() | keys,
    record=st.none() | st.sampled_from(Unreadable) | records,
    need=st.none() | st.sampled_from(Need),
    rule=st.none() | st.sampled_from(Rule),
    excess=st.none() | st.sampled_from(Excess),
    observe=st.booleans(),
)


def record(state: State, *reasons: Reason, key: DeviceKey = KEY) -> Record:
    """An entry."""
    return Record(key=key, state=state, version=1, reasons=reasons)


def wiping(*marks: WipeMark) -> Record:
    """An entry with an order to wipe, of which so much has come."""
    wipe = Wipe(kind=WipeKind.DEVICE, order=1, marks=marks)
    return Record(key=KEY, state=wipe.state, version=1, wipe=wipe)


def block(*reasons: Reason) -> Verdict:
    """A block."""
    return Verdict(Action.BLOCK, reasons)


ALLOWED = record(State.ALLOWED)
UNVERIFIED = wiping(WipeMark.UNVERIFIED)
UNREGISTERED = record(State.BLOCKED, Reason.UNREGISTERED, Reason.POLICY)
BY_HAND = record(State.BLOCKED, Reason.UNREGISTERED, Reason.MANUAL)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (Case(None, None), ALLOW),
        (Case(KEY, None), ASK),
        (Case(KEY, Unreadable.LIST), ASK),
        (Case(KEY, Unreadable.ENTRY), WAIT),
        (Case(KEY, ALLOWED), ALLOW),
        (Case(KEY, ALLOWED, NEED), Verdict(Action.PROVISION, (NEED,))),
        (Case(KEY, record(State.ALLOWED, key=DeviceKey("PHONE2", "anna"))), ASK),
        (Case(KEY, record(State.ALLOWED, key=DeviceKey("PHONE1", "bert"))), ASK),
        (Case(KEY, record(State.BLOCKED, Reason.MANUAL, Reason.POLICY)), block(Reason.MANUAL, Reason.POLICY)),
        (Case(KEY, record(State.BLOCKED)), block()),
        (Case(KEY, record(State.WIPE_PENDING)), WIPE),
        (Case(KEY, record(State.WIPED)), block(Reason.WIPED)),
        (Case(KEY, wiping()), Verdict(Action.WIPE, wipe=wiping().wipe)),
        (Case(KEY, wiping(WipeMark.FAILED)), Verdict(Action.WIPE, wipe=wiping(WipeMark.FAILED).wipe)),
        (Case(KEY, UNVERIFIED), Verdict(Action.WIPE, (Reason.WIPED,), wipe=UNVERIFIED.wipe)),
        (
            Case(KEY, UNVERIFIED, NEED, Rule.ALLOW, observe=True),
            Verdict(Action.WIPE, (Reason.WIPED,), wipe=UNVERIFIED.wipe),
        ),
        (Case(KEY, wiping(WipeMark.UNVERIFIED, WipeMark.VERIFIED)), block(Reason.WIPED)),
        # Rules of the site's own: denial is above everything the UEM says, leave only above posture and registration.
        (Case(KEY, ALLOWED, rule=Rule.DENY), block(Reason.LOCAL_RULE)),
        (Case(KEY, None, rule=Rule.DENY), block(Reason.LOCAL_RULE)),
        (Case(KEY, None, rule=Rule.ALLOW), ASK),
        (Case(KEY, UNREGISTERED, rule=Rule.ALLOW), Verdict(Action.ALLOW, (), UNREGISTERED.reasons)),
        (Case(KEY, UNREGISTERED, NEED, rule=Rule.ALLOW), Verdict(Action.PROVISION, (NEED,), UNREGISTERED.reasons)),
        (Case(KEY, BY_HAND, rule=Rule.ALLOW), Verdict(Action.BLOCK, BY_HAND.reasons)),
        (Case(KEY, record(State.WIPE_PENDING), rule=Rule.ALLOW), WIPE),
        (Case(KEY, record(State.WIPED), rule=Rule.ALLOW), block(Reason.WIPED)),
        # Observing.
        (Case(KEY, UNREGISTERED, observe=True), Verdict(Action.ALLOW, (), UNREGISTERED.reasons)),
        (Case(KEY, BY_HAND, observe=True), Verdict(Action.BLOCK, BY_HAND.reasons)),
        (Case(KEY, record(State.BLOCKED, Reason.UEM_UNREACHABLE), observe=True), block(Reason.UEM_UNREACHABLE)),
        (Case(KEY, ALLOWED, rule=Rule.DENY, observe=True), block(Reason.LOCAL_RULE)),
        (Case(KEY, record(State.WIPE_PENDING), observe=True), WIPE),
        # Too much is too much, whoever it is.
        (Case(KEY, ALLOWED, excess=Excess.SYNC_LOOP), Verdict(Action.THROTTLE, (Excess.SYNC_LOOP,))),
        (Case(KEY, None, excess=Excess.TOO_MANY_REQUESTS), Verdict(Action.THROTTLE, (Excess.TOO_MANY_REQUESTS,))),
    ],
)
def test_the_table(case: Case, verdict: Verdict) -> None:
    """Every row of it."""
    assert decide(case) == verdict


@given(cases)
def test_who_passes_has_an_entry_of_exactly_this_key_that_allows_it_or_is_softened(case: Case) -> None:
    """Whatever else is known."""
    verdict = decide(case)
    if case.key is None or verdict.action not in (Action.ALLOW, Action.PROVISION):
        return
    assert isinstance(case.record, Record)
    assert case.record.key == case.key
    assert case.rule is not Rule.DENY
    assert case.excess is None
    if case.record.state is not State.ALLOWED:
        assert case.record.state is State.BLOCKED
        assert verdict.softened == case.record.reasons
        assert SOFT.issuperset(verdict.softened)
        assert case.observe or case.rule is Rule.ALLOW


@given(cases)
def test_observing_changes_nothing_but_blocks_for_posture_and_registration(case: Case) -> None:
    """Neither wipes nor denials, nor what an administrator said."""
    softened = decide(replace(case, observe=True))
    strict = decide(replace(case, observe=False))
    if softened != strict:
        assert strict.action is Action.BLOCK
        assert softened.softened == strict.reasons
        assert SOFT.issuperset(strict.reasons)


@given(cases)
def test_a_denial_lets_nobody_pass(case: Case) -> None:
    """But a request that names no device."""
    verdict = decide(replace(case, rule=Rule.DENY))
    assert verdict.action in (Action.BLOCK, Action.THROTTLE) or case.key is None


@given(cases)
def test_only_a_device_that_may_pass_is_provisioned(case: Case) -> None:
    """Every other verdict is what it would be without a policy."""
    plain = decide(replace(case, need=None))
    judged = decide(replace(case, need=NEED))
    wanted = plain.action is Action.ALLOW and case.key is not None
    assert judged == (Verdict(Action.PROVISION, (NEED,), plain.softened) if wanted else plain)
