"""The UEM's knowledge: contacts, administrators' words, aliases, change numbers, and what a restart keeps."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.tables import open_engine

ANNA = DeviceKey("C1", "anna@lab.test")
HEX = DeviceKey("4331", "anna@lab.test")


def contact(key: DeviceKey, *aliases: str, seen: int = 10, device_type: str = "iPhone") -> Contact:
    """A first contact."""
    return Contact(
        device_id=key.device_id, device_aliases=aliases, principal=key.principal, device_type=device_type, seen=seen
    )


def words(decisions: list[Decision] | tuple[Decision, ...]) -> dict[str, str]:
    """Device ids with their states."""
    return {decision.device_id: "removed" if decision.removed else decision.state for decision in decisions}


Make = Callable[..., Registry]


@pytest.fixture
def make(database: str) -> Iterator[Make]:
    """Open the registry; a second call opens it again, as after a restart."""
    engines: list[Engine] = []

    def registry(*, auto_block: bool = True, now: float = 0.001) -> Registry:
        engines.append(open_engine(database))
        return Registry(engines[-1], auto_block=auto_block, now=lambda: now)

    yield registry
    for engine in engines:
        engine.dispose()


@pytest.fixture
def registry(make: Make) -> Registry:
    """With auto-block, its clock at the beginning: versions count by one."""
    return make()


def test_an_unknown_device_is_recorded_as_unregistered_and_blocked(registry: Registry) -> None:
    """And asked again it is the same decision, the same version."""
    first = registry.contact(contact(ANNA))
    assert (first.state, first.reasons, first.registered) == (State.BLOCKED, (Reason.UNREGISTERED,), False)
    assert registry.contact(contact(ANNA)) == first
    assert registry.changes(0, 10).decisions == (first,)


def test_without_auto_block_an_unknown_device_is_allowed_but_not_registered(make: Make) -> None:
    """The setting is the site's."""
    decision = make(auto_block=False).contact(contact(ANNA))
    assert (decision.state, decision.reasons, decision.registered) == (State.ALLOWED, (), False)


def test_a_changed_setting_reaches_those_nobody_decided_about(make: Make) -> None:
    """With new versions, so that the Sentries hear; an administrator's words stand."""
    before = make(auto_block=True)
    before.contact(contact(ANNA))
    before.set_state(DeviceKey("C2", "bert"), State.BLOCKED, [Reason.MANUAL], "lost")
    before.register(DeviceKey("C3", "carla"), "", "")
    last = before.counts()["version"]
    changed = make(auto_block=False).changes(last, 10)
    assert words(changed.decisions) == {"C1": State.ALLOWED}
    assert make(auto_block=False).changes(changed.next, 10).decisions == ()


@pytest.mark.parametrize(
    "other", [DeviceKey("C1", "bert@lab.test"), DeviceKey("C1", "anna"), DeviceKey("C10", "anna@lab.test")]
)
def test_only_the_exact_device_and_principal_are_registered(registry: Registry, other: DeviceKey) -> None:
    """`anna` is not `anna@lab.test`, C1 is not C10."""
    registry.register(ANNA, "", "")
    assert registry.contact(contact(ANNA)).state is State.ALLOWED
    assert registry.contact(contact(other)).state is State.BLOCKED


def test_registering_an_alias_grants_the_device_nothing(registry: Registry) -> None:
    """Only the exact id does."""
    registry.register(ANNA, "", "")
    assert registry.contact(contact(HEX, "C1")).state is State.BLOCKED


def test_a_device_blocked_under_an_alias_is_blocked_though_registered(registry: Registry) -> None:
    """Whatever came first; and when the alias is free again, so is the device, each time with a new version."""
    registry.register(HEX, "", "")
    seen = registry.contact(contact(HEX, "C1"))
    assert seen.state is State.ALLOWED
    blocked = registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "")
    assert words(blocked) == {"C1": State.BLOCKED, "4331": State.BLOCKED}
    assert blocked[1].version > seen.version
    assert registry.contact(contact(HEX, "C1")) == blocked[1]
    freed = registry.remove(ANNA)
    assert words(freed) == {"C1": "removed", "4331": State.ALLOWED}
    assert registry.changes(blocked[1].version, 10).decisions == tuple(freed)


def test_a_contact_that_reveals_a_blocked_alias_changes_the_decision_and_its_version(registry: Registry) -> None:
    """Else a Sentry that already has the old one would take the new word for a repetition."""
    other = DeviceKey("OTHER", "anna@lab.test")
    registry.set_state(ANNA, State.BLOCKED, [Reason.OS_VERSION], "")
    registry.register(other, "", "")
    plain = registry.contact(contact(other))
    revealed = registry.contact(contact(other, "C1"))
    assert (plain.state, revealed.state, revealed.reasons) == (State.ALLOWED, State.BLOCKED, (Reason.OS_VERSION,))
    assert revealed.version > plain.version


@pytest.mark.parametrize(
    ("blocked", "other"),
    [
        pytest.param(("C1", "anna@lab.test"), ("4331", "anna@lab.test"), id="text, then hex"),
        pytest.param(("4331", "anna@lab.test"), ("C1", "anna@lab.test"), id="hex, then text"),
        pytest.param(("6331", "anna@lab.test"), ("4331", "anna@lab.test"), id="hex in either case of the text"),
        pytest.param(("C1", "anna@lab.test"), ("C1", "anna"), id="a person without a domain"),
        pytest.param(("C1", "anna@lab"), ("C1", "anna@lab.test"), id="a person with the short domain"),
        pytest.param(("C1", "anna"), ("4331", "anna@lab"), id="both at once"),
    ],
)
def test_a_block_of_one_spelling_restricts_the_others_that_were_registered_before_any_contact(
    registry: Registry, blocked: tuple[str, str], other: tuple[str, str]
) -> None:
    """The answer to the block names them, with new versions; what frees the one frees the other."""
    one, twin = DeviceKey(*blocked), DeviceKey(*other)
    registry.register(one, "", "")
    before = registry.register(twin, "", "")[0]
    said = registry.set_state(one, State.BLOCKED, [Reason.MANUAL], "")
    assert [(word.device_id, word.principal, word.state) for word in said] == [
        (*blocked, State.BLOCKED),
        (*other, State.BLOCKED),
    ]
    assert said[1].version > before.version
    assert registry.changes(before.version, 10).decisions == tuple(said)
    assert [word.state for word in registry.set_state(one, State.ALLOWED, [], "")] == [State.ALLOWED] * 2


@pytest.mark.parametrize(
    ("device_id", "principal"),
    [("4331", "bert@lab.test"), ("C1", "anna@lab.example"), ("4332", "anna@lab.test"), ("C10", "anna@lab.test")],
)
def test_a_block_restricts_neither_other_people_nor_other_devices(
    registry: Registry, device_id: str, principal: str
) -> None:
    """Domains that contradict each other are two people."""
    registry.register(DeviceKey(device_id, principal), "", "")
    assert len(registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "")) == 1


def test_an_unknown_spelling_of_a_blocked_device_is_blocked_where_unknown_devices_pass(make: Make) -> None:
    """Without auto-block nothing else would stop it."""
    registry = make(auto_block=False)
    registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "")
    assert registry.contact(contact(HEX)).reasons == (Reason.MANUAL,)
    assert registry.contact(contact(DeviceKey("C1", "anna@lab"))).reasons == (Reason.MANUAL,)
    assert registry.contact(contact(DeviceKey("C1", "anna@lab.example"))).state is State.ALLOWED


def test_an_alias_of_another_principal_restricts_nothing(registry: Registry) -> None:
    """The key is device and principal."""
    registry.set_state(DeviceKey("C1", "bert"), State.BLOCKED, [Reason.MANUAL], "")
    registry.register(HEX, "", "")
    assert registry.contact(contact(HEX, "C1")).state is State.ALLOWED


def test_an_administrators_words_follow_each_other(registry: Registry) -> None:
    """Block, allow, register, remove; each is one new version."""
    steps = [
        registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "lost"),
        registry.set_state(ANNA, State.ALLOWED, [Reason.MANUAL], "found"),
        registry.register(ANNA, "iPhone", "new owner"),
        registry.remove(ANNA),
    ]
    decisions = [changed[0] for changed in steps]
    assert [decision.state for decision in decisions[:3]] == ["blocked", "allowed", "allowed"]
    assert [decision.reasons for decision in decisions[:3]] == [("manual",), (), ()]
    assert [decision.note for decision in decisions] == ["lost", "found", "new owner", ""]
    versions = [decision.version for decision in decisions]
    assert versions == sorted(set(versions))
    assert (decisions[2].registered, decisions[3].removed, registry.registered(0, 10)) == (True, True, ())


def test_a_removed_device_makes_a_first_contact_again(registry: Registry) -> None:
    """As unregistered, with a version above its removal."""
    registry.register(ANNA, "iPhone", "")
    removal = registry.remove(ANNA)[0]
    again = registry.contact(contact(ANNA))
    assert (again.state, again.removed, again.registered) == (State.BLOCKED, False, False)
    assert again.version > removal.version


def test_what_is_not_known_cannot_be_removed(registry: Registry) -> None:
    """Neither what never was nor what has gone."""
    with pytest.raises(UnknownDeviceError, match=r"device C1 of anna@lab\.test is not known"):
        registry.remove(ANNA)
    registry.register(ANNA, "", "")
    registry.remove(ANNA)
    with pytest.raises(UnknownDeviceError):
        registry.remove(ANNA)


def test_pages_of_the_feed_join_without_gap_or_repetition(registry: Registry) -> None:
    """Removals are part of the feed."""
    for number in range(7):
        registry.register(DeviceKey(f"D{number}", "x"), "", "")
    registry.remove(DeviceKey("D0", "x"))
    after, pages = 0, []
    while True:
        page = registry.changes(after, 3)
        pages.append([decision.device_id for decision in page.decisions])
        after = page.next
        if not page.more:
            break
    assert pages == [["D1", "D2", "D3"], ["D4", "D5", "D6"], ["D0"]]
    assert registry.changes(after, 3).next == after


def test_a_question_behind_the_last_version_is_told_how_far_this_uem_is(registry: Registry) -> None:
    """So a Sentry notices that the UEM was put back."""
    last = registry.register(ANNA, "", "")[0].version
    page = registry.changes(last + 5, 10)
    assert (page.decisions, page.next, page.more) == ((), last, False)


def test_versions_go_on_above_a_lost_database_by_the_clock(make: Make) -> None:
    """A UEM restored from an old backup numbers on above what the Sentries have seen, unless its clock goes back as well."""
    registry = make(now=1_700_000_000.5)
    first = registry.register(ANNA, "", "")[0].version
    second = registry.register(ANNA, "", "")[0].version
    assert (first, second) == (1_700_000_000_500, 1_700_000_000_501)
    assert make(now=5.0).register(ANNA, "", "")[0].version == 1_700_000_000_502


def test_everything_is_there_after_a_restart(make: Make) -> None:
    """The file is the knowledge."""
    before = make()
    before.register(ANNA, "iPhone", "a note")
    before.contact(contact(HEX, "C1"))
    assert make().changes(0, 10) == before.changes(0, 10)


def test_counts_are_per_state_and_leave_the_removed_out(registry: Registry) -> None:
    """What `Status` shows."""
    registry.register(ANNA, "", "")
    registry.contact(contact(HEX))
    registry.register(DeviceKey("D1", "x"), "", "")
    registry.remove(DeviceKey("D1", "x"))
    assert registry.counts() == {"devices": 2, "allowed": 1, "blocked": 1, "version": 4}


steps = st.lists(
    st.tuples(st.sampled_from(["contact", "register", "block", "remove"]), st.integers(0, 2)), min_size=1, max_size=12
)


@settings(max_examples=25)
@given(steps)
def test_answers_and_feed_agree_at_every_moment(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """What the feed gives for a device is the last thing anybody was told of it, under one growing number."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('uem')}/uem.sqlite")
    registry = Registry(engine, auto_block=True, now=lambda: 0.001)
    told: dict[str, Decision] = {}
    for verb, number in steps:
        key = DeviceKey(f"D{number}", "x")
        if verb == "contact":
            # D1 is known as D0 too, and D2 as D1.
            answers = [registry.contact(contact(key, f"D{number - 1}"))] if number else [registry.contact(contact(key))]
        elif verb == "register":
            answers = registry.register(key, "", "")
        elif verb == "block":
            answers = registry.set_state(key, State.BLOCKED, [Reason.MANUAL], "")
        else:
            known = key.device_id in told and not told[key.device_id].removed
            answers = registry.remove(key) if known else []
        told |= {answer.device_id: answer for answer in answers}
        assert {word.device_id: word for word in registry.changes(0, 10).decisions} == told
    engine.dispose()
