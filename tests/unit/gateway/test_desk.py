"""What administrators ask of redirections."""

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.principal import Names
from sentry_runtime.gateway.desk import PAGE_BYTES, RedirectDesk
from sentry_runtime.gateway.redirects import REMEMBERED_SECONDS, Forgotten, Location, News

EAST = Location("https", "east.test", 443)
SITE = Names({"lab": "lab.test"}, "lab.test")


@pytest.fixture
def told() -> list[News]:
    """What the workers were told."""
    return []


@pytest.fixture
def desk(told: list[News]) -> RedirectDesk:
    """A desk whose clock stands still."""
    return RedirectDesk(told.append, lambda: SITE, lambda: 100.0)


def result(line: bytes) -> object:
    """What an answer holds."""
    answer = msgspec.json.decode(line, type=control.Answer)
    assert answer.error is None
    return msgspec.json.decode(answer.result)


def page(desk: RedirectDesk, after: DeviceKey | None = None) -> list[control.Redirected]:
    """One page of the list."""
    return msgspec.convert(result(desk.serve(control.ListRedirects(after=after))), list[control.Redirected])


def test_the_list_comes_in_pages_that_a_socket_takes_at_once(desk: RedirectDesk) -> None:
    """Each begins behind the last entry of the one before, and every entry is in one."""
    keys = [DeviceKey(f"PHONE{number:04}", "anna@lab.test") for number in range(2_000)]
    for key in reversed(keys):
        desk.known.learn(key, EAST, "mail")
    found: list[control.Redirected] = []
    while more := page(desk, found[-1].key if found else None):
        assert len(msgspec.json.encode(more)) <= PAGE_BYTES + 2
        found += more
    assert [one.key for one in found] == keys
    assert {(one.backend, one.host, one.port, one.seconds) for one in found} == {
        ("mail", "east.test", 443, REMEMBERED_SECONDS)
    }


def test_one_device_is_cleared_by_any_name_it_has(desk: RedirectDesk, told: list[News]) -> None:
    """The text or its hex, in any case; the user in any form that means the same to the site."""
    keys = [DeviceKey("PHONE1", "anna@lab.test"), DeviceKey("PHONE1", "bert@lab.test")]
    forms = ("LAB.test\\Anna", "LAB\\anna", "anna", "anna@lab.test")
    for device, who in ((device, who) for device in ("phone1", b"PHONE1".hex()) for who in forms):
        for key in keys:
            desk.known.learn(key, EAST, "mail")
        assert result(desk.serve(control.ClearRedirects(device_id=device, principal=who))) == 1
        assert [one.key for one in page(desk)] == keys[1:]
        assert told[-1] == Forgotten(keys=(keys[0],))


def test_all_are_cleared_at_once(desk: RedirectDesk, told: list[News]) -> None:
    """The workers forget also what this process has not heard of yet."""
    desk.known.learn(DeviceKey("PHONE1", "anna@lab.test"), EAST, "mail")
    assert result(desk.serve(control.ClearRedirects())) == 1
    assert (page(desk), told) == ([], [Forgotten(keys=None)])


@pytest.mark.parametrize(("device", "who"), [("PHONE1", ""), ("", "anna"), ("PHONE1", "an na")])
def test_half_a_device_is_refused(desk: RedirectDesk, told: list[News], device: str, who: str) -> None:
    """Nothing is cleared by mistake."""
    line = desk.serve(control.ClearRedirects(device_id=device, principal=who))
    answer = msgspec.json.decode(line, type=control.Answer)
    assert answer.error is not None
    assert (answer.error.kind, told) == ("invalid", [])
