"""A device list on disk, with its announcements, for the agent's parts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.devices.store import Writer
from tests.unit.agent.ears import Ears


@pytest.fixture
def ears() -> Ears:
    """Who listens."""
    return Ears()


@pytest.fixture
async def devices(tmp_path: Path, ears: Ears) -> AsyncIterator[DeviceList]:
    """An empty list whose clock stands at 1,000."""
    store = Writer(tmp_path)
    made = DeviceList(store, ears.announce, clock=lambda: 1_000.0)
    yield made
    await made.close()
    store.close()
