"""What comes of wipes: kept at once, reported when the UEM is there, until it knows."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.wipe_reports import WipeReports
from sentry_runtime.control import MarkWipe
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.store import StoreFullError, Writer
from sentry_runtime.uem.api import Decision, WipeReport
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError, LinkSlowError
from tests.unit.agent.ears import Ears

ANNA = DeviceKey("C1", "anna@lab.test")
BERT = DeviceKey("C2", "bert@lab.test")
UNVERIFIED, VERIFIED = WipeMark.UNVERIFIED, WipeMark.VERIFIED


def ordered(key: DeviceKey, version: int = 3, *marks: WipeMark) -> Decision:
    """The UEM wants it wiped, by the order of change 3."""
    wipe = Wipe(kind=WipeKind.DEVICE, order=3, marks=marks)
    return Decision(device_id=key.device_id, principal=key.principal, state=wipe.state, version=version, wipe=wipe)


class Uem:
    """Knows the marks it is told; its versions count up from 10."""

    def __init__(self) -> None:
        self.told: list[WipeReport] = []
        self.trouble: dict[DeviceKey, LinkError] = {}
        self.version = 10
        self.asked = asyncio.Event()

    async def report_wipe(self, report: WipeReport) -> Decision:
        """Everything it is told is new to it."""
        key = DeviceKey(report.device_id, report.principal)
        self.asked.set()
        if key in self.trouble:
            raise self.trouble[key]
        self.told.append(report)
        self.version += 1
        return ordered(key, self.version, *report.wipe.marks)


@pytest.fixture
def uem() -> Uem:
    """One that answers."""
    return Uem()


@pytest.fixture
def circuit() -> Circuit:
    """A link that was never tried."""
    return Circuit(lambda: 100.0, lambda: 1.0)


@pytest.fixture
def link_lost() -> asyncio.Event:
    """What wakes the keeper."""
    return asyncio.Event()


@pytest.fixture
def reports(devices: DeviceList, uem: Uem, circuit: Circuit, link_lost: asyncio.Event, ears: Ears) -> WipeReports:
    """Those of the list of the tests."""
    return WipeReports(devices, uem, circuit, link_lost, audit=ears.audit)


async def test_a_mark_is_on_the_disk_and_announced_when_it_is_answered(
    reports: WipeReports, devices: DeviceList, ears: Ears
) -> None:
    """The device is wiped at once, whatever the UEM does."""
    await devices.take([ordered(ANNA)])
    record = await reports.take(MarkWipe(key=ANNA, order=3, mark=UNVERIFIED))
    assert record is not None
    assert (record, record.state, record.unreported) == (devices.get(ANNA), State.WIPED, True)
    assert ears.announced == [(ANNA,), (ANNA,)]
    assert ears.audited == [
        ("device_wipe", {"key": ANNA, "action": State.WIPED, "reasons": (UNVERIFIED,), "version": 3})
    ]
    assert devices.unreported == {ANNA}


@pytest.mark.parametrize("order", [2, 4])
async def test_a_mark_of_another_order_changes_nothing(reports: WipeReports, devices: DeviceList, order: int) -> None:
    """Nor one of a device that is not there."""
    await devices.take([ordered(ANNA)])
    before = devices.get(ANNA)
    assert await reports.take(MarkWipe(key=ANNA, order=order, mark=VERIFIED)) == before
    assert await reports.take(MarkWipe(key=BERT, order=3, mark=VERIFIED)) is None
    assert devices.unreported == frozenset()


async def test_what_the_uem_has_answered_is_reported_no_more(
    reports: WipeReports, devices: DeviceList, uem: Uem
) -> None:
    """The report has all marks; the answer is the entry's new version."""
    await devices.take([ordered(ANNA)])
    for mark in (UNVERIFIED, VERIFIED):
        await reports.take(MarkWipe(key=ANNA, order=3, mark=mark))
    await reports.send()
    await reports.send()
    assert [report.wipe.marks for report in uem.told] == [(UNVERIFIED, VERIFIED)]
    record = devices.get(ANNA)
    assert record is not None
    assert (record.version, record.unreported, reports.sent) == (11, False, 1)


async def test_news_is_sent_at_once_and_again_when_the_uem_is_back(
    reports: WipeReports, devices: DeviceList, uem: Uem
) -> None:
    """`run` sends on its own."""
    await devices.take([ordered(ANNA), ordered(BERT)])
    running = asyncio.create_task(reports.run())
    uem.trouble[ANNA] = LinkSlowError("no answer")
    await reports.take(MarkWipe(key=ANNA, order=3, mark=UNVERIFIED))
    await uem.asked.wait()
    uem.trouble.clear()
    reports.wake()
    async with asyncio.timeout(10):
        while devices.unreported:  # noqa: ASYNC110 - the list sets no event
            await asyncio.sleep(0.01)
    assert [report.device_id for report in uem.told] == ["C1"]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_is_unreported_survives_a_restart(tmp_path: Path, uem: Uem, circuit: Circuit, ears: Ears) -> None:
    """The list is the outbox."""
    store = Writer(tmp_path)
    first = DeviceList(store, ears.announce)
    await first.take([ordered(ANNA)])
    await WipeReports(first, uem, circuit, asyncio.Event(), audit=ears.audit).take(
        MarkWipe(key=ANNA, order=3, mark=VERIFIED)
    )
    await first.close()
    second = DeviceList(store, ears.announce)
    assert second.unreported == {ANNA}
    await WipeReports(second, uem, circuit, asyncio.Event(), audit=ears.audit).send()
    assert (second.unreported, [report.wipe.marks for report in uem.told]) == (frozenset(), [(VERIFIED,)])
    await second.close()
    store.close()


async def test_a_link_that_is_down_is_not_dialled_by_reports(
    reports: WipeReports, devices: DeviceList, uem: Uem, circuit: Circuit, link_lost: asyncio.Event, ears: Ears
) -> None:
    """One finds out and says so; the keeper probes, and wakes us."""
    await devices.take([ordered(ANNA), ordered(BERT)])
    for key in (ANNA, BERT):
        await reports.take(MarkWipe(key=key, order=3, mark=UNVERIFIED))
    uem.trouble[ANNA] = LinkDownError("refused")
    await reports.send()
    assert (circuit.is_down, link_lost.is_set(), uem.told, ears.events[-1]) == (True, True, [], "uem_down")
    uem.trouble.clear()
    await reports.send()
    assert uem.told == []
    circuit.succeeded()
    await reports.send()
    assert (len(uem.told), devices.unreported) == (2, frozenset())


async def test_a_report_that_the_uem_refuses_keeps_no_other_from_it(
    reports: WipeReports, devices: DeviceList, uem: Uem, ears: Ears
) -> None:
    """It is said once, and tried again."""
    await devices.take([ordered(ANNA), ordered(BERT)])
    for key in (ANNA, BERT):
        await reports.take(MarkWipe(key=key, order=3, mark=UNVERIFIED))
    uem.trouble[ANNA] = LinkRefusedError("the UEM answered 404")
    await reports.send()
    await reports.send()
    assert [report.device_id for report in uem.told] == ["C2"]
    assert devices.unreported == {ANNA}
    assert ears.events.count("uem_refused") == 1
    uem.trouble.clear()
    await reports.send()
    assert devices.unreported == frozenset()


async def test_a_mark_that_comes_while_its_forerunner_is_reported_is_reported_too(
    reports: WipeReports, devices: DeviceList, uem: Uem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer speaks of what was reported only."""
    await devices.take([ordered(ANNA)])
    answer = uem.report_wipe

    async def slow(report: WipeReport) -> Decision:
        if len(uem.told) == 0:
            await reports.take(MarkWipe(key=ANNA, order=3, mark=VERIFIED))
        return await answer(report)

    monkeypatch.setattr(uem, "report_wipe", slow)
    await reports.take(MarkWipe(key=ANNA, order=3, mark=UNVERIFIED))
    await reports.send()
    assert devices.unreported == {ANNA}
    await reports.send()
    assert [report.wipe.marks for report in uem.told] == [(UNVERIFIED,), (UNVERIFIED, VERIFIED)]
    assert devices.unreported == frozenset()


async def test_what_cannot_be_kept_is_refused(
    reports: WipeReports, devices: DeviceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker tries again; a key that no device can have is its mistake."""
    await devices.take([ordered(ANNA)])
    with pytest.raises(Refused, match="upper case") as caught:
        await reports.take(MarkWipe(key=DeviceKey("c1", "anna"), order=3, mark=UNVERIFIED))
    assert caught.value.kind == "invalid"

    def full(**_: object) -> None:
        raise StoreFullError("full")

    monkeypatch.setattr(devices._store, "write", full)
    with pytest.raises(Refused, match="full") as caught:
        await reports.take(MarkWipe(key=ANNA, order=3, mark=UNVERIFIED))
    assert caught.value.kind == "unavailable"
