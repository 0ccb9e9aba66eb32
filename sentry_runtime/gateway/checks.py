"""The gateway's own look at its backends, so that one that is down is known to be before a device is sent there.

Each worker checks by itself, each with its own beat, so that no backend gets all checks at once. A check is an OPTIONS without
credentials on a connection of its own. 401 is the good answer of a server that asks for credentials, as all known ones do; 2xx
that of one that does not. Anything else is not how an ActiveSync server answers.
"""

import asyncio
import random

from sentry_runtime.gateway.backends import Backends, BackendsDownError
from sentry_runtime.gateway.dial import Target, dial, reason_of
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.gateway.rewrite import check_head
from sentry_runtime.settings import ActiveHealth

JITTER = 0.1  # of the interval, up or down: workers and gateways that started together drift apart
LOOK_SECONDS = 1.0  # how often one looks whether a dead time is over, where nothing is checked meanwhile


class Checks:
    """Checks all backends for ever; `rules` None: only those that are down, when their dead time is over."""

    def __init__(self, backends: Backends, rules: ActiveHealth | None, rng: random.Random) -> None:
        self._backends = backends
        self._rules = rules
        self._seconds = (rules or ActiveHealth()).timeout_seconds
        self._rng = rng

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for target in self._backends.targets:
                group.create_task(self._watch(target))

    async def _watch(self, target: Target) -> None:
        rules = self._rules
        if rules is not None:
            await asyncio.sleep(self._rng.random() * rules.interval_seconds)
        while True:
            if rules is None:
                await self._dead_time(target)
            self._backends.checked(target, await fault_of(target, self._seconds))
            if rules is not None:
                await asyncio.sleep(rules.interval_seconds * (1 + JITTER * (2 * self._rng.random() - 1)))

    async def _dead_time(self, target: Target) -> None:
        while not self._backends.check_due(target):  # noqa: ASYNC110 - what ends is a time
            await asyncio.sleep(LOOK_SECONDS)


async def fault_of(target: Target, seconds: float) -> str:
    """What is wrong with the backend, in one word; "" where it answers as it should."""
    try:
        async with asyncio.timeout(seconds):
            asked = await dial(target, lambda: Probe(target, check_head(target.backend)))
            try:
                status = await asked.status
            finally:
                asked.drop()
    except (OSError, UnicodeError) as error:
        return reason_of(error)
    except BackendsDownError as error:
        return error.reason
    return "" if status == 401 or 200 <= status < 300 else f"backend_status_{status}"
