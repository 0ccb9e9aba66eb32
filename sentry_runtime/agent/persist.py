"""Has the disk confirm the device list: at an interval, at the end, and by command.

Each change is on the disk before anybody is answered by it (`devices.store`), so there is nothing that only this would save. What
it adds is the kernel's word on what it has taken so far: a disk that fails is noticed within the interval, and not by the first
device that comes after a power cut.
"""

import asyncio

from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.trail import Audit


class Persister:
    """`times` counts the confirmations, `bytes` is what the list had on the disk at the last of them."""

    def __init__(self, devices: DeviceList, seconds: float, *, audit: Audit) -> None:
        self._devices = devices
        self._seconds = seconds
        self._audit = audit
        self.times = 0
        self.bytes = 0

    async def persist(self) -> int:
        """Now; how many bytes the list has on the disk. Raises `StoreError`, which is in the audit trail then."""
        try:
            self.bytes = await self._devices.persist()
        except StoreError as error:
            self._audit("device_list_failed", detail=str(error))
            raise
        self.times += 1
        return self.bytes

    async def run(self) -> None:
        """At every interval, until cancelled. A failure is audited and ends nothing: the list can still be read."""
        while True:
            await self._quietly()
            await asyncio.sleep(self._seconds)

    async def at_stop(self) -> None:
        """The last time."""
        await self._quietly()

    async def _quietly(self) -> None:
        try:
            await self.persist()
        except StoreError:
            return
