"""Marks on their way to the agent, and how many acknowledgements are put to a backend."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentry_runtime import control
from sentry_runtime.control_server import ControlServer, Peer, Refused
from sentry_runtime.devices.record import DeviceKey, Wipe, WipeKind, WipeMark
from sentry_runtime.gateway import wipe_marks
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.logon import LogonLostError
from sentry_runtime.gateway.wipe_marks import PROBE_SECONDS, PROBED_DEVICES, PROBES, ProbeBudget, WipeMarks
from tests.clock import Clock

KEY = DeviceKey("PHONE1", "anna@lab.test")
ORDER = Wipe(kind=WipeKind.DEVICE, order=7)


def test_a_devices_acknowledgements_are_put_to_a_backend_a_few_times_in_a_while() -> None:
    """Each device has its own; what was refused does not count."""
    clock = Clock(100.0)
    budget = ProbeBudget(clock)
    assert [budget.take(KEY) for _ in range(PROBES + 5)] == [True] * PROBES + [False] * 5
    assert budget.take(DeviceKey("PHONE2", KEY.principal))
    clock.now += PROBE_SECONDS
    assert [budget.take(KEY) for _ in range(PROBES + 1)] == [True] * PROBES + [False]


def test_a_budget_is_kept_for_so_many_devices_only() -> None:
    """Beyond, none is put to a backend until others are of the past."""
    clock = Clock(100.0)
    budget = ProbeBudget(clock)
    assert all(budget.take(DeviceKey(f"D{number}", "x")) for number in range(PROBED_DEVICES))
    assert not budget.take(KEY)
    assert budget.take(DeviceKey("D0", "x"))
    clock.now += PROBE_SECONDS
    assert budget.take(KEY)


class Agent:
    """The agent's socket; refuses as often as it is told to."""

    def __init__(self, path: Path) -> None:
        self.refusals: list[Refused] = []
        self.taken: list[control.MarkWipe] = []
        self.held = asyncio.Event()
        self.held.set()
        self.server = ControlServer(path, self._handle)

    async def _handle(self, peer: Peer, request: control.Request) -> object:
        await self.held.wait()
        if self.refusals:
            raise self.refusals.pop()
        assert isinstance(request, control.MarkWipe)
        self.taken.append(request)
        return None


class Backend:
    """Accepts the credentials, or says no in one of the ways in which that comes."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.asked = 0

    async def vouch(self) -> None:
        """One probe."""
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    """One that runs."""
    made = Agent(tmp_path / "agent.sock")
    await made.server.start()
    yield made
    await made.server.stop()


@pytest.fixture
def backend() -> Backend:
    """Accepts everybody."""
    return Backend()


@pytest.fixture
def marks(agent: Agent, tmp_path: Path) -> WipeMarks:
    """Those of one worker, with time for everything."""
    return WipeMarks(str(tmp_path / "agent.sock"), 10.0, Clock(100.0))


async def told(agent: Agent, count: int) -> list[WipeMark]:
    """The marks, once there are so many."""
    async with asyncio.timeout(10):
        while len(agent.taken) < count:  # noqa: ASYNC110 - the socket's other end sets no event
            await asyncio.sleep(0.01)
    return [request.mark for request in agent.taken]


async def test_an_acknowledgement_is_kept_before_it_is_verified(
    marks: WipeMarks, agent: Agent, backend: Backend
) -> None:
    """Whatever happens afterwards, the device has acknowledged."""
    await marks.acknowledged(KEY, ORDER, backend.vouch)
    assert agent.taken[0] == control.MarkWipe(key=KEY, order=7, mark=WipeMark.UNVERIFIED)
    assert await told(agent, 2) == [WipeMark.UNVERIFIED, WipeMark.VERIFIED]


@pytest.mark.parametrize(
    "refusal",
    [CredentialsRefusedError(), LogonLostError(), BackendsDownError("backend_down"), UndecidedError("busy")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_refused_credentials_verify_nothing(
    marks: WipeMarks, agent: Agent, backend: Backend, refusal: Exception
) -> None:
    """And the device is none the wiser."""
    backend.refusal = refusal
    for _ in range(PROBES + 2):
        await marks.acknowledged(KEY, ORDER, backend.vouch)
    assert backend.asked == PROBES
    assert {request.mark for request in agent.taken} == {WipeMark.UNVERIFIED}


async def test_a_mark_is_told_until_the_agent_takes_it(marks: WipeMarks, agent: Agent) -> None:
    """Busy, unable to write, or not there."""
    agent.refusals = [Refused("unavailable", "disk"), Refused("busy", "later")]
    marks.note(KEY, ORDER, WipeMark.HANDED_OUT)
    marks.note(KEY, ORDER, WipeMark.HANDED_OUT)
    assert await told(agent, 1) == [WipeMark.HANDED_OUT]


async def test_what_the_agent_has_is_not_told_again(marks: WipeMarks, agent: Agent) -> None:
    """Nor anything of an entry that has no order."""
    marks.note(KEY, ORDER.marked([WipeMark.HANDED_OUT]), WipeMark.HANDED_OUT)
    marks.note(KEY, Wipe(kind=WipeKind.DEVICE, order=0), WipeMark.HANDED_OUT)
    marks.note(KEY, ORDER, WipeMark.FAILED)
    assert await told(agent, 1) == [WipeMark.FAILED]


async def test_what_waits_for_the_agent_is_bounded(
    marks: WipeMarks,
    agent: Agent,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An acknowledgement beyond it is for later; a directive that was handed out is only left out."""
    monkeypatch.setattr(wipe_marks, "MARKS_AT_ONCE", 1)
    agent.held.clear()
    marks.note(KEY, ORDER, WipeMark.HANDED_OUT)
    with pytest.raises(UndecidedError, match="busy"):
        await marks.acknowledged(KEY, ORDER, backend.vouch)
    marks.note(KEY, ORDER, WipeMark.FAILED)
    assert "one of device PHONE1 is left out" in caplog.text
    agent.held.set()
    assert await told(agent, 1) == [WipeMark.HANDED_OUT]


async def test_an_agent_that_takes_too_long_is_told_on(agent: Agent, backend: Backend, tmp_path: Path) -> None:
    """The device may come back; what it said is not lost."""
    marks = WipeMarks(str(tmp_path / "agent.sock"), 0.05, Clock(100.0))
    agent.held.clear()
    with pytest.raises(UndecidedError, match="agent_down"):
        await marks.acknowledged(KEY, ORDER, backend.vouch)
    agent.held.set()
    assert set(await told(agent, 2)) == {WipeMark.UNVERIFIED, WipeMark.VERIFIED}
