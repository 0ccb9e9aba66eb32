"""First contacts: one question to the UEM per device and principal, however many requests wait for it.

| what happens | what the gateway gets |
|---|---|
| the list has an entry | the entry |
| the UEM answers | the decision, after it is on the disk |
| the UEM's link is down | what the fail mode says |
| the UEM is slow, or answers errors or nonsense | refusal `unavailable` |
| we cannot dial (file handles, memory), or the list has no room for strangers | refusal `unavailable` |
| our own queue is full or too slow | refusal `busy` |

Only the third admits without a decision, and only in fail mode `allow`: whoever can fill the queue or slow the UEM down must
not gain an admission by it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sentry_runtime.agent.changes import Admitted, Expired
from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.control import Ask
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.devices.store import StoreError
from sentry_runtime.eas import policy as policies
from sentry_runtime.settings import FailMode
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem.link import (
    CONNECTIONS,
    LinkDownError,
    LinkError,
    LinkFullError,
    LinkLocalError,
    LinkRefusedError,
    LinkSlowError,
)
from sentry_runtime.uem.messages import ALIASES, WORDS_CHARS, MessageError, check_key, check_words
from sentry_runtime.uem.trail import Audit


class Asks(Protocol):
    """The part of the link that questions need."""

    async def contact(self, contact: Contact) -> Decision:
        """See `UemLink.contact`."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait, and how long a guess may live."""

    questions: int = 1_000  # different devices at one time; a morning's first minute of a fleet of 100,000
    # The gateway lets a device wait for 8 s at most. Its question is worth asking beyond that, since the device comes again and
    # is to find its entry then. A UEM that takes 30 ms for a contact is through with all of them in this time; ours takes 4.
    queue_seconds: float = 30.0
    # An entry by a stranger's request is at most 2 KiB on the disk: 600 of the list's 1,024 MiB. The rest is for the UEM's words
    # on devices it knows, which need no question; the largest fleet is a third of this.
    entries: int = 300_000
    provisional: int = 1_000  # devices the fail mode may let in; a fleet enrols that many in a day at most
    provisional_seconds: float = 14_400.0  # half a working day; then the credentials are verified anew


@dataclass(slots=True)
class Counters:
    """What `Status` shows."""

    asked: int = 0
    questions: int = 0
    refused: int = 0
    by_fail_mode: int = 0


class Questions:
    """Answers `Ask`; see the module's table."""

    def __init__(
        self,
        devices: DeviceList,
        link: Asks,
        circuit: Circuit,
        fail_mode: FailMode | Callable[[], FailMode],
        *,
        audit: Audit,
        clock: Callable[[], float],
        bounds: Bounds | None = None,
    ) -> None:
        self._devices = devices
        self._link = link
        self._circuit = circuit
        self._fail_mode: Callable[[], FailMode] = fail_mode if callable(fail_mode) else lambda: fail_mode
        self._audit = audit
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._open: dict[DeviceKey, asyncio.Task[Record]] = {}
        self._admitted: dict[DeviceKey, Ask] = {}
        self.link_lost = asyncio.Event()
        """Set when a question found the link down; whoever probes the link clears it."""
        self.counters = Counters()

    @property
    def open(self) -> int:
        """How many different questions wait or run."""
        return len(self._open)

    async def ask(self, ask: Ask) -> Record:
        """The answer to one first contact. Raises `Refused` of kind `invalid`, `busy` or `unavailable`."""
        self.counters.asked += 1
        contact = _contact(ask, int(self._clock()))
        known = self._devices.get(ask.key)
        if known is not None:
            return known
        task = self._open.get(ask.key)
        if task is None:
            if self._devices.count >= self._bounds.entries:
                raise self._no_room(ask.key)
            if len(self._open) >= self._bounds.questions:
                raise self._refuse("busy", f"{self._bounds.questions} questions wait for the UEM, more are not taken")
            task = asyncio.create_task(self._question(ask, contact))
            self._open[ask.key] = task
            task.add_done_callback(lambda ended: self._ended(ask.key, ended))
        # The question outlives the one who asked first: others wait for it, and its answer is kept anyway.
        return await asyncio.shield(task)

    async def correct(self) -> None:
        """The link is up: ask about the devices that the fail mode let in. Ends early when it is not up any more.

        One for which the UEM has no place goes, and makes a first contact again; whatever else it refuses is asked again later.
        """
        for key, ask in list(self._admitted.items()):
            entry = self._devices.get(key)
            if entry is None or not entry.provisional:
                self._admitted.pop(key, None)
                continue
            try:
                decision = await self._link.contact(_contact(ask, int(self._clock())))
            except LinkFullError as error:  # that is its word: the device has no place, whatever the fail mode has said
                self._audit("uem_refused", key=key, detail=str(error))
                await self._devices.take([Expired(key)])
                self._admitted.pop(key, None)
                continue
            except LinkRefusedError as error:
                self._audit("uem_refused", key=key, detail=str(error))
                continue
            except LinkError:
                return
            await self._devices.take([decision])
            self._admitted.pop(key, None)
            self._account("device_corrected", decision)

    async def expire(self) -> None:
        """Take out the provisional entries that have reached their age: their devices make a first contact again."""
        oldest = int(self._clock() - self._bounds.provisional_seconds)
        entries = [self._devices.get(key) for key in self._devices.provisional]
        expired = [entry.key for entry in entries if entry is not None and entry.first_seen <= oldest]
        if expired:
            await self._devices.take(Expired(key) for key in expired)
            for key in expired:
                self._admitted.pop(key, None)

    async def forget_admitted(self) -> None:
        """Take all provisional entries out (at start: what was asked about them is no longer known)."""
        await self._devices.take(Expired(key) for key in self._devices.provisional)

    def _ended(self, key: DeviceKey, task: asyncio.Task[Record]) -> None:
        del self._open[key]
        if not task.cancelled():
            task.exception()  # fetched here: there may be nobody left who waits for it

    async def _question(self, ask: Ask, contact: Contact) -> Record:
        if self._circuit.is_down:
            return await self._by_fail_mode(ask)
        try:
            async with asyncio.timeout(self._bounds.queue_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise self._refuse("busy", "the questions before this one took too long") from None
        try:
            if self._circuit.is_down:  # it went down while this one queued
                return await self._by_fail_mode(ask)
            return await self._put(ask, contact)
        finally:
            self._slots.release()

    async def _put(self, ask: Ask, contact: Contact) -> Record:
        self.counters.questions += 1
        try:
            decision = await self._link.contact(contact)
        except LinkDownError as error:
            if self._circuit.failed():
                self._audit("uem_down", detail=str(error))
            self.link_lost.set()
            return await self._by_fail_mode(ask)
        except LinkSlowError as error:
            raise self._refuse("unavailable", str(error)) from error
        except LinkError as error:
            event = "uem_undialled" if isinstance(error, LinkLocalError) else "uem_refused"
            self._audit(event, key=ask.key, detail=str(error))
            raise self._refuse("unavailable", str(error)) from error
        if self._circuit.succeeded():
            self._audit("uem_up")
        return await self._keep(decision, ask.key)

    async def _keep(self, decision: Decision, key: DeviceKey) -> Record:
        try:
            await self._devices.take([decision])
        except StoreError as error:
            self._audit("device_list_failed", key=key, detail=str(error))
            raise self._refuse("unavailable", str(error)) from error
        record = self._devices.get(key)
        if record is None:
            raise self._refuse("unavailable", "the UEM's answer is older than what is already known; ask again")
        self._account("device_decided", decision)
        return record

    async def _by_fail_mode(self, ask: Ask) -> Record:
        self.counters.by_fail_mode += 1
        now = int(self._clock())
        if self._fail_mode() == "allow" and len(self._admitted) < self._bounds.provisional:
            self._admitted[ask.key] = ask
            record = Record(
                key=ask.key,
                state=State.ALLOWED,
                version=0,
                device_type=ask.device_type,
                provisional=True,
                first_seen=now,
                updated=now,
                policy=policies.digest(policies.TEMPORARY),
            )
            self._audit("device_admitted", key=ask.key, action=State.ALLOWED, reasons=(Reason.UEM_UNREACHABLE,))
            try:
                await self._devices.take([Admitted(record, policies.TEMPORARY)])
            except StoreError as error:
                self._admitted.pop(ask.key, None)
                raise self._refuse("unavailable", str(error)) from error
            return self._devices.get(ask.key) or record
        return Record(
            key=ask.key,
            state=State.BLOCKED,
            version=0,
            reasons=(Reason.UEM_UNREACHABLE,),
            device_type=ask.device_type,
            provisional=True,
            first_seen=now,
            updated=now,
        )

    def _no_room(self, key: DeviceKey) -> Refused:
        held = self._devices.count
        self._audit("device_list_crowded", key=key, count=held, detail="the list has no room for unknown devices")
        return self._refuse("unavailable", f"the device list has {held} entries; no unknown device is taken")

    def _account(self, event: str, decision: Decision) -> None:
        key = DeviceKey(decision.device_id, decision.principal)
        self._audit(event, key=key, action=decision.state, reasons=decision.reasons, version=decision.version)

    def _refuse(self, kind: str, message: str) -> Refused:
        self.counters.refused += 1
        return Refused(kind, message)


def _contact(ask: Ask, now: int) -> Contact:
    """The question in the UEM's words. What only describes the device is cut to its bound; what names it is refused beyond."""
    try:
        check_key(ask.key.device_id, ask.key.principal)
        for alias in ask.aliases[:ALIASES]:
            check_key(alias, ask.key.principal, "$.aliases")
        check_words("$", device_type=ask.device_type)
    except MessageError as error:
        raise Refused("invalid", str(error)) from error
    if len(ask.aliases) > ALIASES:
        raise Refused("invalid", f"at most {ALIASES} aliases are allowed, found {len(ask.aliases)}")
    return Contact(
        device_id=ask.key.device_id,
        device_aliases=ask.aliases,
        principal=ask.key.principal,
        device_type=ask.device_type,
        user_agent=_readable(ask.user_agent),
        protocol=_readable(ask.protocol),
        seen=now,
    )


def _readable(text: str) -> str:
    return "".join(sign for sign in text[:WORDS_CHARS] if sign.isprintable())
