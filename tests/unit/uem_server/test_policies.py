"""Which policy a device has at the UEM, and what becomes of it when the settings change."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from sentry_runtime.control import NamedPolicy, Registered
from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import Contact, Decision, Information
from sentry_runtime.uem_server import room
from sentry_runtime.uem_server.policies import Policies, UnknownPolicyError
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.tables import Assignment, Base, PolicyNote, Says, open_engine

ANNA, BERT, CARLA = (DeviceKey(f"C{number}", name) for number, name in enumerate(("anna", "bert", "carla"), 1))
STRICT, LAX = Policy(device_password_enabled=True), Policy(allow_camera=True)
SAYS = DeviceInformation(model="iPhone10C1", imei="490154203237518")

Make = Callable[..., Registry]


@pytest.fixture
def make(database: str) -> Iterator[Make]:
    """Open the registry with these policies; a second call opens it again, as after a restart."""
    engines: list[Engine] = []

    def registry(default: str | None = None, *, now: float = 0.001, **named: Policy) -> Registry:
        engines.append(open_engine(database))
        return Registry(engines[-1], auto_block=True, policies=Policies(named, default), now=lambda: now)

    yield registry
    for engine in engines:
        engine.dispose()


def policies_of(registry: Registry) -> dict[str, Policy | None]:
    """Each device's, as the feed has it."""
    return {one.device_id: one.policy for one in registry.changes(0, 100).decisions if not one.removed}


def news(registry: Registry) -> set[str]:
    """Whose decisions changed when this registry was opened."""
    return {one.device_id for one in registry.changes(registry.opened_at, 100).decisions}


def test_without_policies_nobody_has_one(make: Make) -> None:
    """The Sentry's own holds then."""
    registry = make()
    assert registry.register(ANNA, "", "")[0].policy is None
    assert registry.listed_policies() == []


def test_a_policy_is_assigned_and_taken_back_under_new_versions(make: Make) -> None:
    """The feed has the same word; whatever else is said of the device stays."""
    registry = make("lax", strict=STRICT, lax=LAX)
    registry.set_state(ANNA, State.BLOCKED, [Reason.MANUAL], "lost")
    said: list[Decision] = []
    for name, policy in (("strict", STRICT), ("lax", LAX), ("strict", STRICT), (None, LAX)):
        (word,) = registry.assign(ANNA, name)
        assert (word.policy, word.state, word.note) == (policy, State.BLOCKED, "lost")
        said.append(word)
    versions = [word.version for word in said]
    assert versions == sorted(set(versions))
    assert registry.changes(0, 10).decisions == (said[-1],)


def test_an_assignment_names_a_device_and_a_policy_that_are_there(make: Make) -> None:
    """Else nothing changes; the error says which there are."""
    registry = make(strict=STRICT, lax=LAX)
    with pytest.raises(UnknownDeviceError, match="device C1 of anna is not known"):
        registry.assign(ANNA, "strict")
    registry.register(ANNA, "", "")
    with pytest.raises(UnknownPolicyError, match="there is no policy 'strikt'; allowed: lax, strict"):
        registry.assign(ANNA, "strikt")
    assert registry.changes(0, 10).decisions[0].version == 1


def test_the_listing_says_how_many_have_each(make: Make) -> None:
    """Of the default one, those that it is assigned to; all others have it anyway."""
    registry = make("lax", strict=STRICT, lax=LAX)
    for key in (ANNA, BERT, CARLA):
        registry.register(key, "", "")
    for key in (ANNA, BERT):
        registry.assign(key, "strict")
    assert registry.listed_policies() == [
        NamedPolicy(name="lax", policy=LAX, default=True),
        NamedPolicy(name="strict", policy=STRICT, assigned=2),
    ]


def test_a_changed_policy_gives_new_versions_to_those_that_have_it_and_to_nobody_else(make: Make) -> None:
    """Once: the same settings again change nothing."""
    first = make("lax", strict=STRICT, lax=LAX)
    for key in (ANNA, BERT, CARLA):
        first.register(key, "", "")
    first.assign(ANNA, "strict")
    first.remove(CARLA)
    stricter = Policy(device_password_enabled=True, min_device_password_length=8)
    assert news(make("lax", strict=stricter, lax=LAX)) == {"C1"}
    changed = make("lax", strict=stricter, lax=Policy())
    assert news(changed) == {"C2"}
    assert policies_of(changed) == {"C1": stricter, "C2": Policy()}
    assert news(make("lax", strict=stricter, lax=Policy())) == set()
    assert news(make("lax", strict=stricter, lax=Policy(), unused=LAX)) == set()


def test_another_default_reaches_those_that_none_is_assigned_to(make: Make) -> None:
    """Also the first one, and none any more."""
    registry = make(strict=STRICT, lax=LAX)
    for key in (ANNA, BERT):
        registry.register(key, "", "")
    registry.assign(ANNA, "strict")
    for default, policy in (("lax", LAX), ("strict", STRICT), (None, None)):
        changed = make(default, strict=STRICT, lax=LAX)
        assert (news(changed), policies_of(changed)) == ({"C2"}, {"C1": STRICT, "C2": policy})


def test_a_policy_that_goes_from_the_settings_leaves_its_devices_the_default_until_it_is_back(make: Make) -> None:
    """The assignment stays."""
    registry = make("lax", strict=STRICT, lax=LAX)
    registry.register(ANNA, "", "")
    registry.assign(ANNA, "strict")
    gone = make("lax", lax=LAX)
    assert (news(gone), policies_of(gone)) == ({"C1"}, {"C1": LAX})
    assert gone.of_device("C1") == [Registered(key=ANNA, policy="strict")]
    back = make("lax", strict=STRICT, lax=LAX)
    assert (news(back), policies_of(back)) == ({"C1"}, {"C1": STRICT})


def test_what_a_device_says_is_kept_and_changes_no_decision(make: Make) -> None:
    """Of one that is not known, nothing is."""
    registry = make()
    registry.inform(Information(device_id="C1", principal="anna", information=SAYS))
    registry.register(ANNA, "", "")
    before = registry.changes(0, 10)
    for said in (DeviceInformation(model="other"), SAYS):
        registry.inform(Information(device_id="C1", principal="anna", information=said))
    assert registry.of_device("C1") == [Registered(key=ANNA, information=SAYS)]
    assert registry.of_device("C2") == []
    assert registry.changes(0, 10) == before
    assert make().of_device("C1") == [Registered(key=ANNA, information=SAYS)]


def test_with_a_device_goes_what_it_was_assigned_and_what_it_said(make: Make) -> None:
    """If it comes again it is a new one."""
    registry = make("lax", strict=STRICT, lax=LAX)
    registry.register(ANNA, "", "")
    registry.assign(ANNA, "strict")
    registry.inform(Information(device_id="C1", principal="anna", information=SAYS))
    (removal,) = registry.remove(ANNA)
    assert (removal.removed, removal.policy) == (True, None)
    with pytest.raises(UnknownDeviceError):
        registry.assign(ANNA, "strict")
    assert registry.register(ANNA, "", "")[0].policy == LAX
    assert registry.of_device("C1") == [Registered(key=ANNA)]


def test_a_device_that_nobody_decided_about_is_forgotten_with_all_that_hangs_on_it(make: Make) -> None:
    """In the end its row goes, too."""
    registry = make("lax", strict=STRICT, lax=LAX)
    registry.contact(Contact(device_id="C1", principal="anna", device_type="", seen=10))
    registry.assign(ANNA, "strict")
    registry.inform(Information(device_id="C1", principal="anna", information=SAYS))
    later = make("lax", strict=STRICT, lax=LAX, now=10.0 + room.KEPT_SECONDS)
    assert [one.device_id for one in later.expire()] == ["C1"]
    assert later.of_device("C1") == []
    last = make("lax", strict=STRICT, lax=LAX, now=10.0 + room.KEPT_SECONDS + room.REMOVAL_KEPT_SECONDS)
    last.expire()
    assert last.changes(0, 10).decisions == ()


def test_a_database_from_before_there_were_policies_is_opened_without_loss(make: Make, database: str) -> None:
    """Its devices get the default policy, each under a new version."""
    old = make()
    old.register(ANNA, "iPhone", "hers")
    old.set_state(BERT, State.BLOCKED, [Reason.MANUAL], "lost")
    engine = open_engine(database)
    for table in (Assignment, PolicyNote, Says):
        Base.metadata.tables[table.__tablename__].drop(engine)
    engine.dispose()
    registry = make("lax", lax=LAX)
    words = registry.changes(0, 10).decisions
    assert [(one.device_id, one.state, one.note, one.policy) for one in words] == [
        ("C1", State.ALLOWED, "hers", LAX),
        ("C2", State.BLOCKED, "lost", LAX),
    ]
    assert news(registry) == {"C1", "C2"}
    assert registry.assign(ANNA, "lax")[0].registered


def test_a_page_of_the_feed_ends_where_a_message_would(make: Make) -> None:
    """With the longest policies there are; its cursor goes on behind its last decision."""
    full = Policy(unapproved_in_rom_application_list=tuple('"' * 60 + f"{number:04}" for number in range(256)))
    registry = make("full", full=full)
    for number in range(200):
        registry.register(DeviceKey(f"D{number}", "anna"), "", "")
    page = registry.changes(0, 1_000)
    assert 0 < len(page.decisions) < 200
    assert (page.more, page.next) == (True, page.decisions[-1].version)
    rest = registry.changes(page.next, 1_000)
    assert len(page.decisions) + len(rest.decisions) == 200
    assert not rest.more
