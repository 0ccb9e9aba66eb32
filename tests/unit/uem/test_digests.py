"""The digests: the published form to the letter, and that both sides come to the same."""

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.agent.changes import Effect, Known, effect
from sentry_runtime.devices.record import Reason, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.tunnel import AppTunnel, TunnelAuthentication
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import Decision

WIKI = AppTunnel(
    name="Wiki",
    host="wiki.lab.test",
    port=443,
    authentication=(TunnelAuthentication.PASS_THROUGH, TunnelAuthentication.KERBEROS),
)
FILES = AppTunnel(name="Files", host="10.98.3.20", port=8443)
FULL = Decision(
    device_id="C1",
    principal="änna@lab.test",
    state=State.WIPE_PENDING,
    version=7,
    reasons=(Reason.POLICY, Reason.MANUAL),
    device_type="iPhone",
    registered=True,
    note="lost",
    policy=Policy(device_password_enabled=True),
    wipe=Wipe(kind=WipeKind.ACCOUNT, order=6, marks=(WipeMark.TOO_OLD, WipeMark.HANDED_OUT), by="olga o"),
    tunnels=(WIKI, FILES),
)


def sha(text: str) -> str:
    """In hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_entry_is_digested_as_the_protocol_says() -> None:
    """Written out here, as another implementation would."""
    policy = sha('{"device_password_enabled":true}')
    tunnels = sha("Files\n10.98.3.20\n8443\npass_through\nWiki\nwiki.lab.test\n443\nkerberos,pass_through\n")
    text = (
        "C1\nänna@lab.test\n7\nwipe_pending\nmanual,policy\n1\niPhone\nlost\n"
        f"{policy}\naccount 6 handed_out,too_old olga o\n{tunnels}\n"
    )
    assert digests.word([digests.of_decision(FULL)]) == sha(text)


def test_an_entry_that_says_little_has_empty_lines() -> None:
    """Rather than fewer."""
    little = Decision(device_id="C1", principal="anna", state=State.ALLOWED, version=1)
    assert digests.word([digests.of_decision(little)]) == sha("C1\nanna\n1\nallowed\n\n0\n\n\n\n\n\n")


def test_buckets_and_root_are_as_the_protocol_says() -> None:
    """Ten bits of a hash; sums of 256 bits; a hash of all of them."""
    name = int(sha("C1\0anna@lab.test"), 16)
    assert digests.bucket_of("C1", "anna@lab.test") == name >> 246
    assert digests.word([2**256 - 1, 3]) == f"{2:064x}"
    assert digests.word([]) == "0" * 64
    empty = digests.Sums().words()
    assert (len(empty), digests.root(empty)) == (1_024, hashlib.sha256(bytes(32 * 1_024)).hexdigest())


@pytest.mark.parametrize(
    "change",
    [
        {"device_id": "C2"},
        {"principal": "anna@lab.test"},
        {"state": State.WIPED},
        {"version": 8},
        {"reasons": (Reason.MANUAL,)},
        {"device_type": "iPad"},
        {"registered": False},
        {"note": ""},
        {"policy": Policy(device_password_enabled=False)},
        {"policy": None},
        {"wipe": None},
        {"wipe": Wipe(kind=WipeKind.DEVICE, order=6, marks=(WipeMark.HANDED_OUT,), by="olga o")},
        {"tunnels": (WIKI,)},
        {"tunnels": (WIKI, msgspec.structs.replace(FILES, port=8444))},
        {"tunnels": (WIKI, msgspec.structs.replace(FILES, authentication=(TunnelAuthentication.KERBEROS,)))},
    ],
)
def test_every_field_of_a_decision_counts(change: dict[str, Any]) -> None:
    """So nothing can differ unseen under one version."""
    assert digests.of_decision(msgspec.structs.replace(FULL, **change)) != digests.of_decision(FULL)


def test_the_order_of_what_has_none_does_not_count() -> None:
    """Reasons, marks and tunnels are sets."""
    assert FULL.wipe is not None
    wipe = msgspec.structs.replace(FULL.wipe, marks=FULL.wipe.marks[::-1])
    other = msgspec.structs.replace(FULL, reasons=FULL.reasons[::-1], tunnels=FULL.tunnels[::-1], wipe=wipe)
    assert digests.of_decision(other) == digests.of_decision(FULL)


words = st.builds(
    Decision,
    device_id=st.sampled_from(["C1", "C2", "4331"]),
    principal=st.sampled_from(["anna", "bert@lab.test"]),
    state=st.sampled_from([State.ALLOWED, State.BLOCKED]),
    version=st.integers(1, 2**53 - 1),
    reasons=st.lists(st.sampled_from(list(Reason)), max_size=4).map(tuple),
    device_type=st.sampled_from(["", "iPhone"]),
    registered=st.booleans(),
    note=st.text(max_size=5),
    policy=st.sampled_from([None, Policy(), Policy(allow_camera=False)]),
    tunnels=st.sampled_from([(), (WIKI,), (FILES, WIKI)]),
)


@given(words)
def test_the_entry_made_of_a_decision_has_its_digest(word: Decision) -> None:
    """The two sides digest different things, and have to agree."""
    made = effect(Known(None, 0, 0), word, 1_000)
    assert isinstance(made, Effect)
    assert made.record is not None
    assert digests.of_record(made.record) == digests.of_decision(word)


@given(st.lists(words, max_size=20), st.randoms(use_true_random=False))
def test_sums_are_the_same_in_whatever_order_entries_come_and_go(known: list[Decision], draw: Any) -> None:
    """Step by step, as by adding what is there in the end."""
    sums = digests.Sums()
    entries = [(digests.bucket_of(word.device_id, word.principal), digests.of_decision(word)) for word in known]
    for entry in entries:
        sums.put(*entry)
    draw.shuffle(entries)
    kept, gone = entries[::2], entries[1::2]
    for entry in gone:
        sums.drop(*entry)
    found = sums.words()
    assert len(found) == digests.BUCKETS
    for bucket, word in enumerate(found):
        assert word == digests.word(entry for place, entry in kept if place == bucket)
