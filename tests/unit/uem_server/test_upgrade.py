"""A database from before spellings were kept, and one whose site has said more of its names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.messages import check_key
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import Base, Clock, Device, Spelling, open_engine

ROWS = (
    ("C1", "corp\\anna", State.BLOCKED, True),  # matched nobody
    ("C2", "corp\\anna", State.BLOCKED, True),
    ("C2", "anna@corp", State.ALLOWED, False),
    ("C3", "a b", State.ALLOWED, False),  # nobody's name
    ("C4", "bert", State.ALLOWED, True),
)


def test_names_become_canonical_once_and_a_block_is_not_lost_by_it(tmp_path: Path) -> None:
    """What was said of `corp\\anna` holds for `anna@corp`, under a new version; a second opening changes nothing."""
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    Base.metadata.tables[Spelling.__tablename__].drop(engine)
    with Session(engine) as session, session.begin():
        session.add(Clock(id=1, version=len(ROWS)))
    with engine.begin() as connection:
        for version, (device_id, principal, state, manual) in enumerate(ROWS, 1):
            row = {"device_id": device_id, "principal": principal, "state": state, "version": version, "manual": manual}
            reasons = [Reason.MANUAL] if state is State.BLOCKED else []
            connection.execute(Base.metadata.tables[Device.__tablename__].insert(), {**row, "reasons": reasons})
    engine.dispose()
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    page = Registry(engine, auto_block=True, now=lambda: 0.0).changes(0, 10)
    for word in page.decisions:
        check_key(word.device_id, word.principal)
    assert [(word.device_id, word.principal, word.state, word.version) for word in page.decisions] == [
        ("C4", "bert", "allowed", 5),
        ("C1", "anna@corp", "blocked", 6),
        ("C2", "anna@corp", "blocked", 7),
    ]
    registry = Registry(engine, auto_block=True, now=lambda: 0.0)
    assert registry.changes(0, 10) == page
    assert len(registry.set_state(DeviceKey("C4", "bert@corp"), State.BLOCKED, [Reason.MANUAL], "")) == 2
    engine.dispose()


SITE = Names({"corp": "corp.example"}, "corp.example")
NOW = "anna@corp.example"


def contact(registry: Registry, key: DeviceKey, *aliases: str) -> None:
    """A first contact."""
    registry.contact(
        Contact(device_id=key.device_id, device_aliases=aliases, principal=key.principal, device_type="", seen=7)
    )


def register(registry: Registry, key: DeviceKey) -> None:
    """An administrator registers it."""
    registry.register(key, "", "registered")


def say(state: State) -> Callable[[Registry, DeviceKey], None]:
    """An administrator says so by hand."""

    def by_hand(registry: Registry, key: DeviceKey) -> None:
        registry.set_state(key, state, [Reason.MANUAL], str(state))

    return by_hand


def nothing(registry: Registry, key: DeviceKey) -> None:
    """There is no such entry."""


def was_removed(registry: Registry, key: DeviceKey) -> None:
    """There was one."""
    register(registry, key)
    registry.remove(key)


@pytest.mark.parametrize("old", ["anna", "anna@corp"])
@pytest.mark.parametrize(
    ("under_old", "under_new", "wanted"),
    [
        (register, nothing, (State.ALLOWED, True, "registered")),
        (register, was_removed, (State.ALLOWED, True, "registered")),
        (register, contact, (State.ALLOWED, True, "registered")),
        (contact, register, (State.ALLOWED, True, "registered")),
        (contact, nothing, (State.BLOCKED, False, "")),
        (contact, contact, (State.BLOCKED, False, "")),
        (say(State.BLOCKED), register, (State.BLOCKED, True, "blocked")),
        (register, say(State.BLOCKED), (State.BLOCKED, True, "blocked")),
        (say(State.BLOCKED), contact, (State.BLOCKED, False, "blocked")),
        (say(State.WIPE_PENDING), say(State.BLOCKED), (State.WIPE_PENDING, False, "wipe_pending")),
        (say(State.BLOCKED), say(State.WIPE_PENDING), (State.WIPE_PENDING, False, "wipe_pending")),
        (say(State.ALLOWED), say(State.BLOCKED), (State.BLOCKED, False, "blocked")),
    ],
)
def test_a_person_with_two_names_gets_one_when_the_site_says_so(
    tmp_path: Path,
    old: str,
    under_old: Callable[[Registry, DeviceKey], None],
    under_new: Callable[[Registry, DeviceKey], None],
    wanted: tuple[State, bool, str],
) -> None:
    """The old entry is removed, for the Sentries, too; of two words the stricter one stands. The next start changes nothing."""
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    before = Registry(engine, auto_block=True, now=lambda: 0.001)
    under_old(before, DeviceKey("C1", old))
    under_new(before, DeviceKey("C1", NOW))
    register(before, DeviceKey("C1", "anna@other.example"))
    register(before, DeviceKey("C1", "anna@corporation"))
    last = before.counts()["version"]
    registry = Registry(engine, auto_block=True, names=SITE, now=lambda: 0.001)
    changed = {one.principal: one for one in registry.changes(last, 10).decisions}
    assert set(changed) == {old, NOW}
    assert (changed[old].removed, changed[NOW].removed) == (True, False)
    assert (changed[NOW].state, changed[NOW].registered, changed[NOW].note) == wanted
    again = Registry(engine, auto_block=True, names=SITE, now=lambda: 0.001)
    assert again.changes(last, 10) == registry.changes(last, 10)
    engine.dispose()


def test_what_restricted_the_old_name_restricts_the_new_one(tmp_path: Path) -> None:
    """Aliases that contacts have revealed go along; so does a place in the mailbox."""
    engine = open_engine(f"sqlite:///{tmp_path}/uem.sqlite")
    before = Registry(engine, auto_block=True, now=lambda: 0.001)
    register(before, DeviceKey("C1", "anna@corp"))
    contact(before, DeviceKey("C1", "anna@corp"), "LOST")
    register(before, DeviceKey("C2", NOW))
    registry = Registry(engine, auto_block=True, devices_per_mailbox=1, names=SITE, now=lambda: 0.001)
    assert {one.device_id: one.reasons for one in registry.registered(0, 10)} == {
        "C1": (),
        "C2": (Reason.MAILBOX_LIMIT,),
    }
    said = registry.set_state(DeviceKey("LOST", NOW), State.BLOCKED, [Reason.MANUAL], "")
    assert {one.device_id: one.state for one in said} == {"LOST": "blocked", "C1": "blocked", "C2": "allowed"}
    engine.dispose()
