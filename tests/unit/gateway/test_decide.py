"""The decision: what all that is known of a device means for its request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.paths import REPO
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.gateway.decide import (
    ALLOW,
    ASK,
    SOFT,
    TABLE,
    WAIT,
    WIPE,
    Action,
    Case,
    Excess,
    Need,
    Row,
    Rule,
    Unreadable,
    Verdict,
    decide,
    explain,
)

SOURCE = REPO / "sentry_runtime/gateway/decide.py"
KEY = DeviceKey("PHONE1", "anna")
NEED = Need.POLICY_KEY_MISSING
keys = st.builds(DeviceKey, st.sampled_from(["PHONE1", "PHONE2", ""]), st.sampled_from(["anna", "bert", ""]))
orders = st.builds(
    Wipe,
    kind=st.sampled_from(WipeKind),
    order=st.integers(1, 9),
    marks=st.lists(st.sampled_from(WipeMark), max_size=3, unique=True).map(tuple),
)
reasons = st.lists(st.sampled_from(Reason), max_size=3).map(tuple)
records = st.builds(
    Record,
    key=keys,
    state=st.sampled_from(State),
    version=st.integers(0, 9),
    reasons=reasons,
    registered=st.booleans(),
    provisional=st.booleans(),
) | st.builds(lambda key, wipe: Record(key=key, state=wipe.state, version=9, wipe=wipe), keys, orders)
cases = st.builds(
    Case,
    key=st.none() | keys,
    record=st.none() | st.sampled_from(Unreadable) | records,
    need=st.none() | st.sampled_from(Need) | st.sampled_from(Unreadable),
    rule=st.none() | st.sampled_from(Rule),
    excess=st.none() | st.sampled_from(Excess),
    observe=st.booleans(),
    rule_name=st.sampled_from(["", "lost"]),
    too_old=st.booleans(),
)


def record(state: State, *reasons: Reason, key: DeviceKey = KEY) -> Record:
    """An entry."""
    return Record(key=key, state=state, version=1, reasons=reasons)


def wiping(*marks: WipeMark, kind: WipeKind = WipeKind.DEVICE) -> Record:
    """An entry with an order to wipe, of which so much has come."""
    wipe = Wipe(kind=kind, order=1, marks=marks)
    return Record(key=KEY, state=wipe.state, version=1, wipe=wipe)


def block(*reasons: Reason) -> Verdict:
    """A block."""
    return Verdict(Action.BLOCK, reasons)


ALLOWED = record(State.ALLOWED)
UNVERIFIED = wiping(WipeMark.UNVERIFIED)
WIPED = wiping(WipeMark.UNVERIFIED, WipeMark.VERIFIED)
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
        (Case(KEY, ALLOWED, Unreadable.LIST), WAIT),
        (Case(KEY, UNREGISTERED, Unreadable.LIST, rule=Rule.ALLOW), WAIT),
        (Case(KEY, UNREGISTERED, Unreadable.LIST), Verdict(Action.BLOCK, UNREGISTERED.reasons)),
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
        (Case(KEY, WIPED), block(Reason.WIPED)),
        # An order to wipe is above everything, and who is wiped is told nothing else; other devices' wipes are not its.
        (
            Case(KEY, wiping(), NEED, Rule.DENY, Excess.SYNC_LOOP, observe=True),
            Verdict(Action.WIPE, wipe=wiping().wipe),
        ),
        (
            Case(KEY, UNVERIFIED, rule=Rule.DENY, excess=Excess.SYNC_LOOP),
            Verdict(Action.WIPE, (Reason.WIPED,), wipe=UNVERIFIED.wipe),
        ),
        (Case(KEY, wiping(), too_old=True), Verdict(Action.WIPE, wipe=wiping().wipe)),
        (Case(KEY, UNVERIFIED, too_old=True), Verdict(Action.WIPE, (Reason.WIPED,), wipe=UNVERIFIED.wipe)),
        (Case(KEY, WIPED, too_old=True), block(Reason.WIPED)),
        (Case(KEY, WIPED, rule=Rule.DENY, excess=Excess.SYNC_LOOP), block(Reason.WIPED)),
        (Case(DeviceKey("PHONE2", "anna"), wiping()), ASK),
        (Case(DeviceKey("PHONE2", "anna"), wiping(), rule=Rule.DENY), block(Reason.LOCAL_RULE)),
        # Rules of the site's own: denial is above what else the UEM says, leave only above posture and registration.
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


def but(case: Case, **other: Any) -> Case:
    """The case with something in it changed."""
    names = ("key", "record", "need", "rule", "excess", "observe", "rule_name", "too_old")
    return Case(**{name: getattr(case, name) for name in names} | other)


@given(cases)
def test_observing_changes_nothing_but_blocks_for_posture_and_registration(case: Case) -> None:
    """Neither wipes nor denials, nor what an administrator said."""
    softened = decide(but(case, observe=True))
    strict = decide(but(case, observe=False))
    if softened != strict:
        assert strict.action is Action.BLOCK
        assert softened.softened == strict.reasons
        assert SOFT.issuperset(strict.reasons)


@given(cases)
def test_a_denial_lets_nobody_pass(case: Case) -> None:
    """But a request that names no device. One that is to be wiped gets the order, as without the rule."""
    verdict = decide(but(case, rule=Rule.DENY))
    if verdict.action is Action.WIPE:
        assert verdict == decide(but(case, rule=None))
    else:
        assert verdict.action in (Action.BLOCK, Action.THROTTLE) or case.key is None


@given(cases)
def test_nothing_but_the_entry_and_the_version_matters_to_a_wipe(case: Case) -> None:
    """Rules, throttling, observing and policies neither keep the order from its device nor let it pass."""
    bare = decide(Case(case.key, case.record))
    judged = decide(case)
    if bare.action is Action.WIPE or bare.row is Row.WIPED:
        assert judged == bare
        assert isinstance(case.record, Record)
        assert case.record.state in (State.WIPE_PENDING, State.WIPED)
    else:
        assert judged.action is not Action.WIPE


@given(cases)
def test_only_a_device_that_may_pass_is_provisioned(case: Case) -> None:
    """Every other verdict is what it would be without a policy."""
    plain = decide(but(case, need=None))
    judged = decide(but(case, need=NEED))
    wanted = plain.action is Action.ALLOW and case.key is not None
    assert judged == (Verdict(Action.PROVISION, (NEED,), plain.softened) if wanted else plain)


@given(cases)
def test_only_a_device_that_may_pass_waits_for_what_it_lacks(case: Case) -> None:
    """Every other verdict is what it would be without a policy."""
    plain = decide(but(case, need=None))
    judged = decide(but(case, need=Unreadable.LIST))
    assert judged == (WAIT if plain.action is Action.ALLOW and case.key is not None else plain)


@given(cases)
def test_what_is_explained_is_what_is_decided(case: Case) -> None:
    """The last step has the verdict, with the row that the audit trail names; the steps before it are the table's, in order."""
    steps = explain(case)
    verdict = decide(case)
    assert steps[-1].verdict == verdict
    assert steps[-1].row is verdict.row
    assert [step.row for step in steps] == [entry.row for entry in TABLE[: len(steps)]]
    assert all(step.verdict is None for step in steps[:-1])
    assert all(step.asks and step.saw for step in steps)


def test_the_table_in_the_docstring_is_the_table() -> None:
    """Each row once, in the same order, and the last one takes what is left."""
    lines = SOURCE.read_text().splitlines()  # a compiled module has no docstring
    documented = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert documented == [entry.row.value for entry in TABLE] == [row.value for row in Row]


@pytest.mark.parametrize(
    ("case", "row", "saw"),
    [
        (Case(None, None), Row.NO_DEVICE, "no device"),
        (Case(KEY, None, excess=Excess.SYNC_LOOP), Row.EXCESS, "sync_loop"),
        (Case(KEY, ALLOWED, rule=Rule.DENY, rule_name="lost"), Row.DENIED_BY_RULE, "rule lost: deny"),
        (Case(KEY, Unreadable.ENTRY), Row.UNREADABLE, "the entry cannot be read"),
        (Case(KEY, Unreadable.LIST), Row.UNKNOWN, "the list cannot be read"),
        (Case(KEY, None), Row.UNKNOWN, "no entry"),
        (Case(KEY, record(State.WIPE_PENDING)), Row.WIPE_PENDING, "wipe_pending"),
        (Case(KEY, record(State.WIPED)), Row.WIPED, "wiped"),
        (Case(KEY, wiping()), Row.WIPE_PENDING, "wipe_pending; wipe of the device: waits for the device"),
        (
            Case(KEY, wiping(WipeMark.FAILED, WipeMark.HANDED_OUT), rule=Rule.DENY, excess=Excess.SYNC_LOOP),
            Row.WIPE_PENDING,
            "wipe_pending; wipe of the device: failed, handed_out",
        ),
        (Case(KEY, UNVERIFIED), Row.WIPE_UNVERIFIED, "wiped; wipe of the device: unverified"),
        (Case(KEY, WIPED), Row.WIPED, "wiped; wipe of the device: unverified, verified"),
        (
            Case(KEY, wiping(kind=WipeKind.ACCOUNT), too_old=True),
            Row.WIPE_TOO_OLD,
            "wipe_pending; wipe of the account: waits for the device; the version has none",
        ),
        (
            Case(KEY, wiping(WipeMark.UNVERIFIED, kind=WipeKind.ACCOUNT), too_old=True),
            Row.WIPE_TOO_OLD,
            "wiped; wipe of the account: unverified; the version has none",
        ),
        (Case(KEY, ALLOWED), Row.ALLOWED, "allowed"),
        (Case(KEY, ALLOWED, NEED), Row.ALLOWED, "allowed; lacks our policy: policy_key_missing"),
        (Case(KEY, ALLOWED, Unreadable.LIST), Row.ALLOWED, "allowed; the list cannot be read for what it lacks"),
        (Case(KEY, BY_HAND, rule=Rule.ALLOW, observe=True), Row.BLOCKED_BY_HAND, "blocked, unregistered, manual"),
        (
            Case(KEY, UNREGISTERED, rule=Rule.ALLOW, rule_name="pilot"),
            Row.ALLOWED_BY_RULE,
            "rule pilot: allow; blocked, unregistered, policy",
        ),
        (Case(KEY, UNREGISTERED, observe=True), Row.OBSERVED, "observing; blocked, unregistered, policy"),
        (Case(KEY, UNREGISTERED), Row.BLOCKED, "blocked, unregistered, policy"),
        (Case(KEY, record(State.BLOCKED), observe=True), Row.BLOCKED, "blocked"),
    ],
)
def test_each_row_says_what_it_saw(case: Case, row: Row, saw: str) -> None:
    """In the words of the device list and of the site's rules."""
    last = explain(case)[-1]
    assert (last.row, last.saw) == (row, saw)


@pytest.mark.parametrize("reason", sorted(Reason))
@pytest.mark.parametrize(
    ("rule", "observe"), [(None, False), (Rule.ALLOW, False), (None, True), (Rule.ALLOW, True), (Rule.DENY, True)]
)
def test_manual_over_automatic_and_denial_over_all(reason: Reason, rule: Rule | None, observe: bool) -> None:  # noqa: FBT001 - a table
    """The matrix of what the UEM says against what the site says.

    EPMM's actions on an ActiveSync association: Allow (also against policy) and Block override the automatic decision, after
    Wipe only Remove is valid. Citrix's local rules stand above what the UEM says of posture and registration. No rule keeps a
    wipe from its device.
    """
    allowed = decide(Case(KEY, ALLOWED, rule=rule, observe=observe))
    assert allowed.action is (Action.BLOCK if rule is Rule.DENY else Action.ALLOW)
    blocked = decide(Case(KEY, record(State.BLOCKED, reason), rule=rule, observe=observe))
    softened = rule is not Rule.DENY and (rule is Rule.ALLOW or observe) and reason in SOFT
    assert blocked.action is (Action.ALLOW if softened else Action.BLOCK)
    with_hand = decide(Case(KEY, record(State.BLOCKED, reason, Reason.MANUAL), rule=rule, observe=observe))
    assert with_hand.action is Action.BLOCK
    for state, action in ((State.WIPE_PENDING, Action.WIPE), (State.WIPED, Action.BLOCK)):
        to_wipe = decide(Case(KEY, record(state, reason), rule=rule, observe=observe))
        assert to_wipe.action is action


@given(st.lists(st.sampled_from(Reason), min_size=2, max_size=5, unique=True))
def test_the_reasons_are_a_set_and_the_last_one_frees(reasons: list[Reason]) -> None:
    """As EPMM's `blockReason` is a bit map: clearing one cause keeps the block, whichever it is."""
    for gone in reasons:
        left = tuple(reason for reason in reasons if reason is not gone)
        assert decide(Case(KEY, record(State.BLOCKED, *left))) == block(*left)
