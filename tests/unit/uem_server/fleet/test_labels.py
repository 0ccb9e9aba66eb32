"""Labels, and the policies that devices have by them."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem_server import directory
from sentry_runtime.uem_server.judging import UnknownSecurityPolicyError
from sentry_runtime.uem_server.policies import Policies, UnknownPolicyError
from sentry_runtime.uem_server.resources import LabelDevice, LabelEntry, TunnelEntry, UserEntry
from tests.unit.uem_server.fleet.conftest import ANNA, PHONE, POLICIES, SECURITY, TABLET, World, on


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
