"""Check-ins with a Cloud: each on its schedule, two cursors, outages, and a forced one; clock and draw are given."""

import asyncio
import contextlib

import pytest

from sentry_runtime.agent.checkins import FORCED_SECONDS, CheckIns
from sentry_runtime.agent.circuit import Circuit, LinkState
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.questions import Questions
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.uem.api import Contact, Decision, DecisionPage
from sentry_runtime.uem.cloud import Feed
from sentry_runtime.uem.cloud_api import CloudSettings, Inventory
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError
from tests.clock import Clock
from tests.unit.agent.ears import Ears
from tests.unit.agent.test_schedule import SECONDS

PATIENCE = 20.0  # of a busy machine
C1, C2 = DeviceKey("C1", "anna@lab.test"), DeviceKey("C2", "anna@lab.test")


class Cloud:
    """Two feeds under one numbering, pages of two; `asked` has every request in its order."""

    def __init__(self) -> None:
        self.history: list[tuple[Feed, Decision]] = []
        self.asked: list[str] = []
        self.trouble: dict[str, LinkError] = {}
        self.inventoried = asyncio.Event()

    def say(self, feed: Feed, key: DeviceKey, version: int, state: State = State.ALLOWED) -> None:
        """A word in this feed."""
        word = Decision(device_id=key.device_id, principal=key.principal, state=state, version=version)
        self.history.append((feed, word))

    def _hear(self, what: str, shown: str) -> None:
        self.asked.append(shown)
        if what in self.trouble:
            raise self.trouble[what]

    async def settings(self) -> CloudSettings:
        """Nothing special."""
        self._hear("settings", "settings")
        return CloudSettings(fail_mode="block", allow_unmanaged=False, licence="gold")

    async def check_in(self, feed: Feed, after: int) -> DecisionPage:
        """The page behind `after`."""
        self._hear(feed, f"{feed} {after}")
        last = max((word.version for _, word in self.history), default=0)
        found = [word for one, word in self.history if one == feed and word.version > after]
        page, more = tuple(found[:2]), len(found) > 2
        return DecisionPage(decisions=page, next=page[-1].version if more else last, more=more)

    async def report_inventory(self, inventory: Inventory) -> None:
        """Taken."""
        self._hear("inventory", f"inventory {inventory.after} of {len(inventory.tunnels)}")
        self.inventoried.set()

    def inventory_told(self) -> None:
        """Not looked at."""

    def know_strangers(self, _principals: object) -> None:
        """Not looked at."""

    async def contact(self, contact: Contact) -> Decision:
        """Nobody makes one."""
        raise AssertionError(contact)


class Scene:
    """The parts together."""

    def __init__(self, devices: DeviceList, ears: Ears) -> None:
        self.devices, self.ears = devices, ears
        self.clock, self.cloud = Clock(100.0), Cloud()
        self.circuit = Circuit(self.clock, lambda: 1.0)
        questions = Questions(devices, self.cloud, self.circuit, "block", audit=ears.audit, clock=self.clock)
        self.questions = questions
        self.checkins = self.made()

    def made(self, forced_seconds: float = FORCED_SECONDS) -> CheckIns:
        """As at a start of the agent."""
        return CheckIns(
            *(self.devices, self.cloud, self.circuit, self.questions),
            seconds=SECONDS,
            audit=self.ears.audit,
            clock=self.clock,
            draw=lambda: 0.5,
            forced_seconds=forced_seconds,
        )

    async def round(self) -> list[str]:
        """What is due, and what was asked by that."""
        self.cloud.asked = []
        await self.checkins.round(self.checkins._due())
        return self.cloud.asked


@pytest.fixture
async def scene(devices: DeviceList, ears: Ears) -> Scene:
    """A Cloud that knows nothing."""
    return Scene(devices, ears)


@pytest.mark.shows("cloud schedules")
async def test_each_check_in_asks_for_its_own_when_it_is_due(scene: Scene) -> None:
    """All at start; then actions every 30 s, compliance every 60 s, the inventory every 900 s."""
    assert await scene.round() == ["settings", "compliance 0", "actions 0", "inventory 0 of 0"]
    assert await scene.round() == []
    scene.clock.now += 30
    assert await scene.round() == ["actions 0"]
    scene.clock.now += 30
    assert await scene.round() == ["settings", "compliance 0", "actions 0"]
    scene.clock.now += 840
    scene.cloud.say("compliance", C1, 7)
    assert await scene.round() == ["settings", "compliance 0", "actions 0", "inventory 1 of 1"]


async def test_the_list_has_the_smaller_cursor_and_both_are_read_from_there_after_a_restart(scene: Scene) -> None:
    """What one feed has alone is not lost because the other was further."""
    await scene.round()
    scene.cloud.say("compliance", C1, 5)
    scene.cloud.say("actions", C2, 6, State.BLOCKED)
    scene.clock.now += 30
    assert await scene.round() == ["actions 0"]
    assert scene.devices.cursor == 0
    scene.checkins = scene.made()
    asked = await scene.round()
    assert asked[1:3] == ["compliance 0", "actions 0"]
    assert scene.devices.cursor == 6
    first, second = scene.devices.get(C1), scene.devices.get(C2)
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == (State.ALLOWED, State.BLOCKED)


async def test_a_feed_is_read_page_by_page(scene: Scene) -> None:
    """To its end, which is the last version of all."""
    for place in range(1, 6):
        scene.cloud.say("compliance", DeviceKey(f"C{place}", "anna@lab.test"), place)
    assert (await scene.round())[:4] == ["settings", "compliance 0", "compliance 2", "compliance 4"]
    assert scene.devices.count == 5


async def test_a_cloud_put_back_is_read_anew_and_nothing_is_forgotten(scene: Scene) -> None:
    """The audit says so."""
    scene.cloud.say("compliance", C1, 9)
    await scene.round()
    scene.cloud.history.clear()
    scene.cloud.say("compliance", C2, 4)
    scene.clock.now += 60
    await scene.round()
    assert "uem_behind" in scene.ears.events
    assert (scene.devices.get(C1) is None, scene.devices.get(C2) is None) == (False, False)


async def test_one_that_is_refused_stops_no_other(scene: Scene) -> None:
    """It is tried again after its interval, and said once."""
    scene.cloud.trouble["compliance"] = LinkRefusedError("the UEM answered 500")
    assert (await scene.round())[-2:] == ["actions 0", "inventory 0 of 0"]
    assert scene.checkins.problem == "compliance: the UEM answered 500"
    assert scene.circuit.state is LinkState.UP
    scene.clock.now += 60
    await scene.round()
    assert scene.ears.events.count("uem_resync_failed") == 1


async def test_while_nobody_is_there_only_compliance_probes(scene: Scene) -> None:
    """What was due is still due when somebody is there again."""
    scene.cloud.trouble["settings"] = LinkDownError("nobody")
    assert await scene.round() == ["settings"]
    assert scene.circuit.is_down
    assert await scene.round() == ["settings"]
    scene.cloud.trouble.clear()
    assert await scene.round() == ["settings", "compliance 0", "actions 0", "inventory 0 of 0"]
    assert [one for one in scene.ears.events if one in ("uem_down", "uem_up")] == ["uem_down", "uem_up"]


async def test_a_forced_one_is_for_everything_and_waits_for_no_schedule(scene: Scene) -> None:
    """Two who ask at once get the answer of one; without a Cloud they are told why not."""
    running = asyncio.create_task(scene.checkins.run())
    try:
        done = await scene.checkins.force()
        assert (done.compliance, done.actions, done.inventory) == (0, 0, 0)
        scene.cloud.say("compliance", C1, 5)
        scene.cloud.say("actions", C2, 6)
        both = await asyncio.gather(scene.checkins.force(), scene.checkins.force())
        assert [(one.compliance, one.actions, one.inventory) for one in both] == [(1, 1, 2)] * 2
        scene.cloud.trouble["settings"] = LinkDownError("nobody is there")
        with pytest.raises(Refused, match="nobody is there"):
            await scene.checkins.force()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_who_forces_one_that_takes_too_long_is_told_that_it_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does: nobody has to wait for it."""
    gate = asyncio.Event()
    slow = scene.cloud.settings

    async def settings() -> CloudSettings:
        await gate.wait()
        return await slow()

    monkeypatch.setattr(scene.cloud, "settings", settings)
    checkins = scene.made(forced_seconds=0.0)
    running = asyncio.create_task(checkins.run())
    try:
        with pytest.raises(Refused, match="goes on"):
            await checkins.force()
        gate.set()
        async with asyncio.timeout(PATIENCE):
            await scene.cloud.inventoried.wait()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_cloud_that_goes_back_again_and_again_ends_the_check_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one check-in would never end, with a line in the audit trail and a write to the disk at each turn."""
    scene.cloud.say("compliance", C1, 9)
    await scene.round()
    asked = 0

    async def yo_yo(feed: Feed, after: int) -> DecisionPage:
        nonlocal asked
        asked += 1
        assert asked < 100, "it goes on for ever"
        return DecisionPage(decisions=(), next=8 - asked % 2 if after else 9, more=False)

    monkeypatch.setattr(scene.cloud, "check_in", yo_yo)
    scene.clock.now += 60
    await scene.round()

    async def climbing(feed: Feed, after: int) -> DecisionPage:
        nonlocal asked
        asked += 1
        assert asked < 100, "it goes on for ever"
        word = Decision(device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=after + 5)
        return (
            DecisionPage(decisions=(word,), next=after + 5, more=True)
            if after < 10
            else DecisionPage(decisions=(), next=3, more=False)
        )

    monkeypatch.setattr(scene.cloud, "check_in", climbing)
    scene.clock.now += 60
    await scene.round()
    assert "goes back again and again: to 3, from 10" in scene.checkins.problem
    assert scene.ears.events.count("uem_behind") <= 3
