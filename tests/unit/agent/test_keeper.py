"""Resync: page by page, from the cursor, after a restore, and through an outage."""

import asyncio
import contextlib
from unittest.mock import Mock

import pytest

from sentry_runtime.agent.circuit import Circuit, LinkState
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.keeper import SOON_SECONDS, Keeper
from sentry_runtime.agent.questions import Questions
from sentry_runtime.agent.reconciler import Reconciler
from sentry_runtime.control import Ask
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.devices.store import StoreFullError
from sentry_runtime.uem.api import BucketPage, Contact, Decision, DecisionPage, Digests
from sentry_runtime.uem.link import LinkBusyError, LinkDownError, LinkError, LinkRefusedError, LinkSlowError
from tests.clock import Clock
from tests.unit.agent.ears import Ears

ANNA = DeviceKey("C1", "anna@lab.test")


class Uem:
    """A feed with pages of two; what it was asked is in `afters`."""

    def __init__(self) -> None:
        self.history: list[Decision] = []
        self.afters: list[int] = []
        self.trouble: LinkError | None = None
        self.busy = False
        self.answered = asyncio.Event()

    def say(self, device_id: str, version: int) -> None:
        """Allow this device at this version."""
        self.history.append(
            Decision(device_id=device_id, principal="anna@lab.test", state=State.ALLOWED, version=version)
        )

    async def decisions(self, after: int) -> DecisionPage:
        """The page behind `after`."""
        self.afters.append(after)
        self.answered.set()
        if self.trouble is not None:
            raise self.trouble
        found = [word for word in self.history if word.version > after]
        last = self.history[-1].version if self.history else 0
        page = tuple(found[:2])
        return DecisionPage(decisions=page, next=page[-1].version if page else min(after, last), more=len(found) > 2)

    async def digests(self, root: str) -> Digests:
        """The same as the list's, once they are made."""
        if self.busy:
            raise LinkBusyError("the UEM answered 503")
        return Digests(version=0, root=root)

    async def bucket(self, number: int, after: int) -> BucketPage:
        """Nobody asks for one."""
        raise AssertionError

    async def contact(self, contact: Contact) -> Decision:
        """Blocked, at a version above all."""
        if self.trouble is not None:
            raise self.trouble
        return Decision(device_id=contact.device_id, principal=contact.principal, state=State.BLOCKED, version=99)


@pytest.fixture
async def uem() -> Uem:
    """Knows nothing yet."""
    return Uem()


@pytest.fixture
def clock() -> Clock:
    """One for all."""
    return Clock(100.0)


@pytest.fixture
def questions(devices: DeviceList, uem: Uem, clock: Clock, ears: Ears) -> Questions:
    """In fail mode `allow`."""
    return Questions(devices, uem, Circuit(clock, lambda: 1.0), "allow", audit=ears.audit, clock=clock)


@pytest.fixture
def keeper(devices: DeviceList, uem: Uem, questions: Questions, clock: Clock, ears: Ears) -> Keeper:
    """Resyncs every 60 s."""
    return Keeper(
        devices,
        uem,
        questions._circuit,
        questions,
        reconciler=Reconciler(devices, uem, audit=ears.audit),
        resync_seconds=60.0,
        audit=ears.audit,
        clock=clock,
        draw=lambda: 0.5,
    )


async def test_a_round_loads_all_pages_and_the_next_one_only_what_is_new(
    keeper: Keeper, devices: DeviceList, uem: Uem
) -> None:
    """Each page begins where the one before ended."""
    for version in range(1, 6):
        uem.say(f"C{version}", version)
    await keeper.round()
    assert (devices.count, devices.cursor, uem.afters) == (5, 5, [0, 2, 4])
    uem.say("C6", 6)
    await keeper.round()
    assert (devices.count, uem.afters[3:]) == (6, [5])


async def test_a_uem_put_back_to_an_older_state_is_read_anew_and_forgets_us_no_device(
    keeper: Keeper, devices: DeviceList, uem: Uem, ears: Ears
) -> None:
    """The audit says so; the entries stand until the UEM says otherwise with a newer version."""
    for version in range(1, 4):
        uem.say(f"C{version}", version)
    await keeper.round()
    del uem.history[1:]
    uem.say("C9", 2)
    await keeper.round()
    assert (devices.cursor, devices.count) == (2, 4)
    assert ears.events.count("uem_behind") == 1
    await keeper.round()
    assert ears.events.count("uem_behind") == 1


async def test_a_feed_that_says_more_without_going_on_ends_the_round(
    keeper: Keeper, uem: Uem, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be asked for ever."""

    async def stuck(after: int) -> DecisionPage:
        return DecisionPage(decisions=(), next=after, more=True)

    monkeypatch.setattr(uem, "decisions", stuck)
    await keeper.round()
    assert "does not go on behind 0" in keeper.problem
    assert ears.events == ["uem_resync_failed"]


async def test_a_uem_that_goes_back_again_and_again_ends_the_round(
    keeper: Keeper, uem: Uem, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the round would never end, with an audit line and a write to the disk at each turn."""
    asked = 0

    async def climbing(after: int) -> DecisionPage:
        nonlocal asked
        asked += 1
        assert asked < 100, "it goes on for ever"
        if after >= 10:
            return DecisionPage(decisions=(), next=3, more=False)
        word = Decision(device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=after + 5)
        return DecisionPage(decisions=(word,), next=after + 5, more=True)

    monkeypatch.setattr(uem, "decisions", climbing)
    await keeper.round()
    assert "goes back again and again: to 3, from 10" in keeper.problem
    assert ears.events.count("uem_behind") == 1


async def test_an_outage_is_audited_when_it_begins_and_when_it_ends(keeper: Keeper, uem: Uem, ears: Ears) -> None:
    """Not at every probe."""
    await keeper.round()
    uem.trouble = LinkDownError("connection refused")
    await keeper.round()
    await keeper.round()
    assert keeper.problem == "connection refused"
    uem.trouble = None
    await keeper.round()
    assert ears.events == ["uem_up", "uem_down", "uem_up"]
    assert keeper.problem == ""


async def test_an_unchanged_refusal_is_audited_once_and_is_no_outage(
    keeper: Keeper, uem: Uem, ears: Ears, questions: Questions
) -> None:
    """Garbage every minute is one line, and known devices are not the fail mode's."""
    uem.trouble = LinkRefusedError("unknown field `x`")
    await keeper.round()
    await keeper.round()
    assert ears.audited == [("uem_resync_failed", {"detail": "unknown field `x`"})]
    assert questions._circuit.state is LinkState.UNTRIED


async def test_a_returned_uem_corrects_what_the_fail_mode_admitted(
    keeper: Keeper, uem: Uem, devices: DeviceList, questions: Questions
) -> None:
    """In the very round that finds it back."""
    uem.trouble = LinkDownError("connection refused")
    assert (await questions.ask(Ask(key=ANNA, device_type="iPhone"))).provisional
    uem.trouble = None
    await keeper.round()
    corrected = devices.get(ANNA)
    assert corrected is not None
    assert (corrected.state, corrected.provisional) == (State.BLOCKED, False)


async def test_a_call_from_a_uem_that_counted_as_down_is_reason_for_a_probe_and_else_for_nothing(
    keeper: Keeper, uem: Uem, questions: Questions
) -> None:
    """A UEM that comes back says so, and its Sentry need not wait for the next probe."""
    await keeper.round()
    keeper.heard()
    assert not questions.link_lost.is_set()
    uem.trouble = LinkDownError("connection refused")
    await keeper.round()
    keeper.heard()
    assert questions.link_lost.is_set()


async def test_a_uem_that_comes_back_too_slow_ends_the_outage_and_the_fail_mode(
    keeper: Keeper, uem: Uem, questions: Questions, clock: Clock
) -> None:
    """Else its overload would admit devices for as long as it lasts. It is probed at the circuit's times."""
    uem.trouble = LinkDownError("connection refused")
    await keeper.round()
    assert (await questions.ask(Ask(key=ANNA, device_type="iPhone"))).provisional
    clock.now += keeper._wait()
    uem.trouble = LinkSlowError("no answer")
    await keeper.round()
    with pytest.raises(Refused, match="no answer"):
        await questions.ask(Ask(key=DeviceKey("C2", "anna@lab.test"), device_type="iPhone"))
    assert keeper._wait() == 1.0


async def test_a_list_that_cannot_be_written_is_audited_and_tried_again(
    keeper: Keeper, uem: Uem, devices: DeviceList, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent stays: devices that are known go on, and the disk may have room again at the next round."""
    uem.say("C1", 1)
    with monkeypatch.context() as patch:
        patch.setattr(
            devices._store, "write", Mock(side_effect=StoreFullError("the device list has outgrown its bytes"))
        )
        await keeper.round()
    assert (keeper.problem, ears.events) == ("the device list has outgrown its bytes", ["uem_resync_failed"])
    await keeper.round()
    assert (keeper.problem, devices.count) == ("", 1)


async def test_the_wait_is_the_interval_with_the_link_up_and_the_circuits_with_it_down(
    keeper: Keeper, uem: Uem, clock: Clock
) -> None:
    """The interval is drawn within a tenth; a probe is never due in no time."""
    await keeper.round()
    assert keeper._wait() == 60.0
    uem.busy = True
    await keeper.round()
    assert keeper._wait() == SOON_SECONDS  # its digests are being made
    uem.busy = False
    await keeper.round()
    assert keeper._wait() == 60.0
    uem.trouble = LinkDownError("connection refused")
    await keeper.round()
    assert keeper._wait() == 0.5
    clock.now += 10
    assert keeper._wait() == 0.05


async def test_a_question_that_finds_the_link_down_wakes_the_keeper(
    keeper: Keeper, uem: Uem, questions: Questions
) -> None:
    """It need not wait for the end of the interval."""
    running = asyncio.create_task(keeper.run())
    await uem.answered.wait()
    uem.answered.clear()
    questions.link_lost.set()
    async with asyncio.timeout(5):
        await uem.answered.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert len(uem.afters) == 2
