"""How many statements a word takes: each costs the UEM more than what the database does for it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, event

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem_server import room
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import open_engine

FIRST = 13  # statements of a first contact that is blocked; the begin and the change number are among them
FIRST_THAT_PASSES = 16  # it takes a place, and what may restrict it is asked for twice: before and after that
AGAIN, AGAIN_THAT_PASSES = 9, 12
WORD = 16  # of an administrator's word on a known device
OPENING = 90  # of a UEM whose setting has changed for some hundreds
PAGE = 6  # of the feed, whatever it holds


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An empty database."""
    made = open_engine(database)
    yield made
    made.dispose()


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """What is asked of the database."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return asked


def contact(number: int) -> Contact:
    """A device of a person of its own."""
    return Contact(
        device_id=f"D{number}",
        device_aliases=(f"A{number}",),
        principal=f"user{number}@lab.test",
        device_type="x",
        seen=5,
    )


def counted(statements: list[str], job: Callable[[], object]) -> int:
    """How many statements the job takes."""
    statements.clear()
    job()
    return len(statements)


@pytest.mark.parametrize(
    ("auto_block", "most", "again"), [(True, FIRST, AGAIN), (False, FIRST_THAT_PASSES, AGAIN_THAT_PASSES)]
)
def test_a_first_contact_takes_few_statements_and_so_do_fifty(
    engine: Engine, statements: list[str], *, auto_block: bool, most: int, again: int
) -> None:
    """With an alias, one more. Of fifty at once each takes the one that adds it (SQLite), and a part of the others."""
    registry = Registry(engine, auto_block=auto_block)
    registry.contact(contact(0))
    assert 0 < counted(statements, lambda: registry.contact(contact(1))) <= most + 1
    assert counted(statements, lambda: registry.contact(contact(1))) <= again
    many = [contact(number) for number in range(100, 150)]
    assert 0 < counted(statements, lambda: registry.contacts(many)) <= most + 1 + len(many)
    assert len(registry.changes(0, 100).decisions) == 52


def test_a_word_takes_as_many_statements_whatever_else_the_person_has(engine: Engine, statements: list[str]) -> None:
    """The devices of one mailbox are looked at together."""
    registry = Registry(engine, auto_block=True, devices_per_mailbox=3)
    keys = [DeviceKey(f"D{number}", "anna@lab.test") for number in range(20)]
    for key in keys:
        registry.register(key, "", "")
    for key in (keys[10], keys[0]):  # the second one has had a place, which another gets
        blocked = counted(statements, partial(registry.set_state, key, State.BLOCKED, [Reason.MANUAL], ""))
        assert 0 < blocked <= WORD + 5


def test_a_page_of_the_feed_takes_a_handful_of_statements(engine: Engine, statements: list[str]) -> None:
    """However many decisions are on it."""
    registry = Registry(engine, auto_block=False)
    registry.contacts([contact(number) for number in range(60)])
    for limit in (1, 50):
        assert 0 < counted(statements, partial(registry.changes, 0, limit)) <= PAGE
    assert 0 < counted(statements, lambda: registry.digests("")) <= PAGE + 2


def test_another_word_for_all_that_nobody_decided_about_takes_few_statements(
    engine: Engine, statements: list[str]
) -> None:
    """A UEM that opens with another setting has a whole fleet to go through before anybody is answered."""
    registry = Registry(engine, auto_block=True)
    registry.contacts([contact(number) for number in range(room.AT_ONCE + 100)])
    before = registry.counts()["blocked"]
    assert counted(statements, lambda: Registry(engine, auto_block=False)) <= OPENING
    assert (before, Registry(engine, auto_block=False).counts()["allowed"]) == (room.AT_ONCE + 100, room.AT_ONCE + 100)
