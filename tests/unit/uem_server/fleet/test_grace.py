"""The grace of devices that nobody registered: once, and not for who invents device ids."""

from typing import Any

import pytest
from sqlalchemy import func, select

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem_server import graces
from sentry_runtime.uem_server.tables import Device, SpentGrace
from tests.unit.uem_server.fleet.conftest import ANNA, PHONE, World


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
