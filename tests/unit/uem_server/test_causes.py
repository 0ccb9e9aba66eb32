"""What is wrong with a device: a set of causes, and an administrator's word above them in both directions.

EPMM keeps `blockReason` as a bit map; its Allow (also against policy), Block and Wipe on an ActiveSync association override the
automatic decision.
"""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.room import KEPT_SECONDS
from sentry_runtime.uem_server.rules import CAUSES, Standing, automatic
from sentry_runtime.uem_server.tables import open_engine
from tests.clock import Clock

ANNA = DeviceKey("C1", "anna@lab.test")

Make = Callable[..., Registry]


@pytest.fixture
def clock() -> Clock:
    return Clock(0.001)


@pytest.fixture
def make(database: str, clock: Clock) -> Iterator[Make]:
    """Open the registry; a second call opens it again, as after a restart."""
    engines: list[Engine] = []

    def registry(*, auto_block: bool = True) -> Registry:
        engines.append(open_engine(database))
        return Registry(engines[-1], auto_block=auto_block, now=clock)

    yield registry
    for engine in engines:
        engine.dispose()


@pytest.fixture
def registry(make: Make) -> Registry:
    """With auto-block."""
    return make()


def contact(registry: Registry, key: DeviceKey = ANNA, seen: int = 10) -> tuple[State, tuple[Reason, ...]]:
    """The word on a device that comes now."""
    word = registry.contact(Contact(device_id=key.device_id, principal=key.principal, device_type="iPhone", seen=seen))
    return word.state, word.reasons


def test_two_causes_block_until_both_are_cleared(registry: Registry) -> None:
    """In whatever order, each time with a new version; said twice, a cause is still one."""
    registry.register(ANNA, "", "")
    registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    both = registry.flag(ANNA, Reason.OS_VERSION, holds=True)[0]
    again = registry.flag(ANNA, Reason.OS_VERSION, holds=True)[0]
    one = registry.flag(ANNA, Reason.COMPROMISED, holds=False)[0]
    none = registry.flag(ANNA, Reason.OS_VERSION, holds=False)[0]
    assert both.reasons == again.reasons == (Reason.COMPROMISED, Reason.OS_VERSION)
    assert (one.state, one.reasons) == (State.BLOCKED, (Reason.OS_VERSION,))
    assert (none.state, none.reasons) == (State.ALLOWED, ())
    versions = [word.version for word in (both, again, one, none)]
    assert versions == sorted(set(versions))


def test_an_unregistered_device_with_a_cause_has_two_reasons(registry: Registry) -> None:
    """Registering it clears one of them."""
    contact(registry)
    registry.flag(ANNA, Reason.POLICY, holds=True)
    assert contact(registry) == (State.BLOCKED, (Reason.POLICY, Reason.UNREGISTERED))
    assert registry.register(ANNA, "", "")[0].reasons == (Reason.POLICY,)
    registry.flag(ANNA, Reason.POLICY, holds=False)
    assert contact(registry) == (State.ALLOWED, ())


@pytest.mark.parametrize("registered", [True, False])
def test_an_administrators_leave_stands_above_every_cause(registry: Registry, registered: bool) -> None:  # noqa: FBT001 - a table
    """Also above those that come later; registering gives the device back to the automatic word."""
    if registered:
        registry.register(ANNA, "", "")
    else:
        contact(registry)
    registry.flag(ANNA, Reason.POLICY, holds=True)
    registry.set_state(ANNA, State.ALLOWED, [], "the boss")
    assert contact(registry) == (State.ALLOWED, ())
    registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    assert contact(registry) == (State.ALLOWED, ())
    assert registry.register(ANNA, "", "")[0].reasons == (Reason.COMPROMISED, Reason.POLICY)


def test_an_administrators_block_outlasts_every_cause(registry: Registry) -> None:
    """That nothing is wrong any more does not lift it."""
    registry.register(ANNA, "", "")
    registry.flag(ANNA, Reason.POLICY, holds=True)
    registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "lost")
    registry.flag(ANNA, Reason.POLICY, holds=False)
    assert contact(registry) == (State.BLOCKED, (Reason.MANUAL,))
    assert registry.register(ANNA, "", "")[0].state is State.ALLOWED


def test_an_administrators_wipe_outlasts_every_cause(registry: Registry) -> None:
    """Neither does it change that; what is wrong counts again when the order is taken back."""
    registry.register(ANNA, "", "")
    registry.flag(ANNA, Reason.POLICY, holds=True)
    registry.order_wipe(ANNA, WipeKind.DEVICE, "lost", "olga")
    for cause, holds in ((Reason.POLICY, False), (Reason.OS_VERSION, True)):
        assert registry.flag(ANNA, cause, holds=holds)[0].state is State.WIPE_PENDING
    assert contact(registry) == (State.WIPE_PENDING, ())
    _, (word,) = registry.cancel_wipe(ANNA, "")
    assert (word.state, word.reasons) == (State.BLOCKED, (Reason.OS_VERSION,))
    assert registry.flag(ANNA, Reason.OS_VERSION, holds=False)[0].state is State.ALLOWED


@pytest.mark.parametrize("state", [State.ALLOWED, State.BLOCKED])
def test_a_wipe_that_is_taken_back_leaves_an_administrators_word_above_every_cause(
    registry: Registry, state: State
) -> None:
    """In both directions, whatever was found meanwhile."""
    registry.register(ANNA, "", "")
    registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    before = registry.set_state(ANNA, state, [Reason.MANUAL], "by hand")[0]
    registry.order_wipe(ANNA, WipeKind.DEVICE, "lost", "olga")
    registry.flag(ANNA, Reason.COMPROMISED, holds=False)
    registry.flag(ANNA, Reason.POLICY, holds=True)
    _, (word,) = registry.cancel_wipe(ANNA, "")
    assert (word.state, word.reasons, word.note) == (before.state, before.reasons, "by hand")
    assert registry.register(ANNA, "", "")[0].reasons == (Reason.POLICY,)


def test_a_cause_of_one_spelling_restricts_the_others(registry: Registry) -> None:
    """The same phone in the other form of the query."""
    twin = DeviceKey("4331", ANNA.principal)
    registry.register(ANNA, "", "")
    registry.register(twin, "", "")
    said = registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    assert [(word.device_id, word.reasons) for word in said] == [
        ("C1", (Reason.COMPROMISED,)),
        ("4331", (Reason.COMPROMISED,)),
    ]
    assert contact(registry, twin) == (State.BLOCKED, (Reason.COMPROMISED,))
    assert [word.state for word in registry.flag(ANNA, Reason.COMPROMISED, holds=False)] == [State.ALLOWED] * 2


def test_nothing_can_be_wrong_with_a_device_nobody_knows(registry: Registry) -> None:
    """Neither before it came nor after it was removed; and what was wrong goes with it."""
    with pytest.raises(UnknownDeviceError):
        registry.flag(ANNA, Reason.POLICY, holds=True)
    registry.register(ANNA, "", "")
    registry.flag(ANNA, Reason.POLICY, holds=True)
    registry.remove(ANNA)
    with pytest.raises(UnknownDeviceError):
        registry.flag(ANNA, Reason.POLICY, holds=False)
    assert registry.register(ANNA, "", "")[0].state is State.ALLOWED


def test_causes_survive_a_restart_and_a_change_of_the_setting(make: Make) -> None:
    """Without auto-block an unregistered device with a cause is blocked for that alone."""
    before = make()
    contact(before)
    before.flag(ANNA, Reason.NOT_ENCRYPTED, holds=True)
    assert contact(make()) == (State.BLOCKED, (Reason.NOT_ENCRYPTED, Reason.UNREGISTERED))
    lenient = make(auto_block=False)
    assert contact(lenient) == (State.BLOCKED, (Reason.NOT_ENCRYPTED,))
    last = lenient.counts()["version"]
    assert make(auto_block=False).changes(last, 10).decisions == ()
    lenient.flag(ANNA, Reason.NOT_ENCRYPTED, holds=False)
    assert contact(lenient) == (State.ALLOWED, ())


def test_a_device_with_a_cause_is_not_forgotten(registry: Registry, clock: Clock) -> None:
    """Else a compromised one could come back as new after a month."""
    contact(registry)
    contact(registry, DeviceKey("C2", ANNA.principal))
    registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    clock.now = KEPT_SECONDS + 60.0
    assert [word.device_id for word in registry.expire()] == ["C2"]
    assert contact(registry, seen=int(clock.now)) == (State.BLOCKED, (Reason.COMPROMISED, Reason.UNREGISTERED))


causes = st.sets(st.sampled_from(sorted(CAUSES)))


@given(causes, st.booleans(), st.booleans())
def test_the_automatic_word_is_free_only_without_any_cause(
    causes: set[Reason],
    registered: bool,  # noqa: FBT001 - drawn
    auto_block: bool,  # noqa: FBT001 - drawn
) -> None:
    """And has each of them as a reason."""
    word = automatic(causes, registered=registered, auto_block=auto_block)
    wanted = causes | ({Reason.UNREGISTERED} if auto_block and not registered else set())
    assert word == Standing(State.BLOCKED if wanted else State.ALLOWED, tuple(sorted(wanted)))


verbs = st.lists(
    st.one_of(
        st.tuples(st.just("flag"), st.sampled_from(sorted(CAUSES)), st.booleans()),
        st.tuples(st.sampled_from(["register", "allow", "block"]), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(verbs)
def test_whatever_is_said_in_whatever_order_the_word_is_that_of_the_precedence(
    tmp_path_factory: pytest.TempPathFactory, verbs: list[tuple[str, Reason | None, bool | None]]
) -> None:
    """By hand, else every cause that holds, else registered or not."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('uem')}/uem.sqlite")
    registry = Registry(engine, auto_block=True, now=lambda: 0.001)
    contact(registry)
    held: set[Reason] = set()
    registered, by_hand = False, ""
    for verb, cause, holds in verbs:
        if cause is not None:
            registry.flag(ANNA, cause, holds=bool(holds))
            held = held | {cause} if holds else held - {cause}
        elif verb == "register":
            registry.register(ANNA, "", "")
            registered, by_hand = True, ""
        else:
            state = State.ALLOWED if verb == "allow" else State.BLOCKED
            registry.set_state(ANNA, state, [Reason.MANUAL], "")
            by_hand = verb
        reasons = held | (set() if registered else {Reason.UNREGISTERED})
        if by_hand:
            reasons = {Reason.MANUAL} if by_hand == "block" else set()
        assert contact(registry) == (State.BLOCKED if reasons else State.ALLOWED, tuple(sorted(reasons)))
    engine.dispose()
