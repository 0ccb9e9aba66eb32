"""What a security policy finds of a device, and when it is looked at anew."""

import msgspec
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Information
from sentry_runtime.uem.security import Platform, SecurityPolicy
from sentry_runtime.uem_server import imports, judging, sheets
from sentry_runtime.uem_server.compliance import DAY_SECONDS
from sentry_runtime.uem_server.judging import Security
from sentry_runtime.uem_server.resources import FlagDevice, LabelDevice, PostureEntry, ReportDevice
from tests.unit.uem_server.fleet.conftest import ANNA, GOOD, PHONE, SECURITY, TABLET, World, on


def test_a_device_is_blocked_for_each_thing_that_its_security_policy_finds(world: World) -> None:
    """And free when the last one is mended; what an administrator flags stands beside it."""
    world.registry.register(PHONE, "", "")
    world.label("managed", security_policy="managed")
    (labelled,) = world.say("label", on(PHONE, LabelDevice, labels=("managed",)))
    assert (labelled.state, set(labelled.reasons)) == (
        State.BLOCKED,
        {Reason.OS_VERSION, Reason.NOT_ENCRYPTED, Reason.COMPROMISED, Reason.OUT_OF_CONTACT},
    )
    old = msgspec.structs.replace(GOOD, os_version="16.7")
    assert world.say("report", on(PHONE, ReportDevice, posture=old))[0].reasons == (Reason.OS_VERSION,)
    world.say("flag", on(PHONE, FlagDevice, cause=Reason.POLICY, holds=True))
    assert world.say("report", on(PHONE, ReportDevice, posture=GOOD))[0].reasons == (Reason.POLICY,)
    (freed,) = world.say("flag", on(PHONE, FlagDevice, cause=Reason.POLICY, holds=False))
    assert freed.state is State.ALLOWED
    assert world.say("report", on(PHONE, ReportDevice, posture=GOOD)) == []  # no news, no version


def test_a_word_by_hand_stands_above_what_is_found(world: World) -> None:
    """In both directions; `register` gives the device back to what is found."""
    world.open(security=Security(SECURITY.named, "managed"))
    assert world.registry.register(PHONE, "", "")[0].state is State.BLOCKED
    assert world.say("allow", on(PHONE))[0].state is State.ALLOWED
    assert world.say("report", on(PHONE, ReportDevice, posture=PostureEntry(compromised=True))) == []
    assert world.word(PHONE).state is State.ALLOWED
    assert Reason.COMPROMISED in world.registry.register(PHONE, "", "")[0].reasons
    world.say("report", on(PHONE, ReportDevice, posture=GOOD))
    (blocked,) = world.say("block", on(PHONE))
    assert blocked.reasons == (Reason.MANUAL,)


def test_silence_blocks_when_its_time_is_over_and_a_contact_frees(world: World) -> None:
    """Nobody asks about the device meanwhile."""
    world.open(security=Security({"seen": SecurityPolicy(compromised="pass", contact_days=7)}, "seen"))
    world.contact(PHONE)
    assert world.registry.register(PHONE, "", "")[0].state is State.ALLOWED
    world.clock.now += 7 * DAY_SECONDS
    world.registry.note_silent()
    assert world.registry.judge() == ([], False)
    world.clock.now += 1
    world.registry.note_silent()
    (silent,) = world.registry.judge()[0]
    assert (silent.state, silent.reasons) == (State.BLOCKED, (Reason.OUT_OF_CONTACT,))
    world.contact(PHONE)
    assert [one.state for one in world.registry.judge()[0]] == [State.ALLOWED]


def test_a_changed_security_policy_is_asked_of_everybody_after_the_start(world: World) -> None:
    """Only what changes by that gets a new version; nothing is looked at when nothing changed."""
    for key in (PHONE, TABLET):
        world.registry.register(key, "", "")
    world.say("report", on(PHONE, ReportDevice, posture=GOOD))
    before = world.registry.counts()["version"]
    world.open(security=Security(SECURITY.named, "managed"))
    changed, more = world.registry.judge()
    assert ([(one.device_id, one.state) for one in changed], more) == ([("TABLET", State.BLOCKED)], False)
    assert world.word(PHONE).version <= before
    world.open(security=Security(SECURITY.named, "managed"))
    with Session(world._engines[-1]) as session:
        assert not judging.any_due(session)


def test_what_a_device_says_of_its_system_counts_where_nothing_is_reported(world: World) -> None:
    """What is reported goes before."""
    world.open(security=Security({"new": SecurityPolicy(minimum_os={Platform.IOS: "17"}, compromised="pass")}, "new"))
    world.registry.register(PHONE, "", "")
    says = DeviceInformation(os="iOS 17.2 21C62")
    world.registry.inform(Information(device_id="PHONE", principal=ANNA, information=says))
    assert [one.state for one in world.registry.judge()[0]] == [State.ALLOWED]
    told = PostureEntry(platform=Platform.IOS, os_version="16.1")
    assert world.say("report", on(PHONE, ReportDevice, posture=told))[0].reasons == (Reason.OS_VERSION,)


def test_many_devices_are_looked_at_some_at_a_time_and_a_restart_forgets_none(world: World) -> None:
    """The rest is there after it."""
    keys = [DeviceKey(f"D{number}", f"user{number}") for number in range(judging.AT_ONCE + 3)]
    sheet = sheets.head(sheets.DEVICES) + "".join(
        sheets.lines(sheets.DEVICES, [sheets.DeviceRow(device_id=key.device_id, principal=key.principal)])
        for key in keys
    )
    lines = sheets.read(sheets.DEVICES, sheet.encode())
    count, changed = world.registry.amend(
        lambda session, next_version: imports.put_devices(session, lines, Names(), next_version)
    )
    assert (count, len(changed)) == (len(keys), judging.AT_ONCE)
    world.open()
    further, more = world.registry.judge()
    assert (len(further), more) == (3, False)
    assert world.registry.counts() == {
        "devices": len(keys),
        "version": world.registry.counts()["version"],
        "allowed": len(keys),
    }
