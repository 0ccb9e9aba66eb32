"""A wipe at the UEM: what may be said when, what a cancel brings back, and what Sentries report."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind, WipeMark
from sentry_runtime.uem.api import Contact, Decision, WipeReport
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.tables import Base, Clock, Device, Spelling, Wiping, open_engine
from sentry_runtime.uem_server.wipes import NotNowError

ANNA = DeviceKey("C1", "anna@lab.test")
HEX = DeviceKey("4331", "anna@lab.test")
DEVICE, ACCOUNT = WipeKind.DEVICE, WipeKind.ACCOUNT
HANDED_OUT, FAILED, UNVERIFIED, VERIFIED = (
    WipeMark.HANDED_OUT,
    WipeMark.FAILED,
    WipeMark.UNVERIFIED,
    WipeMark.VERIFIED,
)

Make = Callable[..., Registry]


@pytest.fixture
def make(database: str) -> Iterator[Make]:
    """Open the registry; a second call opens it again, as after a restart."""
    engines: list[Engine] = []

    def registry(*, auto_block: bool = True) -> Registry:
        engines.append(open_engine(database))
        return Registry(engines[-1], auto_block=auto_block, now=lambda: 0.001)

    yield registry
    for engine in engines:
        engine.dispose()


@pytest.fixture
def registry(make: Make) -> Registry:
    """With ANNA registered."""
    made = make()
    made.register(ANNA, "iPhone", "her own")
    return made


def order(registry: Registry, kind: WipeKind = DEVICE) -> Wipe:
    """Order a wipe of ANNA's device."""
    wipe = registry.order_wipe(ANNA, kind, "lost", "olga")[0].wipe
    assert wipe is not None
    return wipe


def report(registry: Registry, wipe: Wipe, *marks: WipeMark) -> tuple[Decision, list[Decision]]:
    """A Sentry says what has come of it."""
    return registry.report_wipe(WipeReport(device_id=ANNA.device_id, principal=ANNA.principal, wipe=wipe.marked(marks)))


def word(registry: Registry) -> Decision:
    """The last word on ANNA's device."""
    return next(one for one in registry.changes(0, 10).decisions if one.device_id == ANNA.device_id)


WORDS: dict[str, Callable[[Registry], object]] = {
    "register": lambda registry: registry.register(ANNA, "", ""),
    "allow": lambda registry: registry.set_state(ANNA, State.ALLOWED, [], ""),
    "block": lambda registry: registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], ""),
    "remove": lambda registry: registry.remove(ANNA),
    "wipe": lambda registry: registry.order_wipe(ANNA, DEVICE, "", ""),
    "wipe of the account": lambda registry: registry.order_wipe(ANNA, ACCOUNT, "", ""),
    "cancel": lambda registry: registry.cancel_wipe(ANNA, ""),
}
NOT_VALID = {
    State.ALLOWED: {"cancel": "no wipe of it is pending"},
    State.BLOCKED: {"cancel": "no wipe of it is pending"},
    State.WIPE_PENDING: dict.fromkeys(
        ("register", "allow", "block", "remove", "wipe of the account"), "a wipe of it is pending; cancel that first"
    ),
    State.WIPED: dict.fromkeys(set(WORDS) - {"remove"}, "it has been wiped; now it can only be removed"),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("said", WORDS)
def test_what_may_be_said_when(registry: Registry, state: State, said: str) -> None:
    """The table: what is not valid is refused with the reason, and changes nothing."""
    if state is State.BLOCKED:
        registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "")
    elif state is not State.ALLOWED:
        wipe = order(registry)
        report(registry, wipe, *([UNVERIFIED] if state is State.WIPED else []))
    before = word(registry)
    assert before.state is state
    why = NOT_VALID[state].get(said)
    if why is None:
        WORDS[said](registry)
        return
    with pytest.raises(NotNowError, match=rf"device C1 of anna@lab\.test: .*{why}"):
        WORDS[said](registry)
    assert word(registry) == before


def test_an_order_is_a_change_with_its_own_number_and_administrator(registry: Registry) -> None:
    """The feed has it; the device stays registered, and is not blocked for a reason."""
    decision = registry.order_wipe(ANNA, ACCOUNT, "lost", "olga")[0]
    wipe = Wipe(kind=ACCOUNT, order=decision.version, by="olga")
    assert (decision.state, decision.wipe, decision.note) == (State.WIPE_PENDING, wipe, "lost")
    assert (decision.registered, decision.reasons, word(registry)) == (True, (), decision)
    assert registry.order_wipe(ANNA, ACCOUNT, "again", "otto") == [decision]


def test_only_a_known_device_is_wiped(registry: Registry) -> None:
    """Nobody shall wait for a wipe of a misspelt one."""
    for key in (DeviceKey("C2", ANNA.principal), DeviceKey("C1", "anna")):
        with pytest.raises(UnknownDeviceError):
            registry.order_wipe(key, DEVICE, "", "")
        with pytest.raises(UnknownDeviceError):
            registry.cancel_wipe(key, "")
    registry.remove(ANNA)
    with pytest.raises(UnknownDeviceError):
        registry.order_wipe(ANNA, DEVICE, "", "")


def test_a_cancel_brings_back_what_stood_before(registry: Registry) -> None:
    """Allowed or blocked with its reasons, and the note; each is a new version."""
    order(registry)
    was, (freed,) = registry.cancel_wipe(ANNA, "")
    assert (was.by, freed.state, freed.registered, freed.note, freed.wipe) == (
        *("olga", State.ALLOWED, True, "her own"),
        None,
    )
    registry.set_state(ANNA, State.BLOCKED, [Reason.OS_VERSION, Reason.MANUAL], "old")
    order(registry)
    _, (blocked,) = registry.cancel_wipe(ANNA, "found")
    assert (blocked.state, blocked.reasons, blocked.note) == (
        State.BLOCKED,
        (Reason.MANUAL, Reason.OS_VERSION),
        "found",
    )
    assert freed.version < blocked.version


def test_a_cancel_says_what_had_come_of_the_order(registry: Registry) -> None:
    """An administrator has to know that it was handed out."""
    report(registry, order(registry), HANDED_OUT)
    assert registry.cancel_wipe(ANNA, "")[0].marks == (HANDED_OUT,)


def test_a_device_nobody_decided_about_goes_back_to_that(make: Make) -> None:
    """By the setting as it is now, and it expires as before; while it is to be wiped it does neither."""
    registry = make(auto_block=True)
    registry.contact(Contact(device_id="C1", principal=ANNA.principal, device_type="", seen=1))
    order(registry)
    registry = make(auto_block=False)
    assert word(registry).state is State.WIPE_PENDING
    assert registry.expire() == []
    _, (freed,) = registry.cancel_wipe(ANNA, "")
    assert (freed.state, freed.reasons) == (State.ALLOWED, ())
    assert make(auto_block=True).contact(
        Contact(device_id="C1", principal=ANNA.principal, device_type="", seen=2)
    ).reasons == (Reason.UNREGISTERED,)


def test_a_device_to_be_wiped_is_blocked_under_its_other_spellings(registry: Registry) -> None:
    """Each step is a new version there as well; a wipe itself is for the exact device alone."""
    registry.register(HEX, "", "")
    wipe = order(registry)
    twin = registry.contact(Contact(device_id="4331", principal=ANNA.principal, device_type="", seen=1))
    assert (twin.state, twin.reasons, twin.wipe) == (State.BLOCKED, (Reason.COMPROMISED,), None)
    _, changed = report(registry, wipe, VERIFIED)
    assert [(one.device_id, one.state) for one in changed] == [("C1", State.WIPED), ("4331", State.BLOCKED)]
    freed = registry.remove(ANNA)
    assert [(one.device_id, one.removed, one.state) for one in freed][1] == ("4331", False, State.ALLOWED)


def test_marks_are_added_once(registry: Registry, make: Make) -> None:
    """Whatever their order; a repeated report is no change, not even after a restart."""
    wipe = order(registry)
    first, changed = report(registry, wipe, FAILED, HANDED_OUT)
    assert (first.state, first.wipe, changed) == (State.WIPE_PENDING, wipe.marked([FAILED, HANDED_OUT]), [first])
    wiped, _ = report(registry, wipe, UNVERIFIED)
    assert (wiped.state, wiped.wipe) == (State.WIPED, wipe.marked([FAILED, HANDED_OUT, UNVERIFIED]))
    assert report(make(), wipe, UNVERIFIED, HANDED_OUT) == (wiped, [])
    assert word(make()) == wiped


def test_a_late_acknowledgement_of_a_cancelled_order_holds(registry: Registry) -> None:
    """The device said it before it could know; other marks of it are of the past."""
    wipe = order(registry)
    registry.cancel_wipe(ANNA, "")
    assert report(registry, wipe, HANDED_OUT, FAILED)[1] == []
    wiped, _ = report(registry, wipe, UNVERIFIED)
    assert (wiped.state, wiped.wipe) == (State.WIPED, wipe.marked([UNVERIFIED]))


def test_marks_of_any_other_order_are_without_effect(registry: Registry) -> None:
    """Of one before this one, of one before the device was removed, and of one that was never given."""
    first = order(registry)
    registry.cancel_wipe(ANNA, "")
    second = order(registry)
    assert second.order > first.order
    assert report(registry, first, VERIFIED) == (word(registry), [])
    never = Wipe(kind=DEVICE, order=second.order + 1_000)
    assert report(registry, never, VERIFIED) == (word(registry), [])
    report(registry, second, VERIFIED)
    removal = registry.remove(ANNA)[0]
    assert report(registry, second, VERIFIED) == (removal, [])
    registry.register(ANNA, "", "the new phone")
    assert report(registry, second, VERIFIED)[0].state is State.ALLOWED


def test_a_report_about_an_unknown_device_is_refused(registry: Registry) -> None:
    """There is no word to answer with."""
    with pytest.raises(UnknownDeviceError, match="device C9 of x is not known"):
        registry.report_wipe(WipeReport(device_id="C9", principal="x", wipe=Wipe(kind=DEVICE, order=1)))


@pytest.mark.parametrize("state", [State.WIPE_PENDING, State.WIPED, "perhaps"])
def test_a_state_that_is_not_set_is_not_set(registry: Registry, state: State) -> None:
    """A wipe is ordered, and acknowledged."""
    with pytest.raises(ValueError, match="allowed or blocked"):
        registry.set_state(ANNA, state, [], "")


def test_a_database_from_before_orders_loses_nothing_and_gets_them(database: str) -> None:
    """What is to be wiped gets an order under a new version, once; a cancel then blocks. The others stay as they are."""
    engine = open_engine(database)
    rows = [("C1", State.WIPE_PENDING), ("C2", State.WIPED), ("C3", State.BLOCKED), ("C4", State.ALLOWED)]
    with Session(engine) as session, session.begin():
        session.add(Clock(id=1, version=4))
        session.add_all(
            Device(
                device_id=device_id,
                principal=ANNA.principal,
                state=state,
                version=version,
                manual=True,
                note=f"note of {device_id}",
                reasons=[Reason.MANUAL] if state is not State.ALLOWED else [],
                spelling=Spelling(user="anna", root=device_id, spoken=True),
            )
            for version, (device_id, state) in enumerate(rows, 1)
        )
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE wipes"))
    engine.dispose()
    engine = open_engine(database)
    page = Registry(engine, auto_block=True, now=lambda: 0.0).changes(0, 10)
    told = [(one.device_id, one.state, one.version, one.note, one.wipe) for one in page.decisions]
    assert told == [
        ("C3", State.BLOCKED, 3, "note of C3", None),
        ("C4", State.ALLOWED, 4, "note of C4", None),
        ("C1", State.WIPE_PENDING, 5, "note of C1", Wipe(kind=DEVICE, order=5)),
        ("C2", State.WIPED, 6, "note of C2", Wipe(kind=DEVICE, order=6, marks=(UNVERIFIED,))),
    ]
    registry = Registry(engine, auto_block=True, now=lambda: 0.0)
    assert registry.changes(0, 10) == page
    _, (blocked,) = registry.cancel_wipe(ANNA, "")
    assert (blocked.state, blocked.reasons) == (State.BLOCKED, (Reason.MANUAL,))
    engine.dispose()


def test_nothing_is_left_of_an_order_when_its_device_is_forgotten(registry: Registry) -> None:
    """Its row goes with the removal."""
    report(registry, order(registry), VERIFIED)
    registry.remove(ANNA)
    with registry._engine.begin() as connection:
        assert connection.execute(Base.metadata.tables[Wiping.__tablename__].select()).all() == []
