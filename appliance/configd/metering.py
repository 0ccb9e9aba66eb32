"""Numbers for a monitoring system that asks every few seconds: what is dear to find out is found out every ten minutes."""

from collections.abc import Callable

import msgspec

from appliance.configd import api
from appliance.configd.facts import Context
from appliance.configd.looks import Looks
from appliance.configd.sessions import Held

THOROUGH_SECONDS = 600.0  # certificates end on days; each look at one starts a process with the module's self-test


class Meter:
    """Answers `ReadMetrics`."""

    def __init__(self, context: Callable[[], Context], looks: Looks) -> None:
        self._context = context
        self._looks = looks
        self._thorough: tuple[float, api.Health] | None = None

    def read(self, _verb: api.ReadMetrics, _held: Held) -> api.Metrics:
        """What is to be told now."""
        context = self._context()
        return api.Metrics(
            health=self._health(context),
            revision=context.running.number if context.running else 0,
            waiting=context.pending is not None,
        )

    def _health(self, context: Context) -> api.Health:
        known = self._thorough  # one word for both: several threads ask
        if known is None or context.monotonic - known[0] >= THOROUGH_SECONDS:
            looked = self._looks.health(thorough=True)
            self._thorough = (context.monotonic, looked)
            return looked
        now = self._looks.health(thorough=False)
        return msgspec.structs.replace(now, thorough=True, fips=known[1].fips, certificates=known[1].certificates)
