"""What of a snapshot is news to the list: row by row of the module's table."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.agent.changes import Known, effect
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind
from sentry_runtime.uem.adapters.changes import FORGET_SECONDS, Gone, change
from sentry_runtime.uem.adapters.entry import Entry, Snapshot

KEY = DeviceKey("C1", "anna@lab.test")
NOW = 100_000_000.0
BLOCKED = frozenset({Reason.POLICY})
UNREGISTERED = frozenset({Reason.UNREGISTERED})


def record(**more: Any) -> Record:
    """An entry of a registered, allowed phone."""
    usual = {"state": State.ALLOWED, "version": 5, "registered": True, "device_type": "iPhone", "updated": int(NOW)}
    return Record(key=KEY, **{**usual, **more})


def news(held: Record, *entries: Entry, block: bool = True) -> Entry | Gone | None:
    """What becomes of it when the UEM says this."""
    return change(held, Snapshot({one.key: one for one in entries}), block_unregistered=block, now=NOW)


@pytest.mark.parametrize(
    ("held", "entry", "found"),
    [
        (record(), Entry(KEY, registered=True, device_type="iPhone"), None),
        (record(), Entry(KEY, BLOCKED, registered=True, device_type="iPhone"), "the entry"),
        (record(), Entry(KEY, registered=False, device_type="iPhone"), "the entry"),
        (record(), Entry(KEY, registered=True, device_type="iPad"), "the entry"),
        (
            record(note="by an administrator of the UEM before"),
            Entry(KEY, registered=True, device_type="iPhone"),
            "the entry",
        ),
        (record(policy=b"x"), Entry(KEY, registered=True, device_type="iPhone"), "the entry"),
        (record(provisional=True), Entry(KEY, registered=True, device_type="iPhone"), "the entry"),
        (record(), None, Gone.WITHDRAWN),
        (record(provisional=True, registered=False), None, None),
    ],
)
def test_what_becomes_of_an_entry(held: Record, entry: Entry | None, found: object) -> None:
    """A device that the UEM knows has its word; one that it does not know any more is asked about anew."""
    said = () if entry is None else (entry,)
    assert news(held, *said) == (entry if found == "the entry" else found)


def test_a_stranger_stays_what_it_is_until_it_is_forgotten() -> None:
    """What it said of its type stays with it; a changed setting is news to it."""
    stranger = record(registered=False, state=State.BLOCKED, reasons=(Reason.UNREGISTERED,), device_type="Android")
    assert news(stranger) is None
    assert news(stranger, block=False) == Entry(KEY, device_type="Android")
    old = msgspec.structs.replace(stranger, updated=int(NOW - FORGET_SECONDS - 1))
    assert news(old) is Gone.UNREGISTERED
    assert news(old, Entry(KEY, registered=True)) == Entry(KEY, registered=True)


@pytest.mark.parametrize("state", [State.WIPE_PENDING, State.WIPED])
def test_an_order_to_wipe_is_touched_by_nothing(state: State) -> None:
    """Neither a word that lets the device in nor its absence lifts it."""
    held = record(state=state, wipe=Wipe(kind=WipeKind.DEVICE, order=3))
    assert news(held, Entry(KEY, registered=True)) is None
    assert news(held) is None


@given(
    entry=st.builds(
        Entry,
        key=st.just(KEY),
        reasons=st.frozensets(st.sampled_from([Reason.POLICY, Reason.MANUAL])),
        registered=st.booleans(),
        device_type=st.sampled_from(["", "iPhone"]),
    ),
    state=st.sampled_from([State.ALLOWED, State.BLOCKED]),
    provisional=st.booleans(),
    block=st.booleans(),
)
def test_what_was_news_once_is_none_the_second_time(
    *, entry: Entry, state: State, provisional: bool, block: bool
) -> None:
    """The list after the decision, whatever it had before, and the same snapshot: nothing is to be said. So no poll repeats
    itself, and a restart finds nothing that is not there."""
    held = record(state=state, provisional=provisional, registered=False)
    snapshot = Snapshot({KEY: entry})
    said = change(held, snapshot, block_unregistered=block, now=NOW)
    if isinstance(said, Entry):
        became = effect(Known(held, 0, 0), said.decision(9), int(NOW))
        assert became is not None
        assert became.record is not None
        held = became.record
    assert change(held, snapshot, block_unregistered=block, now=NOW) is None
