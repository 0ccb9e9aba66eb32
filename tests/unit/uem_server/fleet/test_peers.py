"""App tunnels by label, and Sentrys: those of the settings, and others."""

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem_server import directory, peers
from sentry_runtime.uem_server.resources import LabelDevice, TunnelEntry
from tests.unit.uem_server.fleet.conftest import PHONE, World, on


def test_the_devices_of_a_label_have_its_tunnels(world: World) -> None:
    """In their decisions, under new versions; a device without the label has none."""
    world.registry.register(PHONE, "", "")
    world.registry.register(DeviceKey("OTHER", "bert"), "", "")
    world.label("staff")
    world.say("label", on(PHONE, LabelDevice, labels=("staff",)))
    wiki = TunnelEntry(name="wiki", host="wiki.lab.test", port=443, labels=("staff",))
    changed = world.do(lambda session: directory.put_tunnel(session, wiki))
    assert [(one.device_id, one.tunnels) for one in changed] == [
        ("PHONE", (AppTunnel(name="wiki", host="wiki.lab.test", port=443),))
    ]
    assert world.word(DeviceKey("OTHER", "bert")).tunnels == ()
    moved = world.do(lambda session: directory.put_tunnel(session, msgspec.structs.replace(wiki, port=8443)))
    assert moved[0].tunnels[0].port == 8443
    assert world.do(lambda session: directory.drop_tunnel(session, "wiki"))[0].tunnels == ()


EDGE = SentryPeer(name="edge", subject="CN=edge", push_url="https://edge.lab.test:9090")
CORE = SentryPeer(name="core", subject="CN=core")


def test_the_sentrys_of_the_settings_are_always_there_and_others_are_added(world: World) -> None:
    """What goes from the settings goes; what an administrator added stays."""
    world.open(sentrys=(EDGE, CORE))
    added = SentryPeer(name="added", subject="CN=added")
    world.do(lambda session: peers.put(session, added))
    with pytest.raises(peers.PeerError, match="in the settings"):
        world.do(lambda session: peers.put(session, msgspec.structs.replace(EDGE, subject="CN=other")))
    with pytest.raises(peers.PeerError, match="in the settings"):
        world.do(lambda session: peers.drop(session, "edge"))
    with pytest.raises(peers.PeerError, match=r"that of Sentry core - at `\$.subject`"):
        world.do(lambda session: peers.put(session, SentryPeer(name="two", subject="CN=core")))
    swapped = (
        msgspec.structs.replace(EDGE, subject="CN=core"),
        msgspec.structs.replace(CORE, subject="CN=edge"),
    )
    world.open(sentrys=swapped)
    assert world.registry.look(peers.listed) == [added, swapped[1], swapped[0]]
    world.open(sentrys=(EDGE,))
    assert world.registry.look(peers.listed) == [added, EDGE]


def test_when_a_sentry_was_heard_and_how_far_it_has_read_is_kept(world: World) -> None:
    """A call that is no question for the feed leaves the cursor."""
    world.open(sentrys=(EDGE,))
    world.do(lambda session: peers.heard(session, [("edge", 50, 7), ("nobody", 50, 7)]))
    world.do(lambda session: peers.heard(session, [("edge", 60, None)]))
    (entry,) = world.registry.look(directory.sentrys)
    assert (entry.last_seen, entry.cursor, entry.fixed) == (60, 7, True)
