"""Contacts that come together: the same comes of them as one after the other, and none spoils another's."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem_server import worker as workers
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.room import PER_PRINCIPAL, NoRoomError
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.worker import DatabaseError, Worker

Open = Callable[..., Registry]


def contact(device_id: str, principal: str, *aliases: str) -> Contact:
    """A contact."""
    return Contact(device_id=device_id, device_aliases=aliases, principal=principal, device_type="x", seen=5)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[Engine]]:
    """Those that are to be closed."""
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.dispose()


@pytest.fixture
def opened(engines: list[Engine], tmp_path: Path) -> Open:
    """A UEM each time, all of which know the same: two to a mailbox, one device blocked by hand, one removed, one of a person who
    has no room left."""

    def make(*, auto_block: bool = True) -> Registry:
        engines.append(open_engine(f"sqlite:///{tmp_path}/{len(engines)}.sqlite"))
        registry = Registry(engines[-1], auto_block=auto_block, devices_per_mailbox=2, now=lambda: 0.001)
        registry.set_state(DeviceKey("LOST", "berta@lab.test"), State.BLOCKED, [Reason.MANUAL], "")
        registry.register(DeviceKey("OLD", "carla@lab.test"), "", "")
        registry.remove(DeviceKey("OLD", "carla@lab.test"))
        registry.register(DeviceKey("KNOWN", "dora@lab.test"), "", "")
        for number in range(PER_PRINCIPAL):
            registry.contact(contact(f"E{number}", "emma@lab.test"))
        return registry

    return make


TOGETHER = [
    contact("A1", "anna@lab.test"),
    contact("A2", "anna@lab.test", "ALIAS"),
    contact("A3", "anna"),  # the third of her mailbox
    contact("4C4F5354", "berta", "LOST"),  # the blocked one in hex
    contact("OLD", "carla@lab.test"),
    contact("KNOWN", "dora@lab.test", "KNOWN2"),
    contact("E99", "emma@lab.test"),
    contact("A1", "anna@lab.test"),  # once more
    contact("KNOWN", "fritz@lab.test"),  # another's id
]


def told(outcomes: Sequence[Decision | Exception]) -> list[object]:
    """What is said, but for the change numbers, which are given in another order."""
    return [msgspec.structs.replace(one, version=1) if isinstance(one, Decision) else str(one) for one in outcomes]


def one_by_one(registry: Registry, contacts: Sequence[Contact]) -> list[Decision | Exception]:
    """Each in a transaction of its own."""
    found: list[Decision | Exception] = []
    for one in contacts:
        try:
            found.append(registry.contact(one))
        except NoRoomError as error:
            found.append(error)
    return found


@pytest.mark.parametrize("auto_block", [True, False])
def test_of_contacts_together_comes_what_comes_of_them_one_by_one(opened: Open, *, auto_block: bool) -> None:
    """Also of those of one person, of one that has no room, and of the same one twice."""
    alone, together = opened(auto_block=auto_block), opened(auto_block=auto_block)
    outcomes = together.contacts(TOGETHER)
    assert told(outcomes) == told(one_by_one(alone, TOGETHER))
    assert [isinstance(one, NoRoomError) for one in outcomes].index(True) == 6
    known = {(one.device_id, one.principal): one for one in alone.changes(0, 1_000).decisions}
    page = together.changes(0, 1_000).decisions
    assert {(one.device_id, one.principal) for one in page} == set(known)
    for one in page:
        assert told([one]) == told([known[one.device_id, one.principal]])
    versions = [one.version for one in page]
    assert versions == sorted(set(versions))
    for outcome in outcomes:  # each was told under the number under which it stands
        assert isinstance(outcome, NoRoomError) or outcome in page


def running(registry: Registry, job: Callable[[Worker], Awaitable[None]]) -> None:
    """Do the job with a worker of this registry."""

    async def main() -> None:
        worker = Worker(lambda: registry)
        await worker.start()
        try:
            await job(worker)
        finally:
            worker.stop()

    asyncio.run(main())


async def held_up(worker: Worker, contacts: Sequence[Contact]) -> list[Decision | BaseException]:
    """What comes of contacts that all wait before the first of them has its turn."""
    free = threading.Event()
    first = asyncio.create_task(worker.call(lambda _registry: free.wait()))
    asked = [asyncio.create_task(worker.contact(one)) for one in contacts]
    await asyncio.sleep(0)
    free.set()
    await first
    return await asyncio.gather(*asked, return_exceptions=True)


def test_contacts_that_wait_go_into_one_transaction(opened: Open, engines: list[Engine]) -> None:
    """And each gets its own answer."""
    registry = opened()
    commits: list[object] = []
    event.listen(engines[0], "commit", commits.append)

    async def job(worker: Worker) -> None:
        outcomes = await held_up(worker, TOGETHER)
        assert [one.device_id for one in outcomes if isinstance(one, Decision)] == [
            one.device_id for one in TOGETHER if one.device_id != "E99"
        ]
        assert isinstance(outcomes[6], NoRoomError)
        assert len(commits) == 1

    running(registry, job)


def test_no_more_go_into_one_than_its_bound(
    opened: Open, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that others have their turn in between."""
    monkeypatch.setattr(workers, "CONTACTS", 4)
    registry = opened()
    commits: list[object] = []
    event.listen(engines[0], "commit", commits.append)

    async def job(worker: Worker) -> None:
        await held_up(worker, [contact(f"N{number}", f"n{number}") for number in range(10)])
        assert len(commits) == 3

    running(registry, job)


def test_one_that_fails_fails_alone(opened: Open, engines: list[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the transaction had of its neighbours is undone, and done again without it: each is recorded once."""
    registry = opened()
    before = registry.changes(0, 1_000).next
    met = registry._met

    def poisoned(*given: Any) -> object:
        if given[2] == DeviceKey("N2", "n2"):
            raise ZeroDivisionError
        return met(*given)

    monkeypatch.setattr(registry, "_met", poisoned)

    async def job(worker: Worker) -> None:
        outcomes = await held_up(worker, [contact(f"N{number}", f"n{number}") for number in range(5)])
        assert [type(one) for one in outcomes] == [Decision, Decision, ZeroDivisionError, Decision, Decision]
        page = registry.changes(before, 1_000).decisions
        assert list(page) == [one for one in outcomes if isinstance(one, Decision)]

    running(registry, job)


def test_a_database_that_is_away_is_away_for_all(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once: else each would wait for it in its turn."""
    registry = opened()
    asked = 0

    def away(_contacts: object) -> None:
        nonlocal asked
        asked += 1
        raise OperationalError("SELECT", {}, OSError("no route"))

    monkeypatch.setattr(registry, "contacts", away)

    async def job(worker: Worker) -> None:
        outcomes = await held_up(worker, TOGETHER)
        assert {type(one) for one in outcomes} == {DatabaseError}
        assert asked == 1

    running(registry, job)


def test_who_has_gone_takes_no_turn(opened: Open) -> None:
    """And is in nobody's way."""
    registry = opened()

    async def job(worker: Worker) -> None:
        free = threading.Event()
        first = asyncio.create_task(worker.call(lambda _registry: free.wait()))
        gone = [asyncio.create_task(worker.contact(contact(f"G{number}", "gone"))) for number in range(3)]
        stays = asyncio.create_task(worker.contact(contact("S", "stays")))
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        free.set()
        await first
        assert (await stays).device_id == "S"
        assert registry.of_device("G0") == []

    running(registry, job)
