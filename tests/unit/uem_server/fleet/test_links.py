"""Devices that are linked to a managed one, and follow it."""

import pytest

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind
from sentry_runtime.uem_server.links import LinkError
from sentry_runtime.uem_server.registry import UnknownDeviceError
from sentry_runtime.uem_server.resources import FlagDevice, LabelDevice, LinkDevice, RegisterDevice
from sentry_runtime.uem_server.wipes import NotNowError
from tests.unit.uem_server.fleet.conftest import ANNA, PHONE, POLICIES, SERIAL, TABLET, World, on


def test_a_linked_device_follows_the_managed_one(world: World) -> None:
    """It counts as registered, has its labels, and loses the link with it."""
    world.contact(PHONE)
    world.registry.register(SERIAL, "", "")
    world.label("staff", policy="strict")
    world.say("label", on(SERIAL, LabelDevice, labels=("staff",)))
    link = on(PHONE, LinkDevice, to_device_id="SERIAL", to_principal=ANNA, note="seen it")
    linked = {one.device_id: one for one in world.say("link", link)}["PHONE"]
    assert (linked.state, linked.registered, linked.note) == (State.ALLOWED, True, "seen it")
    assert linked.policy == POLICIES.named["strict"]
    blocked = world.say("flag", on(SERIAL, FlagDevice, cause=Reason.COMPROMISED, holds=True))
    assert {one.device_id: one.reasons for one in blocked} == dict.fromkeys(("SERIAL", "PHONE"), (Reason.COMPROMISED,))
    freed = world.say("flag", on(SERIAL, FlagDevice, cause=Reason.COMPROMISED, holds=False))
    assert {one.device_id: one.state for one in freed} == dict.fromkeys(("SERIAL", "PHONE"), State.ALLOWED)
    wiped = world.registry.order_wipe(SERIAL, WipeKind.DEVICE, "", "olga")
    assert {one.device_id: (one.state, one.reasons) for one in wiped} == {
        "SERIAL": (State.WIPE_PENDING, ()),
        "PHONE": (State.BLOCKED, (Reason.COMPROMISED,)),
    }
    world.registry.cancel_wipe(SERIAL, "")
    gone = world.registry.remove(SERIAL)
    phone = {one.device_id: one for one in gone}["PHONE"]
    assert (phone.state, phone.reasons, phone.registered) == (State.BLOCKED, (Reason.UNREGISTERED,), False)


def test_a_linked_device_is_restricted_by_what_restricts_the_managed_one(world: World) -> None:
    """The managed one is known under another spelling of its user, too, and blocked or to be wiped under that."""
    other = DeviceKey("SERIAL", "anna")
    world.registry.register(SERIAL, "", "")
    world.registry.register(other, "", "")
    world.contact(PHONE)
    world.say("link", on(PHONE, LinkDevice, to_device_id="SERIAL", to_principal=ANNA))
    before = world.word(PHONE)
    told = {one.device_id: one for one in world.say("block", on(other)) if one.principal == ANNA}
    assert {name: one.state for name, one in told.items()} == dict.fromkeys(("SERIAL", "PHONE"), State.BLOCKED)
    assert (world.word(PHONE), told["PHONE"].reasons) == (told["PHONE"], (Reason.MANUAL,))
    assert told["PHONE"].version > before.version
    freed = {one.device_id: one.state for one in world.say("register", on(other, RegisterDevice))}
    assert freed == dict.fromkeys(("SERIAL", "PHONE"), State.ALLOWED)
    world.registry.order_wipe(other, WipeKind.DEVICE, "", "olga")
    assert (world.word(PHONE).state, world.word(PHONE).reasons) == (State.BLOCKED, (Reason.COMPROMISED,))
    world.say("allow", on(PHONE))
    assert world.word(PHONE).state is State.ALLOWED


def test_a_link_is_undone(world: World) -> None:
    """The device is what it was: one that nobody registered."""
    world.contact(PHONE)
    world.registry.register(SERIAL, "", "")
    world.say("link", on(PHONE, LinkDevice, to_device_id="SERIAL", to_principal=ANNA))
    (apart,) = world.say("unlink", on(PHONE, note="no"))
    assert (apart.state, apart.registered, apart.note) == (State.BLOCKED, False, "no")
    with pytest.raises(LinkError, match="is not linked"):
        world.say("unlink", on(PHONE))


def test_a_linked_device_shares_the_place_of_the_managed_one(world: World) -> None:
    """In a mailbox for one device both may pass, and no third."""
    world.open(devices_per_mailbox=1)
    world.registry.register(SERIAL, "", "")
    world.contact(PHONE)
    world.say("link", on(PHONE, LinkDevice, to_device_id="SERIAL", to_principal=ANNA))
    world.registry.register(TABLET, "", "")
    states = {one.device_id: one.state for one in world.registry.listed(0, 10).devices}
    assert states == {"SERIAL": State.ALLOWED, "PHONE": State.ALLOWED, "TABLET": State.BLOCKED}


@pytest.mark.parametrize(
    ("device", "to", "why"),
    [
        (PHONE, PHONE, "itself"),
        (PHONE, DeviceKey("BERTS", "bert@lab.test"), "two people"),
        (PHONE, TABLET, "not a registered one"),
        (PHONE, DeviceKey("LINKED", ANNA), "not a registered one"),
        (SERIAL, DeviceKey("SECOND", ANNA), "others linked to it"),
    ],
)
def test_a_link_that_says_nothing_or_too_much_is_refused(
    world: World, device: DeviceKey, to: DeviceKey, why: str
) -> None:
    """It neither chains, nor crosses from one person to another."""
    for key in (PHONE, TABLET, DeviceKey("LINKED", ANNA)):
        world.contact(key)
    for key in (SERIAL, DeviceKey("SECOND", ANNA), DeviceKey("BERTS", "bert@lab.test")):
        world.registry.register(key, "", "")
    world.say("link", on(DeviceKey("LINKED", ANNA), LinkDevice, to_device_id="SERIAL", to_principal=ANNA))
    with pytest.raises(LinkError, match=why):
        world.say("link", on(device, LinkDevice, to_device_id=to.device_id, to_principal=to.principal))
    with pytest.raises(UnknownDeviceError):
        world.say("link", on(device, LinkDevice, to_device_id="NONE", to_principal=ANNA))


def test_while_a_wipe_is_pending_nothing_is_linked(world: World) -> None:
    """After it there is only `remove`."""
    world.contact(PHONE)
    world.registry.register(SERIAL, "", "")
    world.registry.order_wipe(PHONE, WipeKind.DEVICE, "", "")
    with pytest.raises(NotNowError, match="cancel that first"):
        world.say("link", on(PHONE, LinkDevice, to_device_id="SERIAL", to_principal=ANNA))
