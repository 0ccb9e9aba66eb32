"""How many devices of one mailbox may pass: in the registry, over restarts, and with many contacts at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind, WipeMark
from sentry_runtime.eas.device_id import root
from sentry_runtime.eas.principal import same_person
from sentry_runtime.uem.api import Contact, Decision, WipeReport
from sentry_runtime.uem_server import tables
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.room import KEPT_SECONDS
from sentry_runtime.uem_server.tables import Bound, Place, open_engine
from sentry_runtime.uem_server.wipes import NotNowError

ANNA = "anna@lab.test"
FULL = (State.BLOCKED, (Reason.MAILBOX_LIMIT,))
FREE = (State.ALLOWED, ())


def contact(device_id: str, principal: str = ANNA, *aliases: str, seen: int = 10) -> Contact:
    """A first contact."""
    return Contact(device_id=device_id, device_aliases=aliases, principal=principal, device_type="", seen=seen)


def words(decisions: Iterable[Decision]) -> dict[str, tuple[State, tuple[Reason, ...]] | str]:
    """Device ids with their words."""
    return {one.device_id: "removed" if one.removed else (one.state, one.reasons) for one in decisions}


Make = Callable[..., Registry]


@pytest.fixture
def make(database: str) -> Iterator[Make]:
    """Open the registry; a second call opens it again, as after a restart."""
    engines: list[Engine] = []

    def registry(limit: int = 1, *, auto_block: bool = True, now: float = 0.001) -> Registry:
        engines.append(open_engine(database))
        return Registry(engines[-1], auto_block=auto_block, devices_per_mailbox=limit, now=lambda: now)

    yield registry
    for engine in engines:
        engine.dispose()


def register(registry: Registry, *device_ids: str, principal: str = ANNA) -> None:
    """Register them one after the other."""
    for device_id in device_ids:
        registry.register(DeviceKey(device_id, principal), "", "")


def test_the_device_beyond_the_limit_is_blocked_and_a_removal_frees_a_place(make: Make) -> None:
    """For who has waited longest; both are told at once, under new versions."""
    registry = make(2)
    register(registry, "D1", "D2")
    third = registry.register(DeviceKey("D3", ANNA), "", "")
    assert words(third) == {"D3": FULL}
    assert third[0].registered
    register(registry, "D4")
    assert registry.contact(contact("D3")) == third[0]
    freed = registry.remove(DeviceKey("D1", ANNA))
    assert words(freed) == {"D1": "removed", "D3": FREE}
    assert freed[1].version > third[0].version
    assert words(registry.registered(0, 10)) == {"D2": FREE, "D3": FREE, "D4": FULL}
    assert {word: registry.counts()[word] for word in ("devices", "allowed", "blocked")} == {
        "devices": 3,
        "allowed": 2,
        "blocked": 1,
    }


def test_other_peoples_mailboxes_are_their_own(make: Make) -> None:
    """A domain that is another one is another person."""
    registry = make(1)
    register(registry, "D1")
    register(registry, "D1", principal="bert@lab.test")
    register(registry, "D2", principal="anna@other.test")
    assert set(words(registry.registered(0, 10)).values()) == {FREE}


def test_without_a_limit_everybody_has_a_place(make: Make) -> None:
    """0 is none."""
    registry = make(0)
    register(registry, *(f"D{number}" for number in range(30)))
    assert set(words(registry.registered(0, 100)).values()) == {FREE}


def test_what_an_administrator_allows_by_hand_is_above_the_limit(make: Make) -> None:
    """It passes, and takes no place; registered again it needs one like any other."""
    registry = make(1)
    allow, again = DeviceKey("D0", ANNA), DeviceKey("D1", ANNA)
    registry.set_state(allow, State.ALLOWED, [], "")
    register(registry, "D1", "D2")
    assert words(registry.registered(0, 10)) == {"D0": FREE, "D1": FREE, "D2": FULL}
    assert words(registry.set_state(DeviceKey("D2", ANNA), State.ALLOWED, [], "")) == {"D2": FREE}
    assert words(registry.register(allow, "", "")) == {"D0": FULL}
    assert words(registry.set_state(again, State.ALLOWED, [], "")) == {"D1": FREE, "D0": FREE}


def test_who_may_not_pass_has_no_place_and_comes_last_afterwards(make: Make) -> None:
    """Whoever got the place meanwhile keeps it."""
    registry = make(1)
    register(registry, "D1", "D2")
    changed = registry.set_state(DeviceKey("D1", ANNA), State.BLOCKED, [Reason.MANUAL], "")
    assert words(changed) == {"D1": (State.BLOCKED, (Reason.MANUAL,)), "D2": FREE}
    assert words(registry.register(DeviceKey("D1", ANNA), "", "")) == {"D1": FULL}


def test_who_is_to_be_wiped_has_no_place_and_comes_last_when_that_is_taken_back(make: Make) -> None:
    """Nor does one that waits for its place keep waiting meanwhile; who has it keeps it."""
    registry = make(1)
    key = DeviceKey("D1", ANNA)
    register(registry, "D1", "D2", "D3")
    pending = State.WIPE_PENDING, ()
    assert words(registry.order_wipe(key, WipeKind.DEVICE, "", "")) == {"D1": pending, "D2": FREE}
    assert words(registry.order_wipe(DeviceKey("D3", ANNA), WipeKind.DEVICE, "", "")) == {"D3": pending}
    assert {word: registry.counts()[word] for word in ("allowed", "wipe_pending")} == {"allowed": 1, "wipe_pending": 2}
    assert words(registry.cancel_wipe(key, "")[1]) == {"D1": FULL}
    assert words(registry.cancel_wipe(DeviceKey("D3", ANNA), "")[1]) == {"D3": FULL}
    assert words(registry.remove(DeviceKey("D2", ANNA))) == {"D2": "removed", "D1": FREE}
    assert words(make(1).registered(0, 10)) == {"D1": FREE, "D3": FULL}


def test_who_has_been_wiped_has_no_place_and_comes_last_when_it_is_set_up_anew(make: Make) -> None:
    """The acknowledgement changes nothing in the mailbox; a late one of a cancelled order frees the place."""
    registry = make(1)
    key = DeviceKey("D1", ANNA)
    register(registry, "D1", "D2")
    wipe = registry.order_wipe(key, WipeKind.DEVICE, "", "")[0].wipe
    assert wipe is not None
    report = WipeReport(device_id="D1", principal=ANNA, wipe=wipe.marked([WipeMark.UNVERIFIED]))
    wiped = State.WIPED, ()
    assert words(registry.report_wipe(report)[1]) == {"D1": wiped}
    assert words(registry.remove(key)) == {"D1": "removed"}
    assert words(registry.register(key, "", "")) == {"D1": FULL}
    registry.set_state(DeviceKey("D2", ANNA), State.BLOCKED, [Reason.MANUAL], "")
    again = registry.order_wipe(key, WipeKind.DEVICE, "", "")[0].wipe
    assert again is not None
    registry.cancel_wipe(key, "")
    register(registry, "D2")
    late = WipeReport(device_id="D1", principal=ANNA, wipe=again.marked([WipeMark.VERIFIED]))
    assert words(registry.report_wipe(late)[1]) == {"D1": wiped, "D2": FREE}


def test_both_forms_of_a_phone_count_once(make: Make) -> None:
    """As text and as hex of the bytes, in whatever order; and the place goes when both are gone."""
    registry = make(1)
    register(registry, "PHONE1", "50484F4E4531", "70686F6E6531", "D2")
    forms = {"PHONE1": FREE, "50484F4E4531": FREE, "70686F6E6531": FREE}
    assert words(registry.registered(0, 10)) == {**forms, "D2": FULL}
    for form in ("PHONE1", "50484F4E4531"):
        assert "D2" not in words(registry.remove(DeviceKey(form, ANNA)))
    assert words(registry.remove(DeviceKey("70686F6E6531", ANNA))) == {"70686F6E6531": "removed", "D2": FREE}


@pytest.mark.parametrize("principal", ["anna", "anna@lab"])
def test_another_way_to_write_a_name_is_no_way_round_the_limit(make: Make, principal: str) -> None:
    """It may be the same person's; the same phone under it is still one."""
    registry = make(1)
    register(registry, "D1")
    register(registry, "D1", principal=principal)
    assert words(registry.register(DeviceKey("D2", principal), "", "")) == {"D2": FULL}


def test_where_unknown_devices_pass_they_need_places_too(make: Make) -> None:
    """The answer to the contact says so; one that goes after a month frees its place for the next."""
    registry = make(1, auto_block=False)
    assert words([registry.contact(contact("D1"))]) == {"D1": FREE}
    second = registry.contact(contact("D2", seen=100))
    assert words([second]) == {"D2": FULL}
    assert registry.contact(contact("D2", seen=100)) == second
    later = make(1, auto_block=False, now=KEPT_SECONDS + 20)
    assert words(later.expire()) == {"D1": "removed", "D2": FREE}


def test_unknown_devices_that_are_blocked_need_none(make: Make) -> None:
    """So nobody fills a mailbox with devices that were never let in."""
    registry = make(1)
    for number in range(5):
        registry.contact(contact(f"D{number}"))
    assert words(registry.register(DeviceKey("D9", ANNA), "", "")) == {"D9": FREE}


def test_a_device_that_turns_out_to_be_a_blocked_one_gives_its_place_back(make: Make) -> None:
    """By an alias that a contact reveals; the others hear of it in the feed."""
    registry = make(1)
    registry.set_state(DeviceKey("LOST", ANNA), State.BLOCKED, [Reason.MANUAL], "")
    register(registry, "D1", "D2")
    before = registry.counts()["version"]
    assert words([registry.contact(contact("D1", ANNA, "LOST"))]) == {"D1": (State.BLOCKED, (Reason.MANUAL,))}
    assert words(registry.changes(before, 10).decisions) == {"D1": (State.BLOCKED, (Reason.MANUAL,)), "D2": FREE}


def test_a_changed_limit_holds_from_the_next_start_on(make: Make) -> None:
    """Lower, higher and none; only those whose word it changes get a new version, and a restart changes nothing."""
    registry = make(0)
    register(registry, "D1", "D2", "D3")
    register(registry, "D1", "D2", principal="bert")
    last = registry.counts()["version"]
    lower = make(1).changes(last, 10)
    assert [(one.device_id, one.principal, one.state) for one in lower.decisions] == [
        ("D2", ANNA, State.BLOCKED),
        ("D3", ANNA, State.BLOCKED),
        ("D2", "bert", State.BLOCKED),
    ]
    assert make(1).changes(lower.next, 10).decisions == ()
    higher = make(2).changes(lower.next, 10)
    assert [(one.device_id, one.principal, one.state) for one in higher.decisions] == [
        ("D2", ANNA, State.ALLOWED),
        ("D2", "bert", State.ALLOWED),
    ]
    assert words(make(0).changes(higher.next, 10).decisions) == {"D3": FREE}


def test_a_database_from_before_there_were_places_gets_them(make: Make) -> None:
    """In the order in which its devices were known."""
    registry = make(0)
    register(registry, "D2", "D1", "D3")
    with Session(registry._engine) as session, session.begin():
        session.execute(delete(Place))
        session.execute(delete(Bound))
    assert words(make(2).registered(0, 10)) == {"D2": FREE, "D1": FREE, "D3": FULL}


def test_a_setting_that_lets_unknown_devices_in_or_out_moves_places(make: Make) -> None:
    """They need them as soon as they may pass, and free them when they may not."""
    registry = make(1)
    registry.contact(contact("D1"))
    registry.contact(contact("D2"))
    open_house = make(1, auto_block=False)
    assert words(open_house.registered(0, 10)) == {"D1": FREE, "D2": FULL}
    register(open_house, "D2")
    unregistered = (State.BLOCKED, (Reason.UNREGISTERED,))
    assert words(make(1).registered(0, 10)) == {"D1": unregistered, "D2": FREE}


def test_contacts_of_many_sentries_at_once_get_no_more_places_than_there_are(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each from a process of its own, as far as the database can tell."""
    # SQLite lets whom it likes go first; here none is turned away.
    monkeypatch.setattr(tables, "BUSY_MILLISECONDS", 60_000)
    engines = [open_engine(database) for _ in range(4)]
    registries = [Registry(engine, auto_block=False, devices_per_mailbox=3) for engine in engines]
    with ThreadPoolExecutor(len(registries)) as threads:
        jobs = [
            threads.submit(registries[number % len(registries)].contact, contact(f"D{number}")) for number in range(16)
        ]
        answers = [job.result() for job in jobs]
    assert sorted(one.state for one in answers) == ["allowed"] * 3 + ["blocked"] * 13
    assert words(registries[0].registered(0, 100)) == words(answers)
    for engine in engines:
        engine.dispose()


keys = st.builds(
    DeviceKey, st.sampled_from(["C1", "4331", "D2", "D3"]), st.sampled_from([ANNA, "anna", "anna@other.test"])
)
verbs = st.sampled_from(["contact", "register", "allow", "block", "remove", "wipe", "cancel"])
steps = st.lists(st.tuples(verbs, keys), max_size=14)


def said_by_hand(registry: Registry, verb: str, key: DeviceKey) -> list[Decision]:
    """What an administrator's word changes."""
    match verb:
        case "register":
            return registry.register(key, "", "")
        case "remove":
            return registry.remove(key)
        case "wipe":
            return registry.order_wipe(key, WipeKind.DEVICE, "", "")
        case "cancel":
            return registry.cancel_wipe(key, "")[1]
        case _:
            state = State.ALLOWED if verb == "allow" else State.BLOCKED
            return registry.set_state(key, state, [Reason.MANUAL], "")


@settings(max_examples=25)
@example(  # the word of a removal is its own
    steps=[
        ("contact", DeviceKey("4331", ANNA)),
        ("remove", DeviceKey("4331", ANNA)),
        ("block", DeviceKey("C1", ANNA)),
    ],
    limit=1,
    auto_block=False,
)
@given(steps, st.integers(1, 2), st.booleans())
def test_at_no_moment_do_too_many_pass_and_no_version_says_two_things(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, DeviceKey]],
    limit: int,
    auto_block: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """Whatever administrators and devices do in whatever order."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('uem')}/uem.sqlite")
    registry = Registry(engine, auto_block=auto_block, devices_per_mailbox=limit, now=lambda: 0.001)
    by_hand: set[DeviceKey] = set()
    said: dict[int, Decision] = {}
    for verb, key in steps:
        if verb == "contact":
            alias = ("C1",) if key.device_id == "4331" else ()
            answers = [registry.contact(contact(key.device_id, key.principal, *alias))]
        else:
            try:
                answers = said_by_hand(registry, verb, key)
            except (UnknownDeviceError, NotNowError):
                continue
        if verb in ("register", "allow", "block", "remove"):  # a wipe that is taken back leaves an administrator's word
            by_hand = by_hand | {key} if verb == "allow" else by_hand - {key}
        feed = registry.changes(0, 100).decisions
        for one in (*answers, *feed):
            assert said.setdefault(one.version, one) == one
        assert {one.version for one in answers} <= {one.version for one in feed}
        passing = [
            one
            for one in feed
            if one.state is State.ALLOWED and not one.removed and DeviceKey(one.device_id, one.principal) not in by_hand
        ]
        for one in passing:
            mine = {root(other.device_id) for other in passing if other.principal == one.principal}
            assert len(mine) <= limit
        waiting = [one for one in feed if one.reasons == (Reason.MAILBOX_LIMIT,) and not one.removed]
        for one in waiting:
            taken = {root(other.device_id) for other in passing if same_person(one.principal, other.principal)}
            assert len(taken | {root(one.device_id)}) > limit
    engine.dispose()
