"""What devices say of themselves: kept, passed on, and passed on later where the UEM is away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.informer import Informer
from sentry_runtime.control import Describe
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import Saying, StoreFullError, Writer
from sentry_runtime.eas.device_information import FIELD_CHARS, DeviceInformation
from sentry_runtime.uem.api import Decision, Information
from sentry_runtime.uem.link import LinkDownError, LinkError, LinkRefusedError, LinkSlowError
from tests.unit.agent.ears import Ears

ANNA, BERT = DeviceKey("C1", "anna@lab.test"), DeviceKey("C2", "bert@lab.test")
SAYS = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 17.0")


class Uem:
    """Takes what it is told, or raises `trouble`; `before` is called with each."""

    def __init__(self) -> None:
        self.told: list[Information] = []
        self.trouble: LinkError | None = None
        self.before: Callable[[], object] = lambda: None

    async def inform(self, information: Information) -> None:
        """As the link."""
        self.before()
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        self.told.append(information)


@pytest.fixture
def uem() -> Uem:
    """Takes everything."""
    return Uem()


@pytest.fixture
def circuit() -> Circuit:
    """Untried."""
    return Circuit(lambda: 1_000.0, draw=lambda: 1.0)


@pytest.fixture
async def known(devices: DeviceList) -> DeviceList:
    """Both devices have an entry."""
    for version, key in enumerate((ANNA, BERT), 1):
        await devices.take([_allowed(key, version)])
    return devices


@pytest.fixture
def informer(known: DeviceList, uem: Uem, circuit: Circuit, ears: Ears) -> Informer:
    """Nothing said so far."""
    return Informer(known, uem, circuit, audit=ears.audit)


def _allowed(key: DeviceKey, version: int) -> Decision:
    word = {"device_id": key.device_id, "principal": key.principal, "state": "allowed", "version": version}
    return Decision(**word)  # type: ignore[arg-type] # the state is a word of its enumeration


def message(key: DeviceKey, information: DeviceInformation = SAYS) -> Information:
    """What the UEM is told."""
    return Information(device_id=key.device_id, principal=key.principal, information=information)


async def test_what_a_device_says_is_kept_and_told_once(informer: Informer, known: DeviceList, uem: Uem) -> None:
    """The same again is no news."""
    for _ in range(3):
        await informer.take(Describe(key=ANNA, information=SAYS))
        await informer.deliver()
    assert uem.told == [message(ANNA)]
    assert (known.said(ANNA), informer.untold) == (Saying(SAYS, told=True), 0)
    other = DeviceInformation(model="iPhone10C1", os="iOS 18.0")
    await informer.take(Describe(key=ANNA, information=other))
    await informer.deliver()
    assert uem.told[1:] == [message(ANNA, other)]


async def test_the_task_delivers_by_itself(informer: Informer, uem: Uem) -> None:
    """As soon as something is said."""
    told = asyncio.Event()
    uem.before = told.set
    running = asyncio.create_task(informer.run())
    await informer.take(Describe(key=ANNA, information=SAYS))
    async with asyncio.timeout(10):
        await told.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_comes_from_outside_is_cut_and_cleaned(informer: Informer, known: DeviceList, uem: Uem) -> None:
    """Before it is kept: it is shown on a terminal."""
    await informer.take(Describe(key=ANNA, information=DeviceInformation(model="\x1b[2J" + "x" * 1_000)))
    await informer.deliver()
    said = known.said(ANNA)
    assert said is not None
    assert said.information.model.startswith("[2Jx")
    assert len(said.information.model) == FIELD_CHARS
    assert uem.told[0].information == said.information


@pytest.mark.parametrize(
    ("key", "kind"),
    [(DeviceKey("STRANGER", "eve@lab.test"), "unavailable"), (DeviceKey("", "anna"), "invalid")],
)
async def test_who_has_no_entry_says_nothing(informer: Informer, uem: Uem, key: DeviceKey, kind: str) -> None:
    """Nobody fills the disk with devices that are not there."""
    with pytest.raises(Refused) as caught:
        await informer.take(Describe(key=key, information=SAYS))
    assert caught.value.kind == kind
    await informer.deliver()
    assert (uem.told, informer.untold) == ([], 0)


@pytest.mark.parametrize("trouble", [LinkDownError("gone"), LinkSlowError("slow"), LinkRefusedError("503")])
async def test_a_uem_that_does_not_take_it_hears_of_it_later(informer: Informer, uem: Uem, trouble: LinkError) -> None:
    """Whatever kept it; one that is refused does not keep the next one waiting."""
    uem.trouble = trouble
    for key in (ANNA, BERT):
        await informer.take(Describe(key=key, information=SAYS))
        await informer.deliver()
    assert informer.untold == 2
    uem.trouble = None
    informer.retry()
    await informer.deliver()
    assert sorted(uem.told, key=lambda one: one.device_id) == [message(ANNA), message(BERT)]
    assert informer.untold == 0


async def test_while_the_link_is_down_nobody_dials(informer: Informer, uem: Uem, circuit: Circuit) -> None:
    """But who probes it."""
    circuit.failed()
    await informer.take(Describe(key=ANNA, information=SAYS))
    await informer.deliver()
    assert uem.told == []
    circuit.succeeded()
    await informer.deliver()
    assert uem.told == [message(ANNA)]


async def test_what_was_not_told_is_told_after_a_restart(
    informer: Informer, known: DeviceList, uem: Uem, circuit: Circuit, ears: Ears
) -> None:
    """The list has the mark."""
    for key, trouble in ((ANNA, None), (BERT, LinkSlowError("slow"))):
        uem.trouble = trouble
        await informer.take(Describe(key=key, information=SAYS))
        await informer.deliver()
    uem.trouble = None
    again = Informer(known, uem, circuit, audit=ears.audit)
    assert again.untold == 1
    await again.deliver()
    assert uem.told == [message(ANNA), message(BERT)]


async def test_what_is_said_while_the_uem_is_told_is_told_too(informer: Informer, known: DeviceList, uem: Uem) -> None:
    """The mark is for what was told, not for what came meanwhile."""
    other = DeviceInformation(model="another")
    saying: list[asyncio.Task[None]] = []

    def meanwhile() -> None:
        uem.before = lambda: None
        saying.append(asyncio.create_task(informer.take(Describe(key=ANNA, information=other))))

    uem.before = meanwhile
    await informer.take(Describe(key=ANNA, information=SAYS))
    await informer.deliver()
    await asyncio.gather(*saying)
    await informer.deliver()
    assert [one.information for one in uem.told] == [SAYS, other]
    assert known.said(ANNA) == Saying(other, told=True)


async def test_a_full_disk_is_a_refusal_and_audited(
    informer: Informer, monkeypatch: pytest.MonkeyPatch, ears: Ears, tmp_path: Path
) -> None:
    """The gateway keeps it and tells it again."""

    def full(*_: object, **__: object) -> None:
        raise StoreFullError(f"{tmp_path}: full")

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(Refused, match="full") as caught:
        await informer.take(Describe(key=ANNA, information=SAYS))
    assert (caught.value.kind, ears.events) == ("unavailable", ["device_list_failed"])
