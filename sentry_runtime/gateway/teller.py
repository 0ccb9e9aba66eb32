"""Tells the agent what devices say of themselves. No request waits for it."""

import asyncio
import logging

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.device_information import DeviceInformation, cleaned
from sentry_runtime.gateway.agent_link import roundtrip

WAITING = (
    1_000  # devices that provision while the agent is away; at most 2 MB. The oldest go: they say it again one day
)

log = logging.getLogger(__name__)


class Teller:
    """One per worker: tells one after the other, and keeps what the agent could not be told for `retry`."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._waiting: dict[DeviceKey, DeviceInformation] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, key: DeviceKey, information: DeviceInformation) -> None:
        """What the device of this entry says; its credentials are proved."""
        self._waiting.pop(key, None)
        self._waiting[key] = cleaned(information)
        while len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
        self.retry()

    def retry(self) -> None:
        """The agent is there: what waits may go."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting:
            key, information = next(iter(self._waiting.items()))
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await roundtrip(self._path, control.Describe(key=key, information=information))
            except (OSError, ValueError, msgspec.MsgspecError) as error:  # TimeoutError is an OSError
                log.info("the agent was not told of a device: %s", str(error) or type(error).__name__)
                return
            if answer.error is not None:
                log.info("the agent does not take what a device says: %s", answer.error.message)
            if self._waiting.get(key) is information:
                del self._waiting[key]
