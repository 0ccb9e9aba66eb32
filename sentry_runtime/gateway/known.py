"""What this worker knows of devices: a small decoded cache over the device list."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.store import EntryUnreadableError, StoreError
from sentry_runtime.eas.policy import Policy
from sentry_runtime.gateway.decide import Unreadable

ENTRIES = 50_000  # about 30 MB; a worker's share of a large fleet
POLICIES = 500  # a site has a few; at most 16 MB
REOPEN_SECONDS = 1.0  # how often a list that is not there yet is looked for

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class Store(Protocol):
    """The reading side of the device list."""

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key. Raises `StoreError`, `EntryUnreadableError` when only this one is damaged."""

    def get_many(self, keys: Iterable[DeviceKey]) -> dict[DeviceKey, Record]:
        """The entries of these keys that are there and can be read. Raises `StoreError`."""

    def enforcement(self, key: DeviceKey) -> Enforcement | None:
        """What is kept of a backend's own policy for this key. Raises as `get` does."""

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest. Raises `StoreError`."""

    def has_policies(self) -> bool:
        """Whether any entry names a policy. Raises `StoreError`."""

    def close(self) -> None:
        """Give it back."""


class Known:
    """Answers from the cache while it is `fresh`: as long as the agent tells of every change. Else reads the list itself.

    Absent and unreadable are two things: an absent entry takes a device's leave to pass, one that cannot be read does not.
    """

    def __init__(self, open_store: Callable[[], Store], now: Callable[[], float] = time.monotonic) -> None:
        self._open_store = open_store
        self._now = now
        self._store: Store | None = None
        self._next_open = 0.0
        self._records: dict[DeviceKey, Record] = {}
        self._enforcements: dict[DeviceKey, Enforcement | None] = {}
        self._policies: dict[bytes, Policy] = {}  # by their digests, so none is ever out of date
        self._fresh = False

    def get(self, key: DeviceKey) -> Record | Unreadable | None:
        """The entry of this key, None where there is none, or why nobody can say."""
        record = self._records.get(key)
        if record is not None:
            return record
        found = self._read(lambda store: store.get(key))
        if isinstance(found, Record) and self._fresh:
            self._keep(key, found)
        return found

    def enforcement(self, key: DeviceKey, *, anew: bool = False) -> Enforcement | Unreadable | None:
        """What a backend's own policy has come to for the entry of this key. What is damaged is as good as lost.

        `anew`: as it is on the disk, also where the agent's word of a change may be on its way.
        """
        if not anew and key in self._enforcements:
            return self._enforcements[key]
        found = self._read(lambda store: store.enforcement(key))
        if found is Unreadable.LIST:
            return found
        held = found if isinstance(found, Enforcement) else None
        if self._fresh:
            if len(self._enforcements) >= ENTRIES:
                self._enforcements.clear()
            self._enforcements[key] = held
        return held

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest; None when it cannot be had now."""
        policy = self._policies.get(wanted)
        if policy is None:
            policy = self._ask(lambda store: store.policy(wanted))
            if policy is not None:
                if len(self._policies) >= POLICIES:
                    self._policies.clear()
                self._policies[wanted] = policy
        return policy

    def has_policies(self) -> bool:
        """Whether any entry names a policy, as far as that can be said now."""
        return bool(self._ask(lambda store: store.has_policies()))

    def changed(self, keys: Iterable[DeviceKey]) -> None:
        """These entries are to be read again."""
        for key in keys:
            self._records.pop(key, None)
            self._enforcements.pop(key, None)

    def fetch(self, keys: Iterable[DeviceKey]) -> None:
        """Read these entries in one go, since they are all about to be asked for. What cannot be had stays to be read one by
        one."""
        if not self._fresh:
            return
        found = self._read(lambda store: store.get_many(keys))
        if not isinstance(found, Unreadable):
            for key, record in found.items():
                self._keep(key, record)

    def _keep(self, key: DeviceKey, record: Record) -> None:
        if len(self._records) >= ENTRIES:
            self._records.clear()
        self._records[key] = record

    def set_fresh(self, *, fresh: bool) -> None:
        """Whether changes are being told from now on; what was kept before does not count any more."""
        self._fresh = fresh
        self._records.clear()
        self._enforcements.clear()

    def close(self) -> None:
        """Give the list back."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self, question: Callable[[Store], _Answer]) -> _Answer | Unreadable:
        try:
            store = self._opened()
            return Unreadable.LIST if store is None else question(store)
        except EntryUnreadableError as error:
            log.warning("%s", error)
            return Unreadable.ENTRY
        except StoreError as error:
            log.warning("%s", error)
            self.close()
            return Unreadable.LIST

    def _ask(self, question: Callable[[Store], _Answer]) -> _Answer | None:
        found = self._read(question)
        return None if isinstance(found, Unreadable) else found

    def _opened(self) -> Store | None:
        """The list, if it can be opened; it is not tried too often. Raises `StoreError`."""
        if self._store is None:
            if self._now() < self._next_open:
                return None
            self._next_open = self._now() + REOPEN_SECONDS
            self._store = self._open_store()
        return self._store
