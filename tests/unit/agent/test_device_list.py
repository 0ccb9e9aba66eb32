"""News into the list: durable, in order, announced; and the same list whatever the order."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_runtime.agent import device_list, shelf
from sentry_runtime.agent.changes import Admitted, Expired, Marked
from sentry_runtime.agent.device_list import AUDITED_SINGLY, DeviceList, account
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.store import Saying, StoreFullError, Writer
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.uem.api import Decision
from tests.unit.agent.ears import Ears

ANNA = DeviceKey("C1", "anna@lab.test")
BERT = DeviceKey("C2", "bert@lab.test")


def unheard(keys: tuple[DeviceKey, ...]) -> None:
    """Where nobody follows."""


STRICT, LAX = Policy(device_password_enabled=True), Policy(allow_camera=True)
SAYS = DeviceInformation(model="iPhone10C1")


def decision(key: DeviceKey, version: int, state: State = State.ALLOWED, **more: Any) -> Decision:
    """The UEM's word."""
    return Decision(device_id=key.device_id, principal=key.principal, state=state, version=version, **more)


def guess(key: DeviceKey) -> Admitted:
    """The fail mode's."""
    return Admitted(Record(key=key, state=State.ALLOWED, version=0, provisional=True, first_seen=1_000))


async def test_a_change_is_on_the_disk_before_it_is_announced(tmp_path: Path) -> None:
    """Whoever reads on the announcement reads the new entry."""
    store = Writer(tmp_path)
    seen: list[Record | None] = []
    devices = DeviceList(store, lambda keys: seen.extend(store.get(key) for key in keys))
    changed = await devices.take([decision(ANNA, 1)])
    assert changed == (ANNA,)
    assert [record.version for record in seen if record is not None] == [1]
    await devices.close()
    store.close()


async def test_only_what_a_follower_would_see_differently_is_announced(devices: DeviceList, ears: Ears) -> None:
    """Repetitions and mere version changes are silent."""
    await devices.take([decision(ANNA, 1), decision(BERT, 2)])
    await devices.take([decision(ANNA, 1), decision(BERT, 3)])
    await devices.take([decision(ANNA, 4, State.BLOCKED), decision(BERT, 5, removed=True)])
    assert ears.announced == [(ANNA, BERT), (ANNA, BERT)]
    assert (devices.count, devices.cursor) == (1, 0)


async def test_a_block_and_its_end_in_one_message_are_announced_though_the_entry_ends_as_it_began(
    devices: DeviceList, ears: Ears
) -> None:
    """A follower may have read in between on another occasion; telling it too much is right, too little is not."""
    await devices.take([decision(ANNA, 1)])
    await devices.take([decision(ANNA, 2, State.BLOCKED), decision(ANNA, 3)])
    assert ears.announced == [(ANNA,), (ANNA,)]


async def test_what_arrives_during_a_commit_goes_into_the_next_one_together(tmp_path: Path) -> None:
    """A hundred messages at once cost two commits or so, not a hundred, and each hears only of its own."""
    store = Writer(tmp_path)
    commits = 0
    write = store.write

    def counted(**what: object) -> None:
        nonlocal commits
        commits += 1
        write(**what)  # type: ignore[arg-type]

    store.write = counted  # type: ignore[method-assign]
    devices = DeviceList(store, unheard)
    keys = [DeviceKey(f"C{number}", "anna") for number in range(100)]
    outcomes = await asyncio.gather(*(devices.take([decision(key, number)]) for number, key in enumerate(keys, 1)))
    assert outcomes == [(key,) for key in keys]
    assert commits <= 3
    await devices.close()
    store.close()


async def test_the_cursor_goes_forward_only_unless_it_is_rewound(devices: DeviceList) -> None:
    """A late page does not take it back."""
    await devices.take([], cursor=9)
    await devices.take([], cursor=5)
    assert devices.cursor == 9
    await devices.take([], cursor=0, rewind=True)
    assert devices.cursor == 0


async def test_provisional_entries_are_counted_until_they_are_decided_or_expire(devices: DeviceList) -> None:
    """The count bounds the fail mode."""
    await devices.take([guess(ANNA), guess(BERT)])
    assert devices.provisional == {ANNA, BERT}
    await devices.take([decision(ANNA, 1), Expired(BERT)])
    assert (devices.provisional, devices.count) == (frozenset(), 1)


async def test_a_list_opened_again_knows_its_entries_and_which_are_provisional(tmp_path: Path) -> None:
    """Counted anew from the disk."""
    store = Writer(tmp_path)
    devices = DeviceList(store, unheard)
    await devices.take([guess(ANNA), decision(BERT, 1)])
    await devices.close()
    again = DeviceList(store, unheard)
    assert (again.count, again.provisional) == (2, frozenset({ANNA}))
    await again.close()
    store.close()


async def test_a_refused_write_reaches_everyone_who_waited_for_it_and_the_list_goes_on(
    tmp_path: Path, ears: Ears
) -> None:
    """Nothing is announced that is not on the disk."""
    store = Writer(tmp_path, map_bytes=131_072)
    devices = DeviceList(store, ears.announce)
    many = [decision(DeviceKey(f"C{number}", "x" * 200), number) for number in range(1, 2_000)]
    with pytest.raises(StoreFullError):
        await devices.take(many, cursor=2_000)
    assert (devices.count, devices.cursor, ears.announced) == (0, 0, [])
    assert await devices.take([decision(ANNA, 1)]) == (ANNA,)
    await devices.close()
    store.close()


async def test_few_changes_are_audited_one_by_one_and_many_by_their_number(devices: DeviceList, ears: Ears) -> None:
    """The first load of a fleet does not flood the log."""
    await devices.take([decision(ANNA, 1, State.BLOCKED, policy=STRICT)])
    account(ears.audit, devices, (ANNA, BERT))
    account(ears.audit, devices, (ANNA,) * (AUDITED_SINGLY + 1))
    said = {"action": "blocked", "reasons": (), "version": 1, "detail": f"policy {digest(STRICT).hex()[:12]}"}
    assert ears.audited == [
        ("device_changed", {"key": ANNA, **said}),
        ("device_changed", {"key": BERT, "action": "removed"}),
        ("devices_changed", {"count": AUDITED_SINGLY + 1}),
    ]


KEYS = [DeviceKey(f"C{number}", "anna") for number in range(3)]
words = st.tuples(st.sampled_from(KEYS), st.sampled_from(list(State)), st.booleans())
happenings = st.lists(st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=1, max_size=4)), max_size=12)


def history_of(said: list[tuple[DeviceKey, State, bool]]) -> list[Decision]:
    """The UEM's decisions with their versions."""
    return [decision(key, version, state, removed=removed) for version, (key, state, removed) in enumerate(said, 1)]


def last_words(history: list[Decision]) -> dict[DeviceKey, Decision]:
    """What the UEM's feed says at this point."""
    return {DeviceKey(word.device_id, word.principal): word for word in history}


def feed(history: list[Decision], after: int) -> list[Decision]:
    """The UEM's page behind `after`: its last words, in the order of their versions."""
    return sorted(
        (word for word in last_words(history).values() if word.version > after), key=lambda word: word.version
    )


@settings(max_examples=60)
@given(st.lists(words, min_size=1, max_size=10), happenings)
async def test_any_order_and_repetition_of_pushes_and_pages_gives_the_same_list(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[DeviceKey, State, bool]],
    happening: list[list[int] | None],
) -> None:
    """Pushes come late, early, twice or never; pages come between; after the last page the list is the UEM's last word."""
    history = history_of(said)
    store = Writer(tmp_path_factory.mktemp("list"))
    devices = DeviceList(store, unheard, clock=lambda: 1_000.0)
    told = 0
    for step in happening:
        if step is None:  # a page: what the UEM knows by now and the cursor has not passed
            told = min(len(history), told + 3)
            await devices.take(feed(history[:told], devices.cursor), cursor=told)
        else:
            await devices.take([history[number] for number in step if number < len(history)])
    final = last_words(history).values()
    await devices.take(feed(history, devices.cursor), cursor=len(history))
    expected = {
        DeviceKey(word.device_id, word.principal): (word.state, word.version) for word in final if not word.removed
    }
    assert {record.key: (record.state, record.version) for record in devices.page(None, 10)} == expected
    assert devices.count == len(expected)
    await devices.close()
    store.close()


async def test_what_a_backend_enforces_is_kept_announced_and_gone_with_the_entry(tmp_path: Path) -> None:
    """On the disk before anybody hears of it."""
    store = Writer(tmp_path)
    seen: list[Enforcement | None] = []
    devices = DeviceList(store, lambda keys: seen.extend(store.enforcement(key) for key in keys))
    first, second = Enforcement(temporary=5, digest=b"d"), Enforcement(final=6, digest=b"d")
    assert not await devices.keep(ANNA, first)
    await devices.take([decision(ANNA, 1)])
    assert await devices.keep(ANNA, first)
    assert await devices.keep(ANNA, second)
    await devices.take([decision(ANNA, 2, removed=True)])
    assert seen == [None, first, second, None]
    assert store.enforcement(ANNA) is None
    await devices.close()
    store.close()


async def test_words_on_backends_that_come_together_are_written_together_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused key that has been overtaken in the same breath is no news."""
    store = Writer(tmp_path)
    devices = DeviceList(store, unheard)
    await devices.take([decision(ANNA, 1), decision(BERT, 2)])
    writes: list[int] = []
    write = store.write

    def counted(**what: object) -> None:
        writes.append(len(what["enforced"]))  # type: ignore[arg-type]
        write(**what)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "write", counted)
    kept = await asyncio.gather(
        devices.keep(BERT, Enforcement(final=1)),
        devices.keep(ANNA, Enforcement(final=6)),
        devices.keep(ANNA, Enforcement(), after=6),
        devices.keep(ANNA, Enforcement(temporary=7)),
        devices.keep(ANNA, Enforcement(), after=6),
        devices.keep(DeviceKey("C9", "nobody"), Enforcement()),
    )
    assert [*kept] == [True, True, True, True, False, False]
    assert store.enforcement(ANNA) == Enforcement(temporary=7)
    assert sum(writes) <= 3
    assert len(writes) <= 2
    await devices.close()
    store.close()


async def test_a_disk_that_refuses_a_backends_keys_is_told_to_whoever_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one is written."""
    store = Writer(tmp_path)
    devices = DeviceList(store, unheard)
    await devices.take([decision(ANNA, 1)])

    def full(**_: object) -> None:
        raise StoreFullError("full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", full)
        with pytest.raises(StoreFullError):
            await devices.keep(ANNA, Enforcement(final=6))
    assert await devices.keep(ANNA, Enforcement(final=6))
    await devices.close()
    store.close()


async def test_a_policy_is_there_as_long_as_an_entry_names_it(devices: DeviceList) -> None:
    """The first that names it brings it, the last takes it along."""
    await devices.take([decision(ANNA, 1, policy=STRICT), decision(BERT, 2, policy=STRICT)])
    record = devices.get(ANNA)
    assert record is not None
    assert (record.policy, devices.policy(record.policy)) == (digest(STRICT), STRICT)
    await devices.take([decision(ANNA, 3, policy=LAX)])
    assert [devices.policy(digest(one)) for one in (STRICT, LAX)] == [STRICT, LAX]
    await devices.take([decision(BERT, 4, removed=True)])
    assert [devices.policy(digest(one)) for one in (STRICT, LAX)] == [None, LAX]
    await devices.take([decision(ANNA, 5)])
    assert devices.policy(digest(LAX)) is None


async def test_a_policy_and_a_mark_of_a_wipe_in_one_commit_are_both_kept(tmp_path: Path) -> None:
    """The mark's entry names the policy that the word before it brought; so it is after a restart."""
    store = Writer(tmp_path)
    devices = DeviceList(store, unheard)
    order = Wipe(kind=WipeKind.DEVICE, order=1)
    word = decision(ANNA, 1, State.WIPE_PENDING, wipe=order, policy=STRICT)
    await asyncio.gather(devices.take([word]), devices.take([Marked(ANNA, 1, WipeMark.HANDED_OUT)]))
    assert devices.policy(digest(STRICT)) == STRICT
    await devices.take([Marked(ANNA, 1, WipeMark.UNVERIFIED)])
    assert devices.policy(digest(STRICT)) == STRICT
    await devices.close()
    again = DeviceList(store, unheard)
    entry = again.get(ANNA)
    assert entry is not None
    assert (entry.policy, entry.state, again.unreported) == (digest(STRICT), State.WIPED, frozenset({ANNA}))
    await again.take([decision(ANNA, 2, policy=LAX, removed=True)])
    assert again.policy(digest(STRICT)) is None
    assert again.unreported == frozenset()
    await again.close()
    store.close()


async def test_a_restart_forgets_no_policy_and_counts_on(tmp_path: Path) -> None:
    """The list on the disk has both the entries and what they name."""
    store = Writer(tmp_path)
    first = DeviceList(store, unheard)
    await first.take([decision(ANNA, 1, policy=STRICT), decision(BERT, 2, policy=STRICT)])
    await first.close()
    store.close()
    store = Writer(tmp_path)
    second = DeviceList(store, unheard)
    assert second.policy(digest(STRICT)) == STRICT
    await second.take([decision(ANNA, 3)])
    assert second.policy(digest(STRICT)) == STRICT
    await second.take([decision(BERT, 4)])
    assert second.policy(digest(STRICT)) is None
    await second.close()
    store.close()


async def test_the_number_of_policies_is_bounded_and_no_state_is_lost_by_it(
    devices: DeviceList, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a UEM thinks of: the entry is written, its device does not pass until there is room."""
    monkeypatch.setattr(devices, "_policy_shelf", dataclasses.replace(shelf.policies(), most=1))
    await devices.take([decision(ANNA, 1, policy=STRICT)])
    await devices.take([decision(BERT, 2, State.BLOCKED, policy=LAX)])
    entry = devices.get(BERT)
    assert entry is not None
    assert (entry.state, devices.policy(entry.policy), devices.policy(digest(STRICT))) == (State.BLOCKED, None, STRICT)
    assert "1 policies are left out: the list has room for 1" in caplog.text
    await devices.take([decision(ANNA, 3), decision(BERT, 4, policy=LAX)])
    assert [devices.policy(digest(one)) for one in (STRICT, LAX)] == [None, LAX]


async def test_a_change_of_policy_alone_is_announced(devices: DeviceList, ears: Ears) -> None:
    """The worker must ask for another key; the same policy again is no news."""
    await devices.take([decision(ANNA, 1, policy=STRICT)])
    await devices.take([decision(ANNA, 2, policy=STRICT)])
    await devices.take([decision(ANNA, 3, policy=LAX)])
    assert ears.announced == [(ANNA,), (ANNA,)]


histories = st.lists(
    st.tuples(st.sampled_from([ANNA, BERT]), st.sampled_from([None, STRICT, LAX]), st.booleans()), max_size=12
)


@settings(max_examples=30)
@given(histories, st.lists(st.integers(1, 4), min_size=12, max_size=12))
async def test_the_policies_that_are_kept_are_those_that_are_named(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[DeviceKey, Policy | None, bool]], sizes: list[int]
) -> None:
    """After any history, in messages of any size: none is missing, none is left over."""
    store = Writer(tmp_path_factory.mktemp("list"))
    devices = DeviceList(store, unheard)
    news = [decision(key, n, policy=policy, removed=gone) for n, (key, policy, gone) in enumerate(history, 1)]
    while news:
        size = sizes.pop()
        batch, news = news[:size], news[size:]
        await devices.take(batch)
        named = {record.policy for key in (ANNA, BERT) if (record := devices.get(key)) is not None and record.policy}
        kept = {digest(one) for one in (STRICT, LAX) if devices.policy(digest(one)) is not None}
        assert kept == named
    await devices.close()
    store.close()


async def test_what_a_device_says_is_kept_with_its_entry_only(devices: DeviceList) -> None:
    """Who has none says nothing; with the entry it goes."""
    assert not await devices.note(ANNA, SAYS)
    await devices.take([decision(ANNA, 1)])
    assert await devices.note(ANNA, SAYS)
    assert devices.said(ANNA) == Saying(SAYS)
    await devices.note_told(ANNA, Saying(DeviceInformation(model="what it said before")))
    assert devices.said(ANNA) == Saying(SAYS)
    await devices.note_told(ANNA, Saying(SAYS))
    assert devices.said(ANNA) == Saying(SAYS, told=True)
    await devices.take([decision(ANNA, 2, removed=True)])
    assert list(devices.sayings()) == []


async def test_the_number_of_those_that_say_something_is_bounded(
    devices: DeviceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is there may say something else; one that goes makes room."""
    monkeypatch.setattr(device_list, "SAYINGS", 1)
    await devices.take([decision(ANNA, 1), decision(BERT, 2)])
    assert await devices.note(ANNA, SAYS)
    assert not await devices.note(BERT, SAYS)
    assert await devices.note(ANNA, DeviceInformation(model="other"))
    await devices.take([decision(ANNA, 3, removed=True)])
    assert await devices.note(BERT, SAYS)


WIKI = (AppTunnel(name="Wiki", host="wiki.lab.test", port=443),)
FILES = (AppTunnel(name="Files", host="10.98.3.20", port=8443), *WIKI)


def kept(devices: DeviceList, key: DeviceKey) -> tuple[AppTunnel, ...] | None:
    """The tunnels of an entry, as far as there is room for them."""
    record = devices.get(key)
    assert record is not None
    return devices.tunnels(record.tunnels)


async def test_app_tunnels_are_kept_once_and_go_with_the_last_entry_that_has_them(
    devices: DeviceList, ears: Ears
) -> None:
    """Other tunnels are a change that followers hear of; in another order they are the same."""
    await devices.take([decision(ANNA, 1, tunnels=WIKI), decision(BERT, 2, tunnels=FILES)])
    assert (kept(devices, ANNA), kept(devices, BERT)) == (WIKI, FILES)
    await devices.take([decision(ANNA, 3, tunnels=FILES[::-1])])
    anna, bert = devices.get(ANNA), devices.get(BERT)
    assert anna is not None
    assert bert is not None
    assert (anna.tunnels, kept(devices, ANNA)) == (bert.tunnels, FILES)
    assert ears.announced[-1] == (ANNA,)
    await devices.take([decision(ANNA, 4), decision(BERT, 5, removed=True)])
    assert devices.tunnels(bert.tunnels) is None


@pytest.mark.shows("core start 3", "cloud start 2")
async def test_beyond_the_cache_size_an_entry_has_all_but_its_tunnels(
    tmp_path: Path, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    """Its state matters more; what is kept before a restart is kept after it."""
    store = Writer(tmp_path)
    devices = DeviceList(store, ears.announce, cache=1)
    await devices.take([decision(ANNA, 1, tunnels=WIKI)])
    await devices.take([decision(BERT, 2, State.BLOCKED, tunnels=FILES)])
    await devices.close()
    again = DeviceList(store, ears.announce, cache=1)
    bert = again.get(BERT)
    assert bert is not None
    assert (bert.state, kept(again, BERT), kept(again, ANNA)) == (State.BLOCKED, None, WIKI)
    assert "1 devices' app tunnels are left out" in caplog.text
    await again.take([decision(ANNA, 3)])
    await again.take([decision(BERT, 4, tunnels=FILES)])
    assert kept(again, BERT) == FILES
    await again.close()
    store.close()


async def test_a_list_opened_again_has_the_digests_it_had(tmp_path: Path, ears: Ears) -> None:
    """Made anew from the disk; the fail mode's guesses do not count."""
    store = Writer(tmp_path)
    devices = DeviceList(store, ears.announce)
    empty = devices.digests()
    await devices.take([guess(ANNA)])
    assert devices.digests() == empty
    await devices.take([decision(ANNA, 1, tunnels=WIKI), decision(BERT, 2, policy=STRICT)])
    before = devices.digests()
    await devices.close()
    again = DeviceList(store, ears.announce)
    assert again.digests() == before != empty
    await again.take([decision(ANNA, 3, removed=True), decision(BERT, 4, removed=True)])
    assert again.digests() == empty
    await again.close()
    store.close()
