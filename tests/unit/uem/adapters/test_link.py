"""A vendor's API as the agent's link: numbers for its words, restarts without news, first contacts, and a list that shrinks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.keeper import Keeper
from sentry_runtime.agent.questions import Questions
from sentry_runtime.agent.reconciler import Reconciler
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind
from sentry_runtime.devices.store import Writer
from sentry_runtime.uem.adapters import link as links
from sentry_runtime.uem.adapters.entry import Entry, LeftOut, Snapshot, gathered
from sentry_runtime.uem.adapters.link import SHRUNK_SECONDS, STRANGERS, AdapterLink
from sentry_runtime.uem.api import Contact, Decision, WipeReport
from sentry_runtime.uem.link import LinkError, LinkRefusedError, LinkSlowError
from tests.clock import Clock
from tests.unit.agent.ears import Ears

ANNA, BERT, CARL = (DeviceKey(f"C{number}", f"{name}@lab.test") for number, name in enumerate(("anna", "bert", "carl")))
NOW = 1_700_000_000.0


class Vendor:
    """Says what it is told to; `before` is awaited by each answer."""

    name = "a vendor's UEM"
    throttled = 0
    wait = 0.0

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.trouble: LinkError | None = None
        self.before: Callable[[], object] = lambda: None
        self.opens = 0

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Count those who are connected."""
        self.opens += 1
        try:
            yield
        finally:
            self.opens -= 1

    def says(self, *entries: Entry | LeftOut) -> None:
        """From now on this."""
        self.snapshot = gathered(entries)

    async def everything(self) -> Snapshot:
        """All of it."""
        said = self.before()
        if asyncio.isfuture(said):
            await said
        if self.trouble is not None:
            raise self.trouble
        return self.snapshot

    async def find(self, contact: Contact) -> Snapshot:
        """The same."""
        return await self.everything()


@pytest.fixture
def vendor() -> Vendor:
    """Knows nothing."""
    return Vendor()


@pytest.fixture
def clock() -> Clock:
    """One for all."""
    return Clock(NOW)


class Box:
    """An agent's list with its keeper, over restarts."""

    def __init__(self, folder: Path, vendor: Vendor, clock: Clock) -> None:
        self.folder, self.vendor, self.clock = folder, vendor, clock
        self.ears = Ears()
        self.start()

    def start(self) -> None:
        """From what is on the disk."""
        self.store = Writer(self.folder)
        self.list = DeviceList(self.store, self.ears.announce, clock=self.clock)
        self.link = AdapterLink(self.vendor, self.list, block_unregistered=True, contact_seconds=0.5, now=self.clock)
        circuit = Circuit(self.clock, draw=lambda: 1.0)
        questions = Questions(self.list, self.link, circuit, "block", audit=self.ears.audit, clock=self.clock)
        self.keeper = Keeper(
            *(self.list, self.link, circuit, questions),
            reconciler=Reconciler(self.list, self.link, audit=self.ears.audit),
            resync_seconds=60.0,
            audit=self.ears.audit,
            clock=self.clock,
        )

    async def stop(self) -> None:
        """Close the list."""
        await self.list.close()
        self.store.close()

    async def restart(self) -> None:
        """As after a crash: nothing but the list is left."""
        await self.stop()
        self.start()

    def states(self) -> dict[str, tuple[State, set[Reason]]]:
        """What the list says of whom."""
        return {one.key.principal: (one.state, set(one.reasons)) for one in self.list.page(None, 1_000)}

    async def poll(self) -> list[DeviceKey]:
        """One round; which entries changed visibly by it."""
        before = len(self.ears.announced)
        await self.keeper.round()
        return sorted(key for keys in self.ears.announced[before:] for key in keys)


@pytest.fixture
async def box(tmp_path: Path, vendor: Vendor, clock: Clock) -> AsyncIterator[Box]:
    """An empty list."""
    made = Box(tmp_path, vendor, clock)
    yield made
    await made.stop()


def allowed(key: DeviceKey) -> Entry:
    """A registered phone."""
    return Entry(key, registered=True, device_type="iPhone")


def blocked(key: DeviceKey, reason: Reason = Reason.POLICY) -> Entry:
    """A registered phone that is not let in."""
    return Entry(key, frozenset({reason}), registered=True, device_type="iPhone")


def contact(key: DeviceKey) -> Contact:
    """It was seen for the first time."""
    return Contact(device_id=key.device_id, principal=key.principal, device_type="Android", seen=5)


async def test_the_list_becomes_what_the_uem_says(box: Box, vendor: Vendor) -> None:
    """New, changed and gone: each is news once, and only what changed is told on."""
    vendor.says(allowed(ANNA), blocked(BERT))
    assert await box.poll() == [ANNA, BERT]
    assert await box.poll() == []
    vendor.says(blocked(ANNA, Reason.COMPROMISED), allowed(CARL))
    assert await box.poll() == [ANNA, BERT, CARL]
    assert box.states() == {
        ANNA.principal: (State.BLOCKED, {Reason.COMPROMISED}),
        CARL.principal: (State.ALLOWED, set()),
    }


async def test_digests_find_nothing_to_repair(box: Box, vendor: Vendor) -> None:
    """The poll before them has done it."""
    vendor.says(allowed(ANNA), blocked(BERT))
    await box.list.take([await box.link.contact(contact(CARL))])
    await box.poll()
    assert (box.keeper.problem, box.list.count) == ("", 3)


async def test_a_restart_invents_no_change(box: Box, vendor: Vendor) -> None:
    """Not even where the clock was set back meanwhile; and what follows still counts as newer."""
    vendor.says(allowed(ANNA), blocked(BERT))
    await box.poll()
    versions = {one.key: one.version for one in box.list.page(None, 10)}
    box.clock.now -= 1_000_000.0
    await box.restart()
    assert await box.poll() == []
    assert {one.key: one.version for one in box.list.page(None, 10)} == versions
    vendor.says(blocked(ANNA), blocked(BERT))
    assert await box.poll() == [ANNA]
    assert box.states()[ANNA.principal] == (State.BLOCKED, {Reason.POLICY})


async def test_what_a_crash_lost_is_found_again(box: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of a poll is on the disk, the others were not: the next poll says what is missing, and no more."""
    vendor.says(*(allowed(DeviceKey(f"C{number}", "anna@lab.test")) for number in range(5)))
    page = await box.link.decisions(box.list.cursor, limit=2)
    assert (len(page.decisions), page.more) == (2, True)
    await box.list.take(page.decisions, cursor=page.next)
    await box.restart()
    assert len(await box.poll()) == 3
    assert box.list.count == 5


async def test_pages_go_on_where_they_ended_and_not_elsewhere(box: Box, vendor: Vendor) -> None:
    """Numbers rise from page to page; who asks from another place gets all that is news to the list as it is."""
    vendor.says(*(allowed(DeviceKey(f"C{number}", "anna@lab.test")) for number in range(5)))
    first = await box.link.decisions(0, limit=2)
    second = await box.link.decisions(first.next, limit=2)
    third = await box.link.decisions(second.next, limit=2)
    numbers = [one.version for page in (first, second, third) for one in page.decisions]
    assert numbers == sorted(set(numbers))
    assert [page.next for page in (first, second, third)] == [numbers[1], numbers[3], numbers[4]]
    assert (second.more, third.more) == (True, False)
    again = await box.link.decisions(0, limit=9)
    assert len(again.decisions) == 5


async def test_a_failed_poll_leaves_the_old_state(box: Box, vendor: Vendor) -> None:
    """And is said once."""
    vendor.says(allowed(ANNA))
    await box.poll()
    vendor.trouble = LinkRefusedError("rubbish - at `$.value[3].jailBroken`")
    vendor.says()
    for _ in range(3):
        assert await box.poll() == []
    assert box.states() == {ANNA.principal: (State.ALLOWED, set())}
    assert [said["detail"] for event, said in box.ears.audited if event == "uem_resync_failed"] == [
        "rubbish - at `$.value[3].jailBroken`"
    ]


async def test_a_first_contact_is_answered_with_a_higher_number_than_any_before(box: Box, vendor: Vendor) -> None:
    """A word of the poll that was on its way before it changes nothing of it."""
    vendor.says(allowed(ANNA), allowed(BERT))
    page = await box.link.decisions(0)
    vendor.says(blocked(ANNA), allowed(BERT))
    decision = await box.link.contact(contact(ANNA))
    assert decision.version > page.next
    await box.list.take([decision])
    await box.list.take(page.decisions, cursor=page.next)
    assert box.states()[ANNA.principal] == (State.BLOCKED, {Reason.POLICY})


async def test_a_stranger_is_unregistered_and_stays_so_over_polls(box: Box, vendor: Vendor) -> None:
    """With the type that it said; when the UEM knows it, the next poll says so."""
    decision = await box.link.contact(contact(ANNA))
    assert (decision.state, decision.reasons) == (State.BLOCKED, (Reason.UNREGISTERED,))
    assert (decision.registered, decision.device_type) == (False, "Android")
    await box.list.take([decision])
    assert await box.poll() == []
    vendor.says(allowed(ANNA))
    assert await box.poll() == [ANNA]
    assert box.states() == {ANNA.principal: (State.ALLOWED, set())}


async def test_one_user_has_so_many_unregistered_devices_and_no_more(box: Box, vendor: Vendor) -> None:
    """Over restarts; another user is not touched by it, nor is a phone that the UEM knows."""
    for number in range(STRANGERS):
        await box.list.take([await box.link.contact(contact(DeviceKey(f"X{number}", "anna@lab.test")))])
    more = DeviceKey("MORE", "anna@lab.test")
    for _ in range(2):
        with pytest.raises(LinkRefusedError, match="20 devices of this user are not registered"):
            await box.link.contact(contact(more))
        await box.poll()
        await box.restart()
    assert (await box.link.contact(contact(DeviceKey("X0", "bert@lab.test")))).state is State.BLOCKED
    vendor.says(allowed(more))
    assert (await box.link.contact(contact(more))).state is State.ALLOWED


async def test_who_is_blocked_under_another_spelling_is_blocked(box: Box, vendor: Vendor) -> None:
    """Both at its first contact and at every poll after it."""
    octets = DeviceKey(b"APPL1".hex().upper(), "anna@lab.test")
    vendor.says(blocked(DeviceKey("APPL1", "anna@lab.test"), Reason.COMPROMISED), allowed(octets))
    await box.list.take([await box.link.contact(contact(octets))])
    record = box.list.get(octets)
    assert record is not None
    assert record.reasons == (Reason.COMPROMISED,)
    await box.poll()
    assert box.list.get(octets) == record


async def test_a_uem_that_does_not_answer_in_time_is_slow(box: Box, vendor: Vendor) -> None:
    """No outage: the fail mode does not speak."""
    never = asyncio.get_running_loop().create_future()
    vendor.before = lambda: never
    with pytest.raises(LinkSlowError, match="no answer within"):
        await box.link.contact(contact(ANNA))


async def test_half_a_fleet_that_is_gone_at_once_is_believed_the_second_time(
    box: Box, vendor: Vendor, clock: Clock
) -> None:
    """An account that lost a permission sees an empty list; nobody is taken off for a minute."""
    fleet = [allowed(DeviceKey(f"C{number}", "anna@lab.test")) for number in range(40)]
    vendor.says(*fleet)
    await box.poll()
    vendor.says(*fleet[:19])
    for _ in range(2):
        assert await box.poll() == []
    assert "lists 21 of 40 registered devices no more" in box.keeper.problem
    vendor.says(*fleet)
    await box.poll()
    vendor.says(*fleet[:19])
    clock.now += SHRUNK_SECONDS
    assert await box.poll() == []
    clock.now += SHRUNK_SECONDS
    assert len(await box.poll()) == 21
    vendor.says(*fleet[:1])
    assert len(await box.poll()) == 18  # fewer than twenty go at once


async def test_wipes_of_another_uem_stand_and_are_reported_to_nobody(box: Box, vendor: Vendor) -> None:
    """None of these APIs would take the acknowledgement."""
    wipe = Wipe(kind=WipeKind.DEVICE, order=3)
    pending = Decision(
        device_id=ANNA.device_id, principal=ANNA.principal, state=State.WIPE_PENDING, version=3, wipe=wipe
    )
    await box.list.take([pending])
    vendor.says(allowed(ANNA))
    assert await box.poll() == []
    assert box.states()[ANNA.principal] == (State.WIPE_PENDING, set())
    with pytest.raises(LinkRefusedError, match="takes no report of a wipe"):
        await box.link.report_wipe(WipeReport(device_id=ANNA.device_id, principal=ANNA.principal, wipe=wipe))


async def test_what_is_left_out_is_shown(box: Box, vendor: Vendor) -> None:
    """With how many the UEM has, and how often it asked us to wait."""
    vendor.says(allowed(ANNA), LeftOut.NO_USER, LeftOut.NO_DEVICE_ID, LeftOut.NO_DEVICE_ID)
    await box.poll()
    assert box.link.facts() == {
        "uem": "a vendor's UEM",
        "uem_devices": 1,
        "uem_left_out": "2 with no ActiveSync device id; 1 with no user",
        "uem_throttled": 0,
        "uem_wait_seconds": 0,
    }


async def test_the_source_is_open_for_as_long_as_the_link_is(box: Box, vendor: Vendor) -> None:
    """And closed with it."""
    async with box.link:
        assert vendor.opens == 1
    assert vendor.opens == 0


async def test_a_long_list_is_looked_through_in_pages(
    box: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a turn for others in between, and to its end."""
    monkeypatch.setattr(links, "_PAGE", 2)
    vendor.says(*(allowed(DeviceKey(f"C{number}", "anna@lab.test")) for number in range(7)))
    await box.poll()
    vendor.says(*(blocked(DeviceKey(f"C{number}", "anna@lab.test")) for number in range(7)))
    assert len(await box.poll()) == 7


class Memory:
    """A device list of nothing but records."""

    def __init__(self, records: list[Record], cursor: int) -> None:
        self.records, self.cursor = records, cursor

    def get(self, key: DeviceKey) -> Record | None:
        """The one of this key."""
        return next((one for one in self.records if one.key == key), None)

    def page(self, after: DeviceKey | None, limit: int) -> list[Record]:
        """All at once."""
        return self.records if after is None else []


@given(st.lists(st.integers(1, 2**50), max_size=5), st.integers(0, 2**50), st.floats(0, 2e9))
async def test_a_new_number_is_above_all_that_the_list_has(versions: list[int], cursor: int, now: float) -> None:
    """Whatever the clock says."""
    records = [
        Record(key=DeviceKey(f"C{place}", "a"), state=State.ALLOWED, version=version)
        for place, version in enumerate(versions)
    ]
    listed = Memory(records, cursor)
    link = AdapterLink(Vendor(), listed, block_unregistered=True, contact_seconds=1.0, now=lambda: now)
    first, second = [await link.contact(contact(DeviceKey(name, "b"))) for name in ("Y", "Z")]
    assert max([*versions, cursor]) < first.version < second.version
