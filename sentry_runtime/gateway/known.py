"""What this worker knows of devices: a small decoded cache over the device list."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.store import StoreError

ENTRIES = 50_000  # about 30 MB; a worker's share of a large fleet
REOPEN_SECONDS = 1.0  # how often a list that is not there yet is looked for

log = logging.getLogger(__name__)


class Store(Protocol):
    """The reading side of the device list."""

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key. Raises `StoreError`."""

    def close(self) -> None:
        """Give it back."""


class Known:
    """Answers from the cache while it is `fresh`: as long as the agent tells of every change. Else reads the list itself.

    Where the list cannot be read nobody is known, and the agent is asked instead: it has the list, too.
    """

    def __init__(self, open_store: Callable[[], Store], now: Callable[[], float] = time.monotonic) -> None:
        self._open_store = open_store
        self._now = now
        self._store: Store | None = None
        self._next_open = 0.0
        self._records: dict[DeviceKey, Record] = {}
        self._fresh = False

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of this key, if there is one."""
        record = self._records.get(key)
        if record is not None:
            return record
        record = self._read(key)
        if record is not None and self._fresh:
            if len(self._records) >= ENTRIES:
                self._records.clear()
            self._records[key] = record
        return record

    def changed(self, keys: Iterable[DeviceKey]) -> None:
        """These entries are to be read again."""
        for key in keys:
            self._records.pop(key, None)

    def set_fresh(self, *, fresh: bool) -> None:
        """Whether changes are being told from now on; what was kept before does not count any more."""
        self._fresh = fresh
        self._records.clear()

    def close(self) -> None:
        """Give the list back."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self, key: DeviceKey) -> Record | None:
        try:
            if self._store is None:
                if self._now() < self._next_open:
                    return None
                self._next_open = self._now() + REOPEN_SECONDS
                self._store = self._open_store()
            return self._store.get(key)
        except StoreError as error:
            log.warning("%s", error)
            self.close()
            return None
