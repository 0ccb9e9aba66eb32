"""What comes of wipes: from the gateway into the device list, and from there to the UEM.

The list is the outbox: an entry with marks that the UEM does not know of is `unreported`, over restarts too, until the UEM's
answer says that it knows them. Reports may be repeated; each holds all marks of its order.
"""

import asyncio
from typing import Protocol

from sentry_runtime.agent.changes import Answered, Marked
from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.control import MarkWipe
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.store import StoreError
from sentry_runtime.uem.api import Decision, WipeReport
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError
from sentry_runtime.uem.messages import MessageError, check_key
from sentry_runtime.uem.trail import Audit


class TakesReports(Protocol):
    """The part of the link that reports need."""

    async def report_wipe(self, report: WipeReport) -> Decision:
        """See `UemLink.report_wipe`."""
        ...


class WipeReports:
    """`run` sends what is unreported whenever there is news of it, and whenever `wake` says that the UEM answers."""

    def __init__(
        self, devices: DeviceList, link: TakesReports, circuit: Circuit, link_lost: asyncio.Event, *, audit: Audit
    ) -> None:
        """`link_lost` is set when a report found the link down."""
        self._devices = devices
        self._link = link
        self._circuit = circuit
        self._link_lost = link_lost
        self._audit = audit
        self._awake = asyncio.Event()
        self._problems: dict[DeviceKey, str] = {}
        self.sent = 0
        """How many reports the UEM has answered."""

    async def take(self, request: MarkWipe) -> Record | None:
        """Keep a mark; the entry as it is then. Raises `Refused` of kind `invalid` or `unavailable`."""
        try:
            check_key(request.key.device_id, request.key.principal, "$.key")
        except MessageError as error:
            raise Refused("invalid", str(error)) from error
        try:
            changed = await self._devices.take([Marked(request.key, request.order, request.mark)])
        except StoreError as error:
            self._audit("device_list_failed", key=request.key, detail=str(error))
            raise Refused("unavailable", str(error)) from error
        record = self._devices.get(request.key)
        if changed and record is not None:
            action, order = record.state, request.order
            self._audit("device_wipe", key=request.key, action=action, reasons=(request.mark,), version=order)
            self.wake()
        return record

    def wake(self) -> None:
        """Now is a good time to send."""
        self._awake.set()

    async def run(self) -> None:
        """Send, until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            await self.send()

    async def send(self) -> None:
        """One report for each unreported entry; ends early when the UEM does not answer. What fails is sent again later."""
        unreported = self._devices.unreported
        self._problems = {key: problem for key, problem in self._problems.items() if key in unreported}
        for key in sorted(unreported):
            if self._circuit.is_down:
                return
            try:
                await self._report(key)
            except LinkRefusedError as error:
                self._refused(key, str(error))
            except LinkDownError as error:
                if self._circuit.failed():
                    self._audit("uem_down", detail=str(error))
                self._link_lost.set()
                return
            except LinkError:
                return
            except StoreError as error:
                self._audit("device_list_failed", key=key, detail=str(error))
                return

    async def _report(self, key: DeviceKey) -> None:
        record = self._devices.get(key)
        if record is None or record.wipe is None:
            return
        report = WipeReport(device_id=key.device_id, principal=key.principal, wipe=record.wipe)
        decision = await self._link.report_wipe(report)
        self.sent += 1
        account(self._audit, self._devices, await self._devices.take([Answered(decision, record.wipe)]))

    def _refused(self, key: DeviceKey, problem: str) -> None:
        """An unchanged problem is not news at every round."""
        if self._problems.get(key) != problem:
            self._problems[key] = problem
            self._audit("uem_refused", key=key, detail=problem)
