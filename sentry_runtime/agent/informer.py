"""What devices say of themselves: kept beside their entries, and passed on to the UEM.

A device says it when it provisions, which may be once a year. So it is on the disk before the gateway is answered, with a mark
whether the UEM has it, and a UEM that is away hears of it when it is back, even if we were restarted meanwhile.
"""

import asyncio
from typing import Protocol

from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.control import Describe
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.store import StoreError, fits
from sentry_runtime.eas.device_information import cleaned
from sentry_runtime.uem.api import Information
from sentry_runtime.uem.link import LinkError, LinkRefusedError
from sentry_runtime.uem.trail import Audit


class Informs(Protocol):
    """The part of the link that this needs."""

    async def inform(self, information: Information) -> None:
        """See `UemLink.inform`."""
        ...


class Informer:
    """`take` keeps, `deliver` passes on; `run` delivers whenever there is something and the link allows."""

    def __init__(self, devices: DeviceList, link: Informs, circuit: Circuit, *, audit: Audit) -> None:
        self._devices = devices
        self._link = link
        self._circuit = circuit
        self._audit = audit
        self._untold = dict.fromkeys(key for key, saying in devices.sayings() if not saying.told)
        self._due = asyncio.Event()

    @property
    def untold(self) -> int:
        """Of how many devices the UEM has not been told yet."""
        return len(self._untold)

    async def take(self, told: Describe) -> None:
        """Keep it, if it is news. Raises `Refused` of kind `invalid` or `unavailable`."""
        if not fits(told.key):
            raise Refused("invalid", "`key` is no key that the device list can have")
        information = cleaned(told.information)
        before = self._devices.said(told.key)
        if before is not None and before.information == information:
            return
        try:
            if not await self._devices.note(told.key, information):
                raise Refused("unavailable", "the device has no entry, or there is no room for what it says")
        except StoreError as error:
            self._audit("device_list_failed", key=told.key, detail=str(error))
            raise Refused("unavailable", str(error)) from error
        self._untold[told.key] = None
        self._due.set()

    def retry(self) -> None:
        """The link is up: what waits may go."""
        if self._untold:
            self._due.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.deliver()

    async def deliver(self) -> None:
        """Tell the UEM, one after the other. Ends early when it does not take one; `retry` goes on there."""
        while self._untold and not self._circuit.is_down:  # while it is, nobody dials but who probes
            key = next(iter(self._untold))
            saying = self._devices.said(key)
            if saying is None or saying.told:
                del self._untold[key]
                continue
            try:
                await self._link.inform(
                    Information(device_id=key.device_id, principal=key.principal, information=saying.information)
                )
                await self._devices.note_told(key, saying)  # unless the device has said something else meanwhile
            except LinkRefusedError as error:
                self._audit("uem_refused", key=key, detail=str(error))
                self._untold[key] = self._untold.pop(key)  # behind the others, which it must not keep waiting for ever
                return
            except (LinkError, StoreError):
                return
