"""The list held against the UEM: whatever has been lost or mistaken on either side, it ends as the UEM says."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_runtime.agent.changes import Admitted, Marked
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.reconciler import Reconciler
from sentry_runtime.devices.record import DeviceKey, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.store import Writer
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import BucketPage, Decision, Digests
from sentry_runtime.uem.link import LinkBusyError, LinkRefusedError
from tests.unit.agent.ears import Ears

ANNA, BERT = DeviceKey("C1", "anna@lab.test"), DeviceKey("C2", "bert@lab.test")
TUNNELS = (AppTunnel(name="Wiki", host="wiki.lab.test", port=443),)


def decision(key: DeviceKey, version: int, state: State = State.ALLOWED, **more: Any) -> Decision:
    """The UEM's word."""
    return Decision(device_id=key.device_id, principal=key.principal, state=state, version=version, **more)


class Uem:
    """Knows some decisions as of a version; its pages hold two. `meanwhile` is called before each page."""

    def __init__(self, *known: Decision, version: int = 0) -> None:
        self.known = {DeviceKey(one.device_id, one.principal): one for one in known}
        self.version = version or max((one.version for one in known), default=0)
        self.asked: list[int] = []
        self.busy = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.lie = ""

    async def digests(self, root: str) -> Digests:
        """Only the root where that is known."""
        if self.busy:
            raise LinkBusyError("the UEM answered 503: not yet")
        words = self._words()
        whole = digests.root(words)
        return Digests(version=self.version, root=whole, buckets=() if whole == root else words)

    async def bucket(self, number: int, after: int) -> BucketPage:
        """In the order of versions."""
        self.asked.append(number)
        self.meanwhile()
        found = sorted((one for one in self._in(number) if one.version > after), key=lambda one: one.version)
        return BucketPage(version=self.version, decisions=tuple(found[:2]), more=len(found) > 2)

    def _in(self, number: int) -> list[Decision]:
        return [one for one in self.known.values() if digests.bucket_of(one.device_id, one.principal) == number]

    def _words(self) -> tuple[str, ...]:
        words = [digests.word(map(digests.of_decision, self._in(number))) for number in range(digests.BUCKETS)]
        if self.lie:
            words[0] = self.lie
        return tuple(words)


def of(records: list[Record]) -> dict[DeviceKey, tuple[State, int, str]]:
    """What matters here."""
    return {record.key: (record.state, record.version, record.note) for record in records}


async def test_where_both_know_the_same_nothing_is_read(devices: DeviceList, ears: Ears) -> None:
    """One question, whose answer has one digest."""
    known = [decision(ANNA, 1, tunnels=TUNNELS, policy=Policy(allow_camera=False)), decision(BERT, 2, State.BLOCKED)]
    await devices.take(known, cursor=2)
    uem, before = Uem(*known), devices.page(None, 10)
    reconciler = Reconciler(devices, uem, audit=ears.audit)
    await reconciler.compare()
    assert (reconciler.state, uem.asked, ears.audited, devices.page(None, 10)) == ("equal", [], [], before)


async def test_an_entry_that_the_uem_has_not_goes(devices: DeviceList, ears: Ears) -> None:
    """Its removal was lost under a version that the cursor has passed; late news of it stays without effect."""
    await devices.take([decision(ANNA, 1), decision(BERT, 2)], cursor=5)
    reconciler = Reconciler(devices, Uem(decision(BERT, 2), version=5), audit=ears.audit)
    await reconciler.compare()
    assert (devices.get(ANNA), reconciler.state, reconciler.repaired) == (None, "repaired", 1)
    assert ears.announced[-1] == (ANNA,)
    assert ears.events == ["device_changed", "device_list_repaired"]
    await devices.take([decision(ANNA, 4)])
    assert devices.get(ANNA) is None


async def test_an_entry_that_only_the_uem_has_comes(devices: DeviceList, ears: Ears) -> None:
    """Below the cursor, where the feed would never bring it again; with its tunnels and its policy."""
    await devices.take([decision(BERT, 2)], cursor=5)
    policy = Policy(allow_camera=False)
    uem = Uem(decision(ANNA, 1, tunnels=TUNNELS, policy=policy), decision(BERT, 2), version=5)
    await Reconciler(devices, uem, audit=ears.audit).compare()
    record = devices.get(ANNA)
    assert record is not None
    assert (record.version, devices.tunnels(record.tunnels), devices.policy(record.policy)) == (1, TUNNELS, policy)


@pytest.mark.parametrize(
    "wrong",
    [{"state": State.BLOCKED}, {"note": "other"}, {"tunnels": TUNNELS}, {"policy": Policy()}, {"registered": True}],
)
async def test_an_entry_that_says_something_else_under_the_same_version_is_put_right(
    devices: DeviceList, ears: Ears, wrong: dict[str, Any]
) -> None:
    """Whatever it is."""
    await devices.take([msgspec.structs.replace(decision(ANNA, 3), **wrong)], cursor=5)
    uem = Uem(decision(ANNA, 3), version=5)
    reconciler = Reconciler(devices, uem, audit=ears.audit)
    await reconciler.compare()
    await reconciler.compare()
    assert (of(devices.page(None, 10)), reconciler.state) == ({ANNA: (State.ALLOWED, 3, "")}, "equal")


async def test_what_is_newer_than_what_was_read_stays(devices: DeviceList, ears: Ears) -> None:
    """A push that overtook the answer: a newer block, a newer device, a newer removal."""
    carl = DeviceKey("C3", "carl")
    await devices.take([decision(ANNA, 1)], cursor=5)
    pushed = [decision(ANNA, 6, State.BLOCKED), decision(BERT, 7), decision(carl, 8, removed=True)]
    await devices.take(pushed)
    uem = Uem(decision(ANNA, 1), decision(carl, 3), version=5)
    await Reconciler(devices, uem, audit=ears.audit).compare()
    assert of(devices.page(None, 10)) == {ANNA: (State.BLOCKED, 6, ""), BERT: (State.ALLOWED, 7, "")}


async def test_what_the_uem_was_put_back_behind_is_put_back_once_it_has_gone_on(
    devices: DeviceList, ears: Ears
) -> None:
    """Of an entry with a version that the UEM has given out again, for something else, the UEM's word holds."""
    await devices.take([decision(ANNA, 9, State.BLOCKED)], cursor=9)
    uem = Uem(decision(ANNA, 4), version=8)
    await Reconciler(devices, uem, audit=ears.audit).compare()
    assert of(devices.page(None, 10)) == {ANNA: (State.BLOCKED, 9, "")}
    uem.version = 20
    await Reconciler(devices, uem, audit=ears.audit).compare()
    assert of(devices.page(None, 10)) == {ANNA: (State.ALLOWED, 4, "")}


async def test_a_mark_that_the_uem_has_not_been_told_of_stays(devices: DeviceList, ears: Ears) -> None:
    """The device has acknowledged its wipe: it is not let in for a difference of digests."""
    pending = decision(ANNA, 3, State.WIPE_PENDING, wipe=Wipe(kind=WipeKind.DEVICE, order=3))
    await devices.take([pending, Marked(ANNA, 3, WipeMark.UNVERIFIED)], cursor=5)
    for uem in (Uem(pending, version=5), Uem(version=9)):
        await Reconciler(devices, uem, audit=ears.audit).compare()
        record = devices.get(ANNA)
        assert record is not None
        assert (record.state, record.unreported) == (State.WIPED, True)


async def test_a_guess_of_the_fail_mode_is_no_difference(devices: DeviceList, ears: Ears) -> None:
    """Whether the UEM knows the device, a first contact finds out."""
    await devices.take([Admitted(Record(key=ANNA, state=State.ALLOWED, version=0, provisional=True))])
    uem = Uem(version=5)
    await Reconciler(devices, uem, audit=ears.audit).compare()
    assert (uem.asked, devices.provisional) == ([], frozenset({ANNA}))
    uem = Uem(decision(ANNA, 4, State.BLOCKED))
    await Reconciler(devices, uem, audit=ears.audit).compare()
    assert of(devices.page(None, 10)) == {ANNA: (State.BLOCKED, 4, "")}


async def test_a_uem_whose_digests_are_not_made_yet_is_no_problem(devices: DeviceList, ears: Ears) -> None:
    """It says so, and is asked again at the next round."""
    uem = Uem()
    uem.busy = True
    reconciler = Reconciler(devices, uem, audit=ears.audit)
    await reconciler.compare()
    assert (reconciler.state, ears.audited) == ("waits", [])


async def test_a_digest_that_is_not_that_of_the_decisions_is_named(devices: DeviceList, ears: Ears) -> None:
    """And the list is as the decisions say."""
    await devices.take([decision(ANNA, 1)], cursor=1)
    uem = Uem(decision(ANNA, 1))
    uem.lie = "5" * 64
    with pytest.raises(LinkRefusedError, match=r"`\$\.buckets\[0\]`"):
        await Reconciler(devices, uem, audit=ears.audit).compare()
    assert of(devices.page(None, 10)) == {ANNA: (State.ALLOWED, 1, "")}


KEYS = [DeviceKey(f"C{number}", "anna") for number in range(12)]
truth = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.sampled_from(list(State)[:2]), st.sampled_from(["", "a"])))
mishaps = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["lost", "wrong", "older", "invented"]))


@settings(max_examples=60)
@given(truth, mishaps)
def test_after_one_comparison_the_lists_are_equal(known: dict[DeviceKey, Any], wrong: dict[DeviceKey, str]) -> None:
    """Whatever has happened to whichever entries."""

    async def run() -> None:
        words = {key: decision(key, at, state, note=note) for at, (key, (state, note)) in enumerate(known.items(), 10)}
        held = dict(words)
        for key, what in wrong.items():
            match what:
                case "lost":
                    held.pop(key, None)
                case "wrong" if key in held:
                    held[key] = msgspec.structs.replace(held[key], note="mistaken")
                case "older" if key in held:
                    held[key] = decision(key, 2, State.BLOCKED)
                case "invented" if key not in held:
                    held[key] = decision(key, 5)
        with tempfile.TemporaryDirectory() as folder:
            store = Writer(Path(folder))
            devices = DeviceList(store, lambda _keys: None)
            await devices.take(held.values(), cursor=90)
            uem = Uem(*words.values(), version=90)
            reconciler = Reconciler(devices, uem, audit=Ears().audit)
            await reconciler.compare()
            assert of(devices.page(None, 100)) == {
                key: (word.state, word.version, word.note) for key, word in words.items()
            }
            await reconciler.compare()
            assert reconciler.state == "equal"
            await devices.close()
            store.close()

    asyncio.run(run())


async def test_a_uem_that_keeps_its_buckets_to_itself_is_not_equal(devices: DeviceList, ears: Ears) -> None:
    """It has said that something differs, and not what."""

    class Silent(Uem):
        async def digests(self, root: str) -> Digests:
            found = await super().digests(root)
            return msgspec.structs.replace(found, buckets=())

    reconciler = Reconciler(devices, Silent(decision(ANNA, 1)), audit=ears.audit)
    with pytest.raises(LinkRefusedError, match=r"\$\.buckets"):
        await reconciler.compare()
    assert reconciler.state == "untried"


async def test_a_bucket_without_end_is_not_read_to_its_end(
    devices: DeviceList, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it would be in memory."""
    monkeypatch.setattr("sentry_runtime.agent.reconciler.BUCKET_DEVICES", 3)
    number = digests.bucket_of(ANNA.device_id, ANNA.principal)
    names = (f"C{each}" for each in range(100_000))
    same = itertools.islice((name for name in names if digests.bucket_of(name, ANNA.principal) == number), 6)
    uem = Uem(*(decision(DeviceKey(name, ANNA.principal), 1 + at) for at, name in enumerate(same)))
    with pytest.raises(LinkRefusedError, match="more than 3 devices"):
        await Reconciler(devices, uem, audit=ears.audit).compare()
    assert (len(uem.asked), devices.count) == (2, 0)
