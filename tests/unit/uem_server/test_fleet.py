"""Users, labels, security policies, links, grace, app tunnels and Sentrys in the registry, on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State, WipeKind
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem.api import Contact, Decision, Information
from sentry_runtime.uem.security import Platform, SecurityPolicy
from sentry_runtime.uem_server import directory, graces, imports, judging, peers, sheets
from sentry_runtime.uem_server.compliance import DAY_SECONDS
from sentry_runtime.uem_server.judging import Security, UnknownSecurityPolicyError
from sentry_runtime.uem_server.links import LinkError
from sentry_runtime.uem_server.policies import Policies, UnknownPolicyError
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.resources import (
    FlagDevice,
    LabelDevice,
    LabelEntry,
    LinkDevice,
    Noted,
    OnDevice,
    PostureEntry,
    RegisterDevice,
    ReportDevice,
    TunnelEntry,
    UserEntry,
)
from sentry_runtime.uem_server.tables import Base, Device, Due, SpentGrace, open_engine
from sentry_runtime.uem_server.verbs import VERBS, Said
from sentry_runtime.uem_server.wipes import NotNowError

ANNA = "anna@lab.test"
PHONE, TABLET, SERIAL = DeviceKey("PHONE", ANNA), DeviceKey("TABLET", ANNA), DeviceKey("SERIAL", ANNA)
POLICIES = Policies({"strict": Policy(device_password_enabled=True), "lax": Policy(allow_camera=True)}, "lax")
SECURITY = Security(
    {
        "managed": SecurityPolicy(minimum_os={Platform.IOS: "17"}, require_encryption=True, contact_days=7),
        "open": SecurityPolicy(compromised="pass"),
    }
)
GOOD = PostureEntry(platform=Platform.IOS, os_version="17.5", compromised=False, encrypted=True, contact=1)


class Clock:
    """The time, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class World:
    """A registry, its clock, and an administrator's words."""

    def __init__(self, database: str) -> None:
        self.clock = Clock()
        self._database = database
        self._engines: list[Engine] = []
        self.registry = self.open()

    def open(self, **more: Any) -> Registry:
        """Open it, as after a restart with these settings."""
        settings: dict[str, Any] = {"auto_block": True, "policies": POLICIES, "security": SECURITY, "now": self.clock}
        self._engines.append(open_engine(self._database))
        self.registry = Registry(self._engines[-1], **(settings | more))
        return self.registry

    def close(self) -> None:
        """Let go of the database."""
        for engine in self._engines:
            engine.dispose()

    def say(self, verb: str, body: OnDevice) -> list[Decision]:
        """An administrator's word."""
        key = DeviceKey(body.device_id, body.principal)
        return VERBS[verb].act(self.registry, Said(body=body, key=key, names=Names(), by="olga"))

    def do(self, job: Callable[[Session], object]) -> list[Decision]:
        """A change beside the devices, and all that follows from it."""
        _, changed = self.registry.amend(lambda session, _next: job(session))
        more = True
        while more:
            further, more = self.registry.judge()
            changed += further
        return changed

    def label(self, name: str, **more: object) -> None:
        """There is such a label."""
        entry = msgspec.convert({"name": name, **more}, LabelEntry)
        self.do(lambda session: directory.put_label(session, entry, POLICIES, SECURITY))

    def word(self, key: DeviceKey) -> Decision:
        """What is said of the device now."""
        (found,) = (
            one
            for one in self.registry.changes(0, 1_000).decisions
            if (one.device_id, one.principal) == (key.device_id, key.principal)
        )
        return found

    def contact(self, key: DeviceKey) -> Decision:
        """A device comes."""
        seen = int(self.clock.now)
        return self.registry.contact(
            Contact(device_id=key.device_id, principal=key.principal, device_type="iPhone", seen=seen)
        )


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """With an empty database."""
    made = World(database)
    yield made
    made.close()


def on(key: DeviceKey, kind: type[OnDevice] = Noted, **more: object) -> OnDevice:
    """A word on this device."""
    return kind(device_id=key.device_id, principal=key.principal, **more)


# --- labels and policies ---


def test_a_label_gives_its_policy_to_the_users_devices_and_to_labelled_ones(world: World) -> None:
    """The change is a new version of each; the default comes back with the label gone."""
    for key in (PHONE, TABLET, DeviceKey("OTHER", "bert")):
        world.registry.register(key, "", "")
    world.label("staff", policy="strict")
    changed = world.do(lambda session: directory.put_user(session, UserEntry(principal=ANNA, labels=("staff",))))
    assert {one.device_id: one.policy for one in changed} == {
        "PHONE": POLICIES.named["strict"],
        "TABLET": POLICIES.named["strict"],
    }
    (other,) = world.say("label", on(DeviceKey("OTHER", "bert"), LabelDevice, labels=("staff",)))
    assert other.policy == POLICIES.named["strict"]
    gone = world.do(lambda session: directory.drop_label(session, "staff"))
    assert {one.device_id: one.policy for one in gone} == dict.fromkeys(
        ("PHONE", "TABLET", "OTHER"), POLICIES.named["lax"]
    )
    assert world.registry.listed(0, 10).devices[0].labels == ()


def test_of_several_labels_the_lowest_rank_speaks_and_an_assignment_stands_above(world: World) -> None:
    """A label that names no policy does not speak of it."""
    world.registry.register(PHONE, "", "")
    world.label("silent", rank=0)
    world.label("second", rank=20, policy="strict")
    world.label("first", rank=10, policy="lax")
    world.say("label", on(PHONE, LabelDevice, labels=("silent", "second", "first")))
    assert world.word(PHONE).policy == POLICIES.named["lax"]
    world.label("second", rank=5, policy="strict")
    assert world.word(PHONE).policy == POLICIES.named["strict"]
    assert world.registry.assign(PHONE, "lax")[0].policy == POLICIES.named["lax"]


def test_a_policy_that_changes_while_the_uem_is_down_reaches_the_devices_of_its_labels(world: World) -> None:
    """Under a new version each; others keep theirs."""
    world.registry.register(PHONE, "", "")
    world.registry.register(DeviceKey("OTHER", "bert"), "", "")
    world.label("staff", policy="strict")
    world.say("label", on(PHONE, LabelDevice, labels=("staff",)))
    before = world.registry.counts()["version"]
    stricter = Policy(device_password_enabled=True, allow_camera=False)
    world.open(policies=Policies({**POLICIES.named, "strict": stricter}, "lax"))
    assert [(one.device_id, one.policy) for one in world.registry.changes(before, 10).decisions] == [
        ("PHONE", stricter)
    ]


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (lambda s: directory.put_user(s, UserEntry(principal="a", labels=("no",))), directory.DirectoryError),
        (lambda s: directory.put_label(s, LabelEntry(name="a", policy="no"), POLICIES, SECURITY), UnknownPolicyError),
        (
            lambda s: directory.put_label(s, LabelEntry(name="a", security_policy="no"), POLICIES, SECURITY),
            UnknownSecurityPolicyError,
        ),
        (
            lambda s: directory.put_tunnel(s, TunnelEntry(name="a", host="h", port=1, labels=("no",))),
            directory.DirectoryError,
        ),
    ],
)
def test_what_leads_nowhere_is_refused_and_nothing_stands(
    world: World, job: Callable[[Session], object], error: type[Exception]
) -> None:
    """The name is in the message."""
    with pytest.raises(error, match="'no'"):
        world.do(job)
    assert world.registry.look(directory.all_labels) == []
    assert world.registry.look(lambda session: directory.users(session, "", 10)) == []


# --- compliance ---


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


# --- grace ---


def test_an_unregistered_device_passes_until_its_grace_is_over(world: World) -> None:
    """Then it is blocked, under a new version; asked again or after its removal it gets no second grace."""
    world.open(grace_seconds=1_000)
    first = world.contact(PHONE)
    assert (first.state, first.registered) == (State.ALLOWED, False)
    world.clock.now += 999
    assert world.registry.judge()[0] == []
    assert world.contact(PHONE) == first
    world.clock.now += 1
    ((over,), _) = world.registry.judge()
    assert (over.state, over.reasons) == (State.BLOCKED, (Reason.UNREGISTERED,))
    assert over.version > first.version
    world.registry.remove(PHONE)
    assert world.contact(PHONE).state is State.BLOCKED
    assert world.registry.register(PHONE, "", "")[0].state is State.ALLOWED


def stay_away(world: World, days: int = 61) -> None:
    """So long that nothing is left of a device that nobody decided about."""
    for _ in range(2):
        world.clock.now += days * 86_400 / 2 + 1
        while world.registry.expire():
            pass
    world.registry.expire()


def rows_of(world: World, table: type[Any]) -> int:
    """How many rows there are."""
    return world.registry.look(lambda session: session.scalar(select(func.count()).select_from(table)) or 0)


def test_who_stays_away_until_the_device_is_forgotten_gets_no_second_grace(world: World) -> None:
    """The row goes, a digest of it stays; another device of the user has a grace of its own."""
    world.open(grace_seconds=86_400)
    assert world.contact(PHONE).state is State.ALLOWED
    stay_away(world, 122)
    assert rows_of(world, Device) == 0
    again = world.contact(PHONE)
    assert (again.state, again.reasons) == (State.BLOCKED, (Reason.UNREGISTERED,))
    assert world.contact(DeviceKey("TABLET", ANNA)).state is State.ALLOWED
    stay_away(world, 122)
    assert world.contact(PHONE).state is State.BLOCKED
    assert rows_of(world, SpentGrace) == 2


def test_who_invents_device_ids_has_had_the_graces_of_that_user(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number none begins, and no more is kept; other users have theirs."""
    monkeypatch.setattr(graces, "PER_USER", 5)
    world.open(grace_seconds=86_400)
    for batch in range(3):
        for number in range(4):
            world.contact(DeviceKey(f"E{batch}{number}", f"eve@domain{number}"))
        stay_away(world, 122)
    assert rows_of(world, SpentGrace) == 5
    assert world.contact(DeviceKey("NEW", "eve@elsewhere")).state is State.BLOCKED
    assert world.contact(DeviceKey("NEW", "bert@elsewhere")).state is State.ALLOWED


def test_of_all_users_together_the_oldest_graces_are_forgotten_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes principals without end fills no disk."""
    monkeypatch.setattr(graces, "KEPT", 3)
    world.open(grace_seconds=86_400)
    for number in range(5):
        world.clock.now += 10
        world.contact(DeviceKey("C1", f"user{number}"))
    stay_away(world, 122)
    assert rows_of(world, SpentGrace) == 3
    assert world.contact(DeviceKey("C1", "user0")).state is State.ALLOWED
    assert world.contact(DeviceKey("C1", "user4")).state is State.BLOCKED


def test_without_a_grace_nobody_who_had_one_keeps_it(world: World) -> None:
    """The setting holds from the next start on."""
    world.open(grace_seconds=1_000)
    world.contact(PHONE)
    world.open(grace_seconds=0)
    assert world.word(PHONE).state is State.BLOCKED


# --- links ---


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


# --- app tunnels ---


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


# --- Sentrys ---

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


# --- sheets ---


def put(world: World, text: str) -> int:
    """Import a sheet of devices."""
    lines = sheets.read(sheets.DEVICES, text.encode())
    return world.registry.amend(lambda session, following: imports.put_devices(session, lines, Names(), following))[0]


def test_an_exported_list_that_is_imported_again_changes_nobodys_state(world: World) -> None:
    """Unregistered devices stay so, and words by hand stand."""
    world.registry.register(PHONE, "iPhone", "hers")
    world.contact(TABLET)
    world.registry.register(SERIAL, "", "")
    world.registry.set_state(SERIAL, State.BLOCKED, [Reason.MANUAL], "lost")
    before = world.registry.listed(0, 10).devices
    text = sheets.head(sheets.DEVICES) + sheets.lines(sheets.DEVICES, map(sheets.device_row, before))
    assert put(world, text) == 3
    after = {one.device_id: msgspec.structs.replace(one, version=0) for one in world.registry.listed(0, 10).devices}
    assert after == {one.device_id: msgspec.structs.replace(one, version=0) for one in before}


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ("NEW,bert,yes,nowhere", "line 3, column `labels`: there is no label 'nowhere'"),
        ("NEW,bert,no,", "line 3, column `registered`: the device is not known"),
        ("NEW,not a name,yes,", "line 3, column `principal`: a principal is"),
        ("new\x07,bert,yes,", "line 3, column `device_id`: a control character"),
        ("first,carla,yes,", "line 3, column `device_id`: the same as in line 2"),
        ("WIPED,anna@lab.test,yes,", "line 3: device WIPED of anna@lab.test: a wipe of it is pending"),
    ],
)
def test_a_sheet_with_one_wrong_line_changes_nothing(world: World, last: str, why: str) -> None:
    """All or nothing, and the line is named."""
    wiped = DeviceKey("WIPED", ANNA)
    world.registry.register(wiped, "", "")
    world.registry.order_wipe(wiped, WipeKind.DEVICE, "", "")
    with pytest.raises(sheets.SheetError) as error:
        put(world, f"device_id,principal,registered,labels\nFIRST,carla,yes,\n{last}\n")
    assert str(error.value).startswith(why)
    assert [one.device_id for one in world.registry.listed(0, 10).devices] == ["WIPED"]


def test_sheets_of_labels_and_users_are_taken(world: World) -> None:
    """A person's name in any form is one person."""
    labels = sheets.read(sheets.LABELS, b"name,rank,policy\nstaff,5,strict\n")
    world.do(lambda session: imports.put_labels(session, labels, POLICIES, SECURITY))
    world.registry.register(PHONE, "", "")
    users = sheets.read(sheets.USERS, b"principal,full_name,labels\nANNA@lab.test,Anna,staff\n")
    changed = world.do(lambda session: imports.put_users(session, users, Names()))
    assert [one.policy for one in changed] == [POLICIES.named["strict"]]
    twice = sheets.read(sheets.USERS, b"principal\nanna@lab.test\nLAB.TEST\\anna\n")
    with pytest.raises(sheets.SheetError, match="line 3, column `principal`: the same as in line 2"):
        world.do(lambda session: imports.put_users(session, twice, Names()))
    bad = sheets.read(sheets.LABELS, b"name,policy\nfine,\nother,none\n")
    with pytest.raises(sheets.SheetError, match="line 3, column `policy`: there is no policy 'none'"):
        world.do(lambda session: imports.put_labels(session, bad, POLICIES, SECURITY))
    assert [one.name for one in world.registry.look(directory.all_labels)] == ["staff"]


# --- what goes, and what comes from before ---


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
