"""The worker's cache over the device list."""

from collections.abc import Iterable

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.devices.store import EntryUnreadableError, StoreError
from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.gateway.decide import Unreadable
from sentry_runtime.gateway.known import ENTRIES, POLICIES, Known

KEY = DeviceKey("PHONE1", "anna")
RECORD = Record(key=KEY, state=State.ALLOWED, version=1)


class Store:
    """A list in memory that counts how often it is read."""

    def __init__(self) -> None:
        self.records = {KEY: RECORD}
        self.enforced: dict[DeviceKey, Enforcement] = {}
        self.reads = 0
        self.broken = False
        self.damaged: set[DeviceKey] = set()
        self.closed = False
        self.policies: dict[bytes, Policy] = {}

    def get(self, key: DeviceKey) -> Record | None:
        """As the real one."""
        self.reads += 1
        if self.broken:
            raise StoreError("/nowhere: gone")
        if key in self.damaged:
            raise EntryUnreadableError("/nowhere: the entry is damaged")
        return self.records.get(key)

    def get_many(self, keys: Iterable[DeviceKey]) -> dict[DeviceKey, Record]:
        """As the real one."""
        self.reads += 1
        if self.broken:
            raise StoreError("/nowhere: gone")
        return {key: self.records[key] for key in keys if key in self.records and key not in self.damaged}

    def enforcement(self, key: DeviceKey) -> Enforcement | None:
        """As the real one."""
        self.get(key)
        return self.enforced.get(key)

    def policy(self, wanted: bytes) -> Policy | None:
        """As the real one."""
        self.reads += 1
        if self.broken:
            raise StoreError("/nowhere: gone")
        return self.policies.get(wanted)

    def has_policies(self) -> bool:
        """As the real one."""
        return bool(self.policies)

    def close(self) -> None:
        """As the real one."""
        self.closed = True


def test_while_changes_are_told_an_entry_is_read_once() -> None:
    """Until it changes."""
    store = Store()
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    assert [known.get(KEY) for _ in range(3)] == [RECORD] * 3
    assert store.reads == 1
    store.records.clear()
    known.changed([KEY])
    assert known.get(KEY) is None


def test_while_no_changes_are_told_every_entry_is_read_each_time() -> None:
    """Also what was kept before."""
    store = Store()
    known = Known(lambda: store)
    assert [known.get(KEY), known.get(KEY), store.reads] == [RECORD, RECORD, 2]
    known.set_fresh(fresh=True)
    known.get(KEY)
    known.set_fresh(fresh=False)
    store.records.clear()
    assert known.get(KEY) is None


def test_an_unknown_device_is_looked_for_each_time() -> None:
    """Else a first contact would stay unknown."""
    store = Store()
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    other = DeviceKey("PHONE2", "anna")
    assert known.get(other) is None
    store.records[other] = Record(key=other, state=State.ALLOWED, version=1)
    assert known.get(other) is not None


def test_a_damaged_entry_is_not_taken_for_an_absent_one_and_harms_no_other() -> None:
    """The list stays open."""
    store = Store()
    known = Known(lambda: store)
    other = DeviceKey("PHONE2", "anna")
    store.damaged.add(other)
    assert [known.get(other), known.get(KEY), store.closed] == [Unreadable.ENTRY, RECORD, False]


def test_a_list_that_cannot_be_read_says_so_and_is_tried_again() -> None:
    """Not more than once a second."""
    store, clock, opened = Store(), [10.0], [0]

    def open_store() -> Store:
        opened[0] += 1
        if opened[0] == 1:
            raise StoreError("/nowhere: not there yet")
        return store

    known = Known(open_store, lambda: clock[0])
    assert [known.get(KEY), known.get(KEY), opened[0]] == [Unreadable.LIST, Unreadable.LIST, 1]
    clock[0] += 1.0
    assert known.get(KEY) == RECORD
    store.broken = True
    assert known.get(KEY) is Unreadable.LIST
    assert store.closed


def test_the_cache_is_bounded() -> None:
    """It starts anew rather than grow."""
    store = Store()
    store.records = {
        key: Record(key=key, state=State.ALLOWED, version=1)
        for key in (DeviceKey(f"D{number}", "anna") for number in range(ENTRIES + 1))
    }
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    for key in store.records:
        assert known.get(key) is not None
    assert len(known._records) <= ENTRIES


def test_what_a_backend_enforces_is_read_once_too_also_that_it_is_nothing() -> None:
    """Until it changes, or is wanted as it is on the disk."""
    store = Store()
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    assert [known.enforcement(KEY) for _ in range(3)] == [None] * 3
    assert store.reads == 1
    store.enforced[KEY] = Enforcement(final=5)
    assert known.enforcement(KEY) is None
    assert known.enforcement(KEY, anew=True) == Enforcement(final=5)
    assert known.enforcement(KEY) == Enforcement(final=5)
    store.enforced[KEY] = Enforcement(final=6)
    known.changed([KEY])
    assert known.enforcement(KEY) == Enforcement(final=6)
    store.enforced[KEY] = Enforcement(final=7)
    known.set_fresh(fresh=False)
    assert known.enforcement(KEY) == Enforcement(final=7)


def test_what_a_backend_enforces_is_as_good_as_lost_when_it_is_damaged_and_unknown_without_the_list() -> None:
    """The one makes the device provision again, the other makes it wait."""
    store = Store()
    known = Known(lambda: store)
    store.damaged.add(KEY)
    assert known.enforcement(KEY) is None
    store.broken = True
    assert known.enforcement(KEY) is Unreadable.LIST


def test_what_backends_enforce_is_bounded_in_memory() -> None:
    """As the entries are."""
    store = Store()
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    for number in range(ENTRIES + 1):
        known.enforcement(DeviceKey(f"P{number}", "anna"))
    assert len(known._enforcements) == 1


def test_a_policy_is_read_once_and_one_that_cannot_be_had_each_time() -> None:
    """By its digest it never changes, so it is kept also while no changes are told."""
    store, policy = Store(), Policy(allow_camera=False)
    known = Known(lambda: store)
    wanted = digest(policy)
    assert (known.policy(wanted), known.has_policies()) == (None, False)
    store.policies[wanted] = policy
    assert (known.policy(wanted), known.has_policies()) == (policy, True)
    reads = store.reads
    assert [known.policy(wanted), store.reads] == [policy, reads]
    store.broken = True
    assert known.policy(b"other") is None
    assert known.policy(wanted) == policy


def test_the_policies_are_bounded() -> None:
    """As the entries."""
    store = Store()
    for length in range(POLICIES + 1):
        policy = Policy(max_attachment_size=length)
        store.policies[digest(policy)] = policy
    known = Known(lambda: store)
    assert all(known.policy(wanted) is not None for wanted in store.policies)
    assert len(known._policies) <= POLICIES


def test_entries_that_are_about_to_be_asked_for_are_read_in_one_go() -> None:
    """One that is not there is looked for again; one that is damaged is not taken for one that is not there."""
    store = Store()
    other, gone = DeviceKey("PHONE2", "anna"), DeviceKey("PHONE3", "anna")
    store.records[other] = Record(key=other, state=State.BLOCKED, version=2)
    store.damaged.add(other)
    known = Known(lambda: store)
    known.set_fresh(fresh=True)
    known.fetch([KEY, other, gone])
    assert (known.get(KEY), store.reads) == (RECORD, 1)
    assert known.get(other) is Unreadable.ENTRY
    assert known.get(gone) is None
    store.records[KEY] = changed = Record(key=KEY, state=State.BLOCKED, version=3)
    known.changed([KEY])
    known.fetch([KEY])
    assert known.get(KEY) == changed


def test_nothing_is_fetched_while_changes_are_not_told() -> None:
    """What is kept could be out of date at once; and a list that cannot be read is no reason to fail here."""
    store = Store()
    known = Known(lambda: store)
    known.fetch([KEY])
    assert store.reads == 0
    known.set_fresh(fresh=True)
    store.broken = True
    known.fetch([KEY])
    assert known.get(KEY) is Unreadable.LIST
