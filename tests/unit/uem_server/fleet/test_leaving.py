"""What goes with a device or a user, and a database from before there were fleets."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem_server import directory, judging
from sentry_runtime.uem_server.compliance import DAY_SECONDS
from sentry_runtime.uem_server.resources import LabelDevice, LinkDevice, PostureEntry, ReportDevice, UserEntry
from sentry_runtime.uem_server.tables import Base, Device, Due
from tests.unit.uem_server.fleet.conftest import ANNA, GOOD, PHONE, SERIAL, TABLET, World, on


def test_what_belongs_to_a_device_goes_with_it(world: World) -> None:
    """Registered anew it is a fresh one, but for a grace that is spent."""
    world.label("staff", policy="strict")
    world.registry.register(PHONE, "", "")
    world.say("label", on(PHONE, LabelDevice, labels=("staff",)))
    world.say("report", on(PHONE, ReportDevice, posture=PostureEntry(compromised=True)))
    world.registry.remove(PHONE)
    world.registry.register(PHONE, "", "")
    (entry,) = world.registry.listed(0, 10).devices
    assert (entry.labels, entry.posture, entry.linked_to) == ((), None, None)


def test_users_and_what_their_devices_have_go_along_to_another_name(world: World) -> None:
    """The site has said which domain a short one is."""
    old = DeviceKey("PHONE", "anna@lab")
    world.label("staff", policy="strict")
    world.label("own")
    world.contact(old)
    world.registry.register(DeviceKey("SERIAL", "anna@lab"), "", "")
    world.do(
        lambda session: directory.put_user(session, UserEntry(principal="anna@lab", full_name="A", labels=("staff",)))
    )
    world.say("label", on(old, LabelDevice, labels=("own",)))
    world.say("report", on(old, ReportDevice, posture=GOOD))
    world.say("link", on(old, LinkDevice, to_device_id="SERIAL", to_principal="anna@lab"))
    world.open(names=Names({"lab": "lab.test"}))
    (phone,) = (one for one in world.registry.listed(0, 10).devices if one.device_id == "PHONE")
    assert (phone.principal, phone.labels, phone.own_labels) == (ANNA, ("own", "staff"), ("own",))
    assert (phone.posture, phone.linked_to, phone.state) == (GOOD, SERIAL, State.ALLOWED)
    assert [one.principal for one in world.registry.look(lambda session: directory.users(session, "", 10))] == [ANNA]


def test_a_database_from_before_fleets_gets_their_tables(world: World) -> None:
    """What was in it stands."""
    world.registry.register(PHONE, "", "hers")
    older = {
        "devices",
        "clock",
        "aliases",
        "causes",
        "spellings",
        "places",
        "bounds",
        "assignments",
        "policy_notes",
        "says",
        "wipes",
    }
    engine = world._engines[-1]
    Base.metadata.drop_all(engine, [one for name, one in Base.metadata.tables.items() if name not in older])
    world.open()
    assert world.word(PHONE).note == "hers"
    assert world.contact(TABLET).reasons == (Reason.UNREGISTERED,)


def test_nothing_stays_due_of_a_device_that_is_forgotten(world: World) -> None:
    """Its row goes for good after two months, with all that hangs on it."""
    world.open(grace_seconds=10)
    world.contact(PHONE)
    world.do(lambda session: judging.mark(session, select(Device.id)))
    world.registry.amend(lambda session, _next: session.add(Due(device=1, bump=False)))
    world.clock.now += 31 * DAY_SECONDS
    world.registry.expire()
    world.clock.now += 31 * DAY_SECONDS
    world.registry.expire()
    with Session(world._engines[-1]) as session:
        assert session.scalars(select(Device)).all() == []
