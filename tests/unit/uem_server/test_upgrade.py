"""A database from before spellings were kept, and one whose site has said more of its names."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind, WipeMark
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Contact, Information, WipeReport
from sentry_runtime.uem.messages import check_key
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import Base, Clock, Device, Spelling, open_engine

ROWS = (
    ("C1", "corp\\anna", State.BLOCKED, True),  # matched nobody
    ("C2", "corp\\anna", State.BLOCKED, True),
    ("C2", "anna@corp", State.ALLOWED, False),
    ("C3", "a b", State.ALLOWED, False),  # nobody's name
    ("C4", "bert", State.ALLOWED, True),
)


def test_names_become_canonical_once_and_a_block_is_not_lost_by_it(database: str) -> None:
    """What was said of `corp\\anna` holds for `anna@corp`, under a new version; a second opening changes nothing."""
    engine = open_engine(database)
    Base.metadata.tables[Spelling.__tablename__].drop(engine)
    with Session(engine) as session, session.begin():
        session.add(Clock(id=1, version=len(ROWS)))
    with engine.begin() as connection:
        for version, (device_id, principal, state, manual) in enumerate(ROWS, 1):
            row = {"device_id": device_id, "principal": principal, "state": state, "version": version, "manual": manual}
            reasons = [Reason.MANUAL] if state is State.BLOCKED else []
            connection.execute(Base.metadata.tables[Device.__tablename__].insert(), {**row, "reasons": reasons})
    engine.dispose()
    engine = open_engine(database)
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


def wipe(registry: Registry, key: DeviceKey) -> None:
    """An administrator has it wiped."""
    contact(registry, key)
    registry.order_wipe(key, WipeKind.DEVICE, "lost", "olga")


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
        (wipe, say(State.BLOCKED), (State.WIPE_PENDING, False, "lost")),
        (say(State.BLOCKED), wipe, (State.WIPE_PENDING, False, "lost")),
        (wipe, register, (State.WIPE_PENDING, True, "lost")),
        (register, wipe, (State.WIPE_PENDING, True, "lost")),
        (wipe, nothing, (State.WIPE_PENDING, False, "lost")),
        (wipe, wipe, (State.WIPE_PENDING, False, "lost")),
        (say(State.ALLOWED), say(State.BLOCKED), (State.BLOCKED, False, "blocked")),
    ],
)
def test_a_person_with_two_names_gets_one_when_the_site_says_so(
    database: str,
    old: str,
    under_old: Callable[[Registry, DeviceKey], None],
    under_new: Callable[[Registry, DeviceKey], None],
    wanted: tuple[State, bool, str],
) -> None:
    """The old entry is removed, for the Sentries, too; of two words the stricter one stands. The next start changes nothing."""
    engine = open_engine(database)
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


def test_what_restricted_the_old_name_restricts_the_new_one(database: str) -> None:
    """Aliases that contacts have revealed go along; so does a place in the mailbox."""
    engine = open_engine(database)
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


@pytest.mark.parametrize(
    ("under_old", "under_new", "wanted"),
    [
        (register, nothing, (State.ALLOWED, "registered")),
        (say(State.BLOCKED), register, (State.BLOCKED, "blocked")),
        (register, say(State.BLOCKED), (State.BLOCKED, "blocked")),
        (contact, register, (State.ALLOWED, "registered")),
    ],
)
@pytest.mark.parametrize("under", [0, 1])
def test_a_wipe_goes_along_to_the_new_name_and_what_stood_before_it_is_of_both(
    database: str,
    under_old: Callable[[Registry, DeviceKey], None],
    under_new: Callable[[Registry, DeviceKey], None],
    wanted: tuple[State, str],
    under: int,
) -> None:
    """The order keeps its number and its marks; taken back, the stricter of the two words stands."""
    engine = open_engine(database)
    before = Registry(engine, auto_block=True, now=lambda: 0.001)
    keys = DeviceKey("C1", "anna@corp"), DeviceKey("C1", NOW)
    under_old(before, keys[0])
    under_new(before, keys[1])
    if under_new is nothing and under:
        contact(before, keys[1])
    ordered = before.order_wipe(keys[under], WipeKind.ACCOUNT, "lost", "olga")[0].wipe
    assert ordered is not None
    told = WipeReport(device_id="C1", principal=keys[under].principal, wipe=ordered.marked([WipeMark.HANDED_OUT]))
    before.report_wipe(told)
    registry = Registry(engine, auto_block=True, names=SITE, now=lambda: 0.001)
    (word,) = registry.registered(0, 10)
    assert (word.principal, word.state, word.note, word.wipe) == (NOW, State.WIPE_PENDING, "lost", told.wipe)
    _, (freed,) = registry.cancel_wipe(keys[1], "")
    assert (freed.state, freed.note, freed.wipe) == (*wanted, None)
    engine.dispose()


def test_of_two_wipes_of_one_device_the_pending_one_stands(database: str) -> None:
    """Rather once too often."""
    engine = open_engine(database)
    before = Registry(engine, auto_block=True, now=lambda: 0.001)
    for number, pending in (("C1", "anna@corp"), ("C2", NOW)):
        for principal in ("anna@corp", NOW):
            key = DeviceKey(number, principal)
            wipe(before, key)
            (word,) = (one for one in before.registered(0, 10) if (one.device_id, one.principal) == (number, principal))
            assert word.wipe is not None
            if principal != pending:
                done = word.wipe.marked([WipeMark.VERIFIED])
                before.report_wipe(WipeReport(device_id=number, principal=principal, wipe=done))
    registry = Registry(engine, auto_block=True, names=SITE, now=lambda: 0.001)
    assert {(one.device_id, one.principal, one.state) for one in registry.registered(0, 10)} == {
        ("C1", NOW, State.WIPE_PENDING),
        ("C2", NOW, State.WIPE_PENDING),
    }
    engine.dispose()


def test_what_was_found_and_assigned_under_the_old_name_holds_under_the_new_one(database: str) -> None:
    """Causes of both add up; a policy and what the device says go along unless the new name has its own."""
    strict, lax = Policy(device_password_enabled=True), Policy(allow_camera=True)
    named = Policies({"strict": strict, "lax": lax})
    engine = open_engine(database)
    before = Registry(engine, auto_block=True, policies=named, now=lambda: 0.001)
    for number in ("C1", "C2"):
        key = DeviceKey(number, "anna@corp")
        register(before, key)
        before.flag(key, Reason.COMPROMISED, holds=True)
        before.assign(key, "strict")
        before.inform(
            Information(device_id=number, principal=key.principal, information=DeviceInformation(model="old"))
        )
    other = DeviceKey("C2", NOW)
    register(before, other)
    before.flag(other, Reason.OS_VERSION, holds=True)
    before.assign(other, "lax")
    before.inform(Information(device_id="C2", principal=NOW, information=DeviceInformation(model="new")))
    registry = Registry(engine, auto_block=True, names=SITE, policies=named, now=lambda: 0.001)
    told = {one.device_id: (one.reasons, one.policy) for one in registry.registered(0, 10)}
    assert told == {
        "C1": ((Reason.COMPROMISED,), strict),
        "C2": ((Reason.COMPROMISED, Reason.OS_VERSION), lax),
    }
    says = {number: registry.of_device(number)[0] for number in ("C1", "C2")}
    assert [one.information.model for one in says.values() if one.information is not None] == ["old", "new"]
    assert registry.flag(DeviceKey("C1", NOW), Reason.COMPROMISED, holds=False)[0].state is State.ALLOWED
    assert registry.flag(other, Reason.COMPROMISED, holds=False)[0].reasons == (Reason.OS_VERSION,)
    engine.dispose()
