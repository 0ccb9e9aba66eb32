"""The decision: what an entry of the device list means for a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.gateway.decide import ALLOW, ASK, WAIT, Action, Need, Unreadable, Verdict, decide

KEY = DeviceKey("PHONE1", "anna")
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


def record(state: State, *reasons: Reason, key: DeviceKey = KEY) -> Record:
    """An entry."""
    return Record(key=key, state=state, version=1, reasons=reasons)


@pytest.mark.parametrize(
    ("key", "entry", "verdict"),
    [
        (None, None, ALLOW),
        (KEY, None, ASK),
        (KEY, Unreadable.LIST, ASK),
        (KEY, Unreadable.ENTRY, WAIT),
        (KEY, record(State.ALLOWED), ALLOW),
        (KEY, record(State.ALLOWED, key=DeviceKey("PHONE2", "anna")), ASK),
        (KEY, record(State.ALLOWED, key=DeviceKey("PHONE1", "bert")), ASK),
        (
            KEY,
            record(State.BLOCKED, Reason.MANUAL, Reason.POLICY),
            Verdict(Action.BLOCK, (Reason.MANUAL, Reason.POLICY)),
        ),
        (KEY, record(State.BLOCKED), Verdict(Action.BLOCK)),
        (KEY, record(State.WIPE_PENDING), Verdict(Action.BLOCK)),
        (KEY, record(State.WIPED), Verdict(Action.BLOCK)),
    ],
)
def test_the_table(key: DeviceKey | None, entry: Record | Unreadable | None, verdict: Verdict) -> None:
    """Every kind of entry."""
    assert decide(key, entry) == verdict


@given(keys, st.none() | records)
def test_only_an_allowed_entry_of_exactly_this_key_lets_a_device_pass(key: DeviceKey, entry: Record | None) -> None:
    """Whatever else stands in the entry."""
    allowed = decide(key, entry).action is Action.ALLOW
    assert allowed == (entry is not None and entry.key == key and entry.state is State.ALLOWED)


@given(keys, st.none() | records)
def test_a_block_says_all_of_its_reasons_and_nothing_else_has_any(key: DeviceKey, entry: Record | None) -> None:
    """The set of the entry."""
    verdict = decide(key, entry)
    assert verdict.reasons == (entry.reasons if entry is not None and verdict.action is Action.BLOCK else ())


@given(keys, st.none() | records, st.sampled_from(Need))
def test_only_a_device_that_may_pass_is_provisioned(key: DeviceKey, entry: Record | None, need: Need) -> None:
    """Every other verdict is what it would be without a policy."""
    plain, judged = decide(key, entry), decide(key, entry, need)
    assert judged == (Verdict(Action.PROVISION, (need,)) if plain == ALLOW else plain)
