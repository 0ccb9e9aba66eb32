"""How many devices nobody decided about are kept, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.room import (
    KEPT_SECONDS,
    PER_PRINCIPAL,
    PER_USER,
    REMOVAL_KEPT_SECONDS,
    Ceiling,
    NoRoomError,
)
from sentry_runtime.uem_server.tables import Device, open_engine

START = 1_000_000


class Box:
    """A registry with a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_engine(f"sqlite:///{folder}/uem.sqlite")
        self.now = START
        self.registry = Registry(self.engine, auto_block=True, now=lambda: self.now)

    def contact(self, device_id: str, principal: str = "eve@lab.test") -> Decision:
        """A first contact, now."""
        return self.registry.contact(
            Contact(device_id=device_id, principal=principal, device_type="iPhone", seen=self.now)
        )

    def rows(self) -> int:
        """How many rows the table has, removed ones too."""
        with Session(self.engine) as session:
            return session.scalar(select(func.count()).select_from(Device)) or 0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """Empty."""
    made = Box(tmp_path)
    yield made
    made.engine.dispose()


def test_a_principal_has_a_bounded_number_of_devices_that_nobody_registered(box: Box) -> None:
    """The next is refused and leaves nothing behind; those that are known are answered, other people are not concerned."""
    first = [box.contact(f"R{number}") for number in range(PER_PRINCIPAL)]
    with pytest.raises(NoRoomError, match=rf"eve@lab.test has {PER_PRINCIPAL} devices that nobody registered"):
        box.contact("R999")
    assert (box.rows(), box.contact("R0")) == (PER_PRINCIPAL, first[0])
    assert box.contact("C1", "anna@lab.test").reasons == (Reason.UNREGISTERED,)


def test_a_sentry_that_invents_people_has_an_end(box: Box) -> None:
    """Each has one device, so no bound of a person's helps. What is known is answered, administrators go on."""
    box.registry._ceiling = Ceiling(most=10)
    first = [box.contact("C1", f"user{number}") for number in range(10)]
    with pytest.raises(NoRoomError, match="10 devices are known"):
        box.contact("C1", "user10")
    assert (box.rows(), box.contact("C1", "user0")) == (10, first[0])
    box.registry.register(DeviceKey("C1", "anna"), "", "")
    box.registry.remove(DeviceKey("C1", "user1"))
    with pytest.raises(NoRoomError):
        box.contact("C1", "user10")


def test_an_administrator_is_never_refused_and_makes_room(box: Box) -> None:
    """Registered and blocked devices do not count."""
    for number in range(PER_PRINCIPAL):
        box.contact(f"R{number}")
    box.registry.register(DeviceKey("NEW", "eve@lab.test"), "", "")
    box.registry.register(DeviceKey("R0", "eve@lab.test"), "", "")
    box.registry.set_state(DeviceKey("R1", "eve@lab.test"), State.BLOCKED, [Reason.MANUAL], "")
    box.registry.remove(DeviceKey("R2", "eve@lab.test"))
    for number in range(3):
        box.contact(f"S{number}")
    with pytest.raises(NoRoomError):
        box.contact("S3")


def test_other_domains_before_the_user_do_not_make_room_without_end(box: Box) -> None:
    """A mail server may take any."""
    for number in range(PER_USER):
        box.contact(f"R{number}", f"eve@domain{number // PER_PRINCIPAL}.test")
    with pytest.raises(NoRoomError, match=rf"users called eve have {PER_USER} devices"):
        box.contact("R999", "eve@fresh.test")


def test_what_nobody_decided_about_is_removed_in_time_and_may_come_again(box: Box) -> None:
    """As a removal with a new version in the feed; what an administrator spoke of stays."""
    first = box.contact("R0")
    box.registry.register(DeviceKey("C1", "eve@lab.test"), "", "")
    box.now += KEPT_SECONDS - 1
    assert box.registry.expire() == []
    box.now += 1
    gone = box.registry.expire()
    assert [(word.device_id, word.removed) for word in gone] == [("R0", True)]
    assert box.registry.changes(first.version + 1, 10).decisions == tuple(gone)
    assert box.registry.expire() == []
    again = box.contact("R0")
    assert (again.state, again.removed, again.version > gone[0].version) == (State.BLOCKED, False, True)


def test_the_note_of_such_a_removal_goes_in_time_and_that_of_an_administrators_does_not(box: Box) -> None:
    """A Sentry that was away must still hear of the second, however late."""
    box.contact("R0")
    box.contact("R1")
    box.registry.register(DeviceKey("R1", "eve@lab.test"), "", "")
    box.registry.remove(DeviceKey("R1", "eve@lab.test"))
    box.contact("R1")
    box.now += KEPT_SECONDS
    assert len(box.registry.expire()) == 2
    assert box.rows() == 2
    box.now += REMOVAL_KEPT_SECONDS
    assert box.registry.expire() == []
    assert [(word.device_id, word.removed) for word in box.registry.changes(0, 10).decisions] == [("R1", True)]
    assert box.rows() == 1
