"""Telling the agent what devices say: one after the other, and again when the agent is back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentry_runtime import control
from sentry_runtime.control_server import ControlServer, Peer, Refused
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.gateway import teller
from sentry_runtime.gateway.teller import Teller

KEYS = [DeviceKey(f"C{number}", "anna") for number in range(5)]
PATIENCE = 10.0


def says(model: str) -> DeviceInformation:
    """What a device says."""
    return DeviceInformation(model=model)


class Agent:
    """The agent's socket; `refusal` is what it answers, `told` what it took."""

    def __init__(self, path: Path) -> None:
        self.told: list[control.Describe] = []
        self.arrived = asyncio.Condition()
        self.refusal: Refused | None = None
        self.server = ControlServer(path, self._handle)

    async def _handle(self, _peer: Peer, request: control.Request) -> object:
        assert isinstance(request, control.Describe)
        async with self.arrived:
            self.told.append(request)
            self.arrived.notify_all()
        if self.refusal is not None:
            raise self.refusal
        return None

    async def count(self, count: int) -> list[tuple[str, str]]:
        """The devices and models that came, as soon as there are so many."""
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.told) >= count)
        return [(one.key.device_id, one.information.model) for one in self.told]


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    """It runs."""
    made = Agent(tmp_path / "agent.sock")
    await made.server.start()
    yield made
    await made.server.stop()


@pytest.fixture
def mouth(tmp_path: Path) -> Teller:
    """A worker's."""
    return Teller(str(tmp_path / "agent.sock"), 3.0)


async def ended(mouth: Teller) -> None:
    """Until it has said what it can."""
    assert mouth._task is not None
    async with asyncio.timeout(PATIENCE):
        await mouth._task


async def test_what_is_said_reaches_the_agent_in_order(agent: Agent, mouth: Teller) -> None:
    """Cleaned, as whatever comes from a device."""
    for number, key in enumerate(KEYS):
        mouth.tell(key, says(f"\x1bmodel {number}"))
    assert await agent.count(5) == [(key.device_id, f"model {number}") for number, key in enumerate(KEYS)]
    await ended(mouth)
    assert mouth._waiting == {}


async def test_while_the_agent_is_away_only_the_last_word_of_each_device_waits(tmp_path: Path, mouth: Teller) -> None:
    """And goes when it is back."""
    for model in ("old", "new"):
        mouth.tell(KEYS[0], says(model))
        await ended(mouth)
    mouth.tell(KEYS[1], says("other"))
    await ended(mouth)
    agent = Agent(tmp_path / "agent.sock")
    await agent.server.start()
    mouth.retry()
    assert await agent.count(2) == [("C0", "new"), ("C1", "other")]
    await ended(mouth)
    await agent.server.stop()


async def test_what_the_agent_does_not_take_is_not_said_again(agent: Agent, mouth: Teller) -> None:
    """The device has no entry any more, or there is no room."""
    agent.refusal = Refused("unavailable", "no entry")
    mouth.tell(KEYS[0], says("x"))
    mouth.tell(KEYS[1], says("y"))
    assert len(await agent.count(2)) == 2
    await ended(mouth)
    assert mouth._waiting == {}


async def test_those_that_wait_are_bounded(mouth: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(teller, "WAITING", 3)
    for key in KEYS:
        mouth.tell(key, says("x"))
    assert list(mouth._waiting) == KEYS[2:]
    await ended(mouth)


async def test_nothing_to_say_starts_nothing(mouth: Teller) -> None:
    """The agent comes and goes."""
    mouth.retry()
    assert mouth._task is None
