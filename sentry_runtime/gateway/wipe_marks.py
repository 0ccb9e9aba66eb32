"""What comes of a wipe on its way from a worker to the agent, which keeps it; and whether an acknowledgement is verified.

An acknowledgement is kept as unverified first, and the device is answered then: it wipes itself without waiting, and a worker
that is killed in the next moment has lost nothing. Afterwards a backend is asked about the credentials it came with.
The agent may be away for a while: a mark is told until it is taken, or until the worker ends.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Wipe, WipeMark
from sentry_runtime.gateway.agent_link import RETRY_SECONDS, RETRY_SECONDS_MAX, UndecidedError, roundtrip
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.logon import LogonLostError

MARKS_AT_ONCE = 1_000  # a mark is told once per order: so many devices may come while the agent is away
# Who knows a device and its user may acknowledge with any password. So many of them reach a backend, which may lock the user
# out after a few, and which must be no place to try them; a device that means it acknowledges once or twice.
PROBES = 3
PROBE_SECONDS = 600.0
PROBED_DEVICES = 10_000  # with a wipe under way at one time: the largest fleet has 100,000 devices

log = logging.getLogger(__name__)

Vouch = Callable[[], Awaitable[None]]
"""Has a backend say that the credentials of a request hold. Raises whatever `WipeMarks` takes for a no."""

_NOT_VOUCHED = (CredentialsRefusedError, LogonLostError, BackendsDownError, UndecidedError)


class ProbeBudget:
    """How many acknowledgements of one device are put to a backend: `PROBES` in any `PROBE_SECONDS`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._spent: dict[DeviceKey, list[float]] = {}

    def take(self, key: DeviceKey) -> bool:
        """Whether one more is allowed; then it counts."""
        since = self._now() - PROBE_SECONDS
        if key not in self._spent and len(self._spent) >= PROBED_DEVICES:
            self._spent = {each: times for each, times in self._spent.items() if times[-1] > since}
            if len(self._spent) >= PROBED_DEVICES:
                return False
        recent = [when for when in self._spent.get(key, ()) if when > since]
        if len(recent) >= PROBES:
            return False
        self._spent[key] = [*recent, self._now()]
        return True


class WipeMarks:
    """One per worker. Its tasks belong to no request: a device that hangs up takes nothing with it."""

    def __init__(self, path: str, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        """`path` is the agent's socket; a device waits up to `seconds` for its acknowledgement to be kept."""
        self._path = path
        self._seconds = seconds
        self._budget = ProbeBudget(now)
        self._telling: dict[tuple[DeviceKey, int, WipeMark], asyncio.Task[None]] = {}
        self._verifying: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether something has not reached the agent yet: a device that has wiped itself does not say so again."""
        return bool(self._telling or self._verifying)

    def note(self, key: DeviceKey, order: Wipe, mark: WipeMark) -> None:
        """Have the agent keep this mark, some time; without room for it (logged) it is the next one's turn."""
        try:
            self._tell(key, order, mark)
        except UndecidedError:
            log.warning("%d marks wait for the agent; one of device %s is left out", MARKS_AT_ONCE, key.device_id)

    async def acknowledged(self, key: DeviceKey, order: Wipe, vouch: Vouch) -> None:
        """The device has acknowledged: return when that is kept, and go on to verify it by `vouch`.

        Raises `UndecidedError` when it could not be kept in time; the agent is told on.
        """
        kept = self._tell(key, order, WipeMark.UNVERIFIED)
        if self._budget.take(key):
            task = asyncio.get_running_loop().create_task(self._verify(key, order, vouch))
            self._verifying.add(task)
            task.add_done_callback(self._verifying.discard)
        if kept is None:
            return
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.shield(kept)
        except TimeoutError:
            raise UndecidedError("agent_down") from None

    async def _verify(self, key: DeviceKey, order: Wipe, vouch: Vouch) -> None:
        """Put the credentials of an acknowledgement to a backend. Whatever it does not accept stays unverified."""
        with contextlib.suppress(*_NOT_VOUCHED):
            await vouch()
            self.note(key, order, WipeMark.VERIFIED)

    def _tell(self, key: DeviceKey, order: Wipe, mark: WipeMark) -> asyncio.Task[None] | None:
        """The task that ends when the agent has the mark; None when it is known to have it, or there is no order to mark.

        Raises `UndecidedError` when there is no room for one more.
        """
        asked = (key, order.order, mark)
        if mark in order.marks or not order.order:
            return None
        task = self._telling.get(asked)
        if task is None:
            if len(self._telling) >= MARKS_AT_ONCE:
                raise UndecidedError("busy")
            task = asyncio.get_running_loop().create_task(self._until_taken(*asked))
            self._telling[asked] = task
            task.add_done_callback(lambda _done: self._telling.pop(asked))
        return task

    async def _until_taken(self, key: DeviceKey, order: int, mark: WipeMark) -> None:
        request, pause = control.MarkWipe(key=key, order=order, mark=mark), RETRY_SECONDS
        while problem := await self._problem(request):
            log.info("the agent has not taken what came of the wipe of device %s: %s", key.device_id, problem)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _problem(self, request: control.MarkWipe) -> str:
        """Empty when the agent has taken the mark; else why it has not yet."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await roundtrip(self._path, request)
        except (OSError, ValueError, msgspec.MsgspecError) as error:  # TimeoutError is an OSError
            return str(error) or type(error).__name__
        return "" if answer.error is None else f"{answer.error.kind}: {answer.error.message}"
