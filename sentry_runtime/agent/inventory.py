"""What a Cloud has been told of the device list: all of it at the first check-in, afterwards what is new.

What counts as told is what the Cloud has confirmed. When it does not have what we go on from (it was restarted, or restored), it
is told all of it again; so it is after a restart of ours. What the fail mode let in is a guess, and is not told.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.uem.cloud import InventoryLostError
from sentry_runtime.uem.cloud_api import INVENTORY_BYTES, INVENTORY_PER_PAGE, Inventory, Tunnel

_PAGE = 1_000


class Reports(Protocol):
    """The part of the link that this needs."""

    async def report_inventory(self, inventory: Inventory) -> None:
        """See `CloudLink.report_inventory`."""
        ...

    def know_strangers(self, principals: Sequence[str]) -> None:
        """See `CloudLink.know_strangers`."""
        ...

    def inventory_told(self) -> None:
        """See `CloudLink.inventory_told`."""
        ...


class Inventories:
    """`report` brings the Cloud up to date."""

    def __init__(self, devices: DeviceList, link: Reports) -> None:
        self._devices = devices
        self._link = link
        self._told: dict[DeviceKey, int] = {}
        self._number = 0

    @property
    def told(self) -> int:
        """Of how many devices the Cloud knows from us."""
        return len(self._told)

    async def report(self) -> int:
        """Tell what is new; how many devices that were. Raises `LinkError`."""
        try:
            return await self._report()
        except InventoryLostError:
            self._told.clear()
            self._number = 0
            return await self._report()

    async def _report(self) -> int:
        news, gone = await self._looked()
        first = not self._number
        pages = list(_pages(news, gone))
        if first and not pages:
            pages.append(((), ()))  # that there is nothing is said, too
        for tunnels, lost in pages:
            number = self._number + 1
            await self._link.report_inventory(
                Inventory(after=self._number, number=number, tunnels=tuple(tunnels), gone=tuple(lost))
            )
            self._number = number
            self._told.update((DeviceKey(one.device_id, one.principal), _mark(one)) for one in tunnels)
            for key in lost:
                self._told.pop(key, None)
        self._link.inventory_told()
        return len(news) + len(gone)

    async def _looked(self) -> tuple[list[Tunnel], list[DeviceKey]]:
        """What the list has that was not told so, and what was told and is in it no more; with turns for others in between."""
        news: list[Tunnel] = []
        seen: set[DeviceKey] = set()
        strangers: list[str] = []
        after: DeviceKey | None = None
        while records := self._devices.page(after, _PAGE):
            for record in records:
                if record.provisional:
                    continue
                seen.add(record.key)
                if not record.registered:
                    strangers.append(record.key.principal)
                one = _tunnel(record, self._names)
                if self._told.get(record.key) != _mark(one):
                    news.append(one)
            after = records[-1].key
            await asyncio.sleep(0)
        self._link.know_strangers(strangers)
        return news, [key for key in self._told if key not in seen]

    def _names(self, wanted: bytes) -> tuple[str, ...]:
        return tuple(one.name for one in self._devices.tunnels(wanted) or ())


def _tunnel(record: Record, names: Callable[[bytes], tuple[str, ...]]) -> Tunnel:
    return Tunnel(
        device_id=record.key.device_id,
        principal=record.key.principal,
        state=record.state,
        version=record.version,
        device_type=record.device_type,
        registered=record.registered,
        apps=names(record.tunnels) if record.tunnels else (),
    )


def _mark(one: Tunnel) -> int:
    """What tells one telling of a device from another; of a process's own, as Python's hashes are. That its version alone has
    changed is no news to who has given it."""
    return hash((one.state, one.device_type, one.registered, one.apps))


def _pages(news: Sequence[Tunnel], gone: Sequence[DeviceKey]) -> Iterator[tuple[Sequence[Tunnel], Sequence[DeviceKey]]]:
    for tunnels in _that_fit(news):
        yield tunnels, ()
    for keys in _that_fit(gone):
        yield (), keys


_One = TypeVar("_One", Tunnel, DeviceKey)


def _that_fit(items: Sequence[_One]) -> Iterator[Sequence[_One]]:
    """In pieces that a message holds, in number and in bytes: who gives a device a long name holds up nobody's inventory."""
    page: list[_One] = []
    room = INVENTORY_BYTES
    for one in items:
        size = len(msgspec.json.encode(one)) + 1
        if len(page) == INVENTORY_PER_PAGE or size > room:
            yield page
            page, room = [], INVENTORY_BYTES
        page.append(one)
        room -= size
    if page:
        yield page
