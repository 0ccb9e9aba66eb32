"""What the registry says to Sentrys in the Cloud manner, on either database."""

import pytest
from sqlalchemy import not_

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import DecisionPage
from sentry_runtime.uem.cloud_api import Tunnel
from sentry_runtime.uem_server.candidates import by_hand, unknown
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.room import PER_PRINCIPAL, NoRoomError
from tests.unit.uem_server.test_registry import ANNA, HEX, contact, make, registry, words

__all__ = ["make", "registry"]  # fixtures

BOB = DeviceKey("B1", "bob@lab.test")
BARE = DeviceKey("C1", "anna")
STRANGER = DeviceKey("C1", "anna@other.test")


def feed(registry: Registry, after: int = 0, limit: int = 100, *, actions: bool) -> DecisionPage:
    """One check-in's page."""
    return registry.check_in(after, limit, by_hand() if actions else not_(by_hand()))


def test_candidates_are_the_spellings_of_the_device_for_the_same_person(registry: Registry) -> None:
    """The exact one first; another's device with the same id is none, nor is another device of the same user."""
    for key in (HEX, BARE, STRANGER, BOB, ANNA, DeviceKey("C9", ANNA.principal)):
        registry.register(key, "", "")
    version, found = registry.candidates(contact(ANNA))
    assert [(one.device_id, one.principal) for one in found] == [
        ("C1", "anna@lab.test"),
        ("4331", "anna@lab.test"),
        ("C1", "anna"),
    ]
    assert version > max(one.version for one in found)


def test_each_question_has_a_number_of_its_own(registry: Registry) -> None:
    """No later change has it, and the feeds end behind it."""
    first, _ = registry.candidates(contact(ANNA))
    second, _ = registry.candidates(contact(ANNA))
    (changed,) = registry.register(BOB, "", "")
    assert first < second < changed.version
    assert feed(registry, actions=True).next == changed.version


def test_for_whom_there_is_no_room_there_are_no_candidates(registry: Registry) -> None:
    """Else the Sentry lets in what the UEM never blocks again; a device that is known is answered as ever."""
    for number in range(PER_PRINCIPAL):
        registry.contact(contact(DeviceKey(f"R{number}", ANNA.principal)))
    with pytest.raises(NoRoomError):
        registry.candidates(contact(DeviceKey("R999", ANNA.principal)))
    assert [one.device_id for one in registry.candidates(contact(DeviceKey("R0", ANNA.principal)))[1]] == ["R0"]
    assert registry.candidates(contact(BOB))[1] == ()


def test_what_a_sentry_has_without_room_for_it_is_told_as_removed(registry: Registry) -> None:
    """Under a version that is newer than what the Sentry has; told again it changes nothing, and what is known stands."""
    version, _ = registry.candidates(contact(ANNA))
    registry.leave_out(ANNA)
    (gone,) = feed(registry, actions=True).decisions
    assert (gone.device_id, gone.removed) == (ANNA.device_id, True)
    assert gone.version > version
    registry.leave_out(ANNA)
    registry.register(BOB, "", "")
    registry.leave_out(BOB)
    assert feed(registry, actions=True).decisions == (gone,)
    assert words(feed(registry, actions=False).decisions) == {"B1": "allowed"}


def test_a_removed_device_is_no_candidate(registry: Registry) -> None:
    """It is unmanaged."""
    registry.register(ANNA, "", "")
    registry.remove(ANNA)
    assert registry.candidates(contact(ANNA))[1] == ()


def test_a_decision_is_in_the_feed_of_what_it_is_now(registry: Registry) -> None:
    """Compliance until an administrator speaks, and again when that is taken back."""
    registry.register(ANNA, "", "")
    registry.register(BOB, "", "")
    assert words(feed(registry, actions=False).decisions) == {"C1": "allowed", "B1": "allowed"}
    registry.flag(ANNA, Reason.COMPROMISED, holds=True)
    registry.set_state(BOB, State.BLOCKED, [Reason.MANUAL], "")
    assert words(feed(registry, actions=False).decisions) == {"C1": "blocked"}
    assert words(feed(registry, actions=True).decisions) == {"B1": "blocked"}
    registry.remove(ANNA)
    registry.register(BOB, "", "")
    assert words(feed(registry, actions=False).decisions) == {"B1": "allowed"}
    assert words(feed(registry, actions=True).decisions) == {"C1": "removed"}


def test_a_feed_is_paged_and_ends_at_the_last_version_of_all(registry: Registry) -> None:
    """Whichever feed that was in."""
    for number in range(5):
        registry.register(DeviceKey(f"C{number}", ANNA.principal), "", "")
    (last,) = registry.set_state(BOB, State.BLOCKED, [Reason.MANUAL], "")
    seen, after, more = 0, 0, True
    while more:
        page = feed(registry, after, 2, actions=False)
        seen, after, more = seen + len(page.decisions), page.next, page.more
    assert (seen, after) == (5, last.version)
    assert feed(registry, after, actions=False).decisions == ()


def test_what_an_inventory_has_that_is_not_known(registry: Registry) -> None:
    """Not what is known, nor what was removed since; what was removed before its Sentry decided on it anew."""
    (known,) = registry.register(ANNA, "", "")
    (there,) = registry.register(BOB, "", "")
    (gone,) = registry.remove(BOB)
    rows = [
        Tunnel(device_id=key.device_id, principal=key.principal, state=State.ALLOWED, version=version)
        for key, version in ((ANNA, known.version), (BOB, there.version), (BOB, gone.version + 1), (HEX, 1))
    ]
    assert registry.look(lambda session: unknown(session, rows)) == rows[2:]
    assert registry.look(lambda session: unknown(session, [])) == []
