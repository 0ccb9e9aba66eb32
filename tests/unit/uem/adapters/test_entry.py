"""A UEM's words in our terms: what is no name is left out, the later record counts, and only an exact match grants."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.adapters.entry import Entry, LeftOut, Snapshot, gathered, judged, key_of, type_of
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import WORDS_CHARS, check_words, decode

KEY = DeviceKey("C1", "anna@lab.test")
SITE = Names({"lab": "lab.test"}, "lab.test")

KEYS = st.sampled_from([KEY, DeviceKey("C2", "anna@lab.test"), DeviceKey("C1", "bert@lab.test")])
ENTRIES = st.builds(
    Entry,
    key=KEYS,
    reasons=st.frozensets(st.sampled_from([Reason.POLICY, Reason.MANUAL, Reason.COMPROMISED])),
    registered=st.booleans(),
    device_type=st.sampled_from(["iPhone", ""]),
    seen=st.sampled_from([0.0, 5.0, 9.0]),
)


@pytest.mark.parametrize(
    ("device_id", "user", "found"),
    [
        ("appl1", "LAB\\Anna", DeviceKey("APPL1", "anna@lab.test")),
        ("appl1", "anna", DeviceKey("APPL1", "anna@lab.test")),
        ("appl1", "Anna@LAB.test", DeviceKey("APPL1", "anna@lab.test")),
        ("", "anna", LeftOut.NO_DEVICE_ID),
        ("a b", "anna", LeftOut.ODD_DEVICE_ID),
        ("ä", "anna", LeftOut.ODD_DEVICE_ID),
        ("ß", "anna", LeftOut.ODD_DEVICE_ID),
        ("\ud800", "anna", LeftOut.ODD_DEVICE_ID),
        ("A" * 65, "anna", LeftOut.ODD_DEVICE_ID),
        ("A\0", "anna", LeftOut.ODD_DEVICE_ID),
        ("A", "", LeftOut.NO_USER),
        ("A", "  ", LeftOut.NO_USER),
        ("A", "an na", LeftOut.ODD_USER),
        ("A", "a\x07", LeftOut.ODD_USER),
        ("A", "a" * 400, LeftOut.ODD_USER),
    ],
)
def test_the_names_of_a_record(device_id: str, user: str, found: DeviceKey | LeftOut) -> None:
    """As the gateway has them of a request, or why there are none."""
    assert key_of(device_id, user, SITE) == found


@given(st.text(max_size=70), st.text(max_size=40), st.text(max_size=300))
def test_whatever_a_uem_calls_a_device_the_decision_is_of_the_protocol(device_id: str, user: str, model: str) -> None:
    """What is not left out passes the very checks that a message of our own protocol must pass."""
    key = key_of(device_id, user, SITE)
    if isinstance(key, DeviceKey):
        decision = Entry(key, frozenset({Reason.POLICY}), device_type=type_of(model)).decision(5)
        assert decode(msgspec.json.encode(decision), Decision) == decision
    check_words("$", device_type=type_of(None, "", model))
    assert len(type_of(model)) <= WORDS_CHARS


@given(st.lists(st.one_of(ENTRIES, st.sampled_from(LeftOut)), max_size=12), st.randoms())
def test_the_order_of_the_records_does_not_matter(records: list[Entry | LeftOut], mixer: random.Random) -> None:
    """The same records, shuffled, are the same snapshot; each device has its latest, and what those without a time forbid."""
    shuffled = list(records)
    mixer.shuffle(shuffled)
    found = gathered(records)
    assert gathered(shuffled) == found
    held = [one for one in records if isinstance(one, Entry)]
    for key, entry in found.entries.items():
        latest = [one for one in held if one.key == key and one.seen in (entry.seen, 0.0)]
        assert entry.seen == max(one.seen for one in held if one.key == key)
        assert entry.reasons == frozenset().union(*(one.reasons for one in latest))
        assert entry.registered == all(one.registered for one in latest)
    assert sum(found.left_out.values()) == len(records) - len(held)


@pytest.mark.parametrize("seen", [0.0, 5.0])
def test_a_record_without_a_time_lifts_no_block_and_its_own_stands(seen: float) -> None:
    """Nobody can say which of the two is the present one."""
    dated, undated = (
        Entry(KEY, registered=True, seen=seen),
        Entry(KEY, frozenset({Reason.COMPROMISED}), registered=True),
    )
    for records in ([dated, undated], [undated, dated], [undated, dated, Entry(KEY, registered=True, seen=9.0)]):
        assert gathered(records).entries[KEY].state is State.BLOCKED
    lifted = gathered([Entry(KEY, frozenset({Reason.POLICY}), seen=seen), Entry(KEY, registered=True)])
    assert lifted.entries[KEY].reasons == {Reason.POLICY}


def test_a_state_follows_from_the_reasons() -> None:
    """There is no block without a reason, and no reason without a block."""
    assert (Entry(KEY).state, Entry(KEY, frozenset({Reason.MANUAL})).state) == (State.ALLOWED, State.BLOCKED)


def test_who_is_not_found_is_unregistered() -> None:
    """Blocked, or let in where the site says so."""
    assert judged(KEY, Snapshot(), block_unregistered=True).reasons == {Reason.UNREGISTERED}
    assert judged(KEY, Snapshot(), block_unregistered=False) == Entry(KEY)


@pytest.mark.parametrize("aliases", [(), ("APPL1",)])
def test_another_spelling_only_restricts(aliases: tuple[str, ...]) -> None:
    """A phone whose id comes as bytes is known under their hex; what is said of the text lets it not in, but keeps it out."""
    text, octets = DeviceKey("APPL1", "anna@lab.test"), DeviceKey(b"APPL1".hex().upper(), "anna@lab.test")
    allowed = Snapshot({text: Entry(text, registered=True)})
    blocked = Snapshot({text: Entry(text, frozenset({Reason.COMPROMISED})), octets: Entry(octets, registered=True)})
    assert judged(octets, allowed, block_unregistered=True, aliases=aliases).reasons == {Reason.UNREGISTERED}
    found = judged(octets, blocked, block_unregistered=True, aliases=aliases)
    assert found.reasons == {Reason.COMPROMISED}
    assert found.registered
    assert judged(text, allowed, block_unregistered=True).reasons == frozenset()


def test_another_users_device_of_the_same_id_says_nothing() -> None:
    """The same phone with two mailboxes is two devices."""
    other = DeviceKey("C1", "bert@lab.test")
    snapshot = Snapshot({other: Entry(other, registered=True)})
    assert judged(KEY, snapshot, block_unregistered=True).reasons == {Reason.UNREGISTERED}
