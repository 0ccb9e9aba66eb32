"""Which backend a device gets: its own, another while that is down, and the one that it was sent to."""

from dataclasses import dataclass, field

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.backends import Backends, BackendsDownError
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.health import Change, Health
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Seat, pools
from sentry_runtime.gateway.redirects import HOPS, Forgotten, Learned, News
from sentry_runtime.settings import Backend, Gateway, Redirects, Routing, ServerTls

EAS = b"/Microsoft-Server-ActiveSync"
KEY = DeviceKey("PHONE1", "anna@lab.test")
SEAT = Seat("PHONE1", "anna@lab.test")
CLAIM = Claim(KEY, (), "iPhone", "anna@lab.test", "Sync", "14.1", None)
REDIRECTS = Redirects(hosts=("east.test", "west.test"), networks=("192.0.2.0/24",))


@dataclass
class Notes:
    """Everything an audience is told."""

    changes: list[tuple[str, bool, str]] = field(default_factory=list)
    redirects: list[tuple[str, str, str]] = field(default_factory=list)
    told: list[News] = field(default_factory=list)

    def backend_changed(self, backend: str, change: Change) -> None:
        self.changes.append((backend, change.up, change.reason))

    def backend_untrusted(self, backend: str, verdict: str) -> None:
        raise AssertionError("nobody is dialled here")

    def redirected(self, seat: Seat, backend: str, host: str, refusal: str) -> None:
        assert seat == SEAT
        self.redirects.append((backend, host, refusal))

    def news(self, news: News) -> None:
        self.told.append(news)


@dataclass
class Connection:
    """A connection to a backend, as far as the choice is concerned."""

    target: Target
    generation: int
    logged_on: bool = False


def made(*names: str, **changes: object) -> tuple[Backends, Notes]:
    """Plain backends of these names on 192.0.2.1, with this routing."""
    backends = tuple(Backend(name=name, host="192.0.2.1", port=80, server_name=f"{name}.test") for name in names)
    routing = msgspec.structs.replace(Routing(redirects=REDIRECTS), **changes)
    tls = ServerTls(certificate="", key="")
    gateway = Gateway(listeners=(), tls=tls, backends=backends, routing=routing)
    targets = [Target(one, None, Health(routing.passive, routing.active)) for one in backends]
    notes = Notes()
    return Backends(targets, pools(gateway), routing, 1.0, notes), notes


def names(backends: Backends, seat: Seat = SEAT) -> list[str]:
    """In which order they are tried."""
    return [target.backend.name for target in backends.order(seat)]


def check(backends: Backends, name: str, *faults: str) -> None:
    """The backend of this name is checked so often."""
    (target,) = [one for one in backends.targets if one.backend.name == name]
    for fault in faults:
        backends.checked(target, fault)


DOWN = ("backend_refused",) * 3


async def test_one_that_is_down_is_tried_last_and_its_devices_come_back() -> None:
    """The order of the others does not change, and each change is told once."""
    backends, notes = made("a", "b", "c")
    before = names(backends)
    check(backends, before[0], *DOWN, *DOWN)
    assert names(backends) == [*before[1:], before[0]]
    assert notes.changes == [(before[0], False, "backend_refused")]
    (target,) = [one for one in backends.targets if one.backend.name == before[0]]
    assert target.health is not None
    target.health._dead_until = 0.0  # the dead time is over
    check(backends, before[0], "", "")
    assert names(backends) == before
    assert notes.changes[1:] == [(before[0], True, "check_good")]


async def test_where_all_are_down_they_are_tried_all_the_same() -> None:
    """Health chooses; it refuses nobody."""
    backends, _ = made("a", "b")
    before = names(backends)
    assert backends.any_up
    for name in "ab":
        check(backends, name, *DOWN)
    assert names(backends) == before
    assert not backends.any_up


async def test_a_connection_is_kept_while_it_leads_where_the_device_belongs() -> None:
    """Whatever happens to backends that are not the device's; when its own is back, the next request goes there."""
    backends, _ = made("a", "b", "c")
    own, second, third = names(backends)
    connection = Connection(backends.order(SEAT)[0], backends.generation)
    check(backends, third, *DOWN)
    assert connection.generation != backends.generation
    assert backends.keeps(connection, CLAIM)
    assert connection.generation == backends.generation  # so that the next request costs one comparison
    check(backends, own, *DOWN)
    assert not backends.keeps(connection, CLAIM)
    moved = Connection(backends.order(SEAT)[0], backends.generation)
    assert moved.target.backend.name == second
    assert backends.keeps(moved, CLAIM)
    (target,) = [one for one in backends.targets if one.backend.name == own]
    assert target.health is not None
    target.health._dead_until = 0.0
    check(backends, own, "", "")
    assert not backends.keeps(moved, CLAIM)
    assert backends.keeps(connection, CLAIM)


async def test_a_connection_that_has_logged_on_is_kept_wherever_the_device_belongs() -> None:
    """The log-on could not come along."""
    backends, _ = made("a", "b")
    connection = Connection(backends.order(SEAT)[0], backends.generation, logged_on=True)
    check(backends, names(backends)[0], *DOWN)
    assert backends.keeps(connection, CLAIM)


async def test_a_device_is_served_by_its_pool_and_where_it_was_sent() -> None:
    """Not by a server of another domain, nor by one that it is sent to no longer."""
    backends, _ = made("a", "b", "c", domains={"other.test": ("c",)})
    strange = Seat("PHONE1", "anna@other.test")
    by_name = {target.backend.name: target for target in backends.targets}
    assert [backends.serves(by_name[name], SEAT) for name in "abc"] == [True, True, False]
    assert [backends.serves(by_name[name], strange) for name in "abc"] == [False, False, True]
    sent = backends.follow(SEAT, by_name["a"], location("east.test"), 0)
    assert backends.serves(sent, SEAT)
    assert not backends.serves(sent, strange)
    backends.forget((KEY,))
    assert not backends.serves(sent, SEAT)


def location(host: str) -> bytes:
    """What a 451 says."""
    return b"http://" + host.encode() + EAS


async def test_a_followed_451_is_remembered_and_told() -> None:
    """The device's next connection goes there first; the configured ones follow, should it be gone."""
    backends, notes = made("a")
    target = backends.follow(SEAT, backends.order(SEAT)[0], location("east.test"), 0)
    assert (target.backend.host, target.backend.port, target.health, target.origin) == ("east.test", 80, None, "a")
    assert target.within is not None
    assert names(backends) == ["east.test", "a"]
    assert names(backends, Seat("PHONE2", "anna@lab.test")) == ["a"]
    assert notes.redirects == [("a", "east.test", "")]
    (news,) = notes.told
    assert isinstance(news, Learned)
    # A second hop from there counts as the first backend's word.
    again = backends.follow(SEAT, target, location("west.test"), 1)
    assert (again.backend.host, again.origin) == ("west.test", "a")
    assert names(backends) == ["west.test", "a"]


async def test_another_worker_that_hears_of_it_goes_there_too() -> None:
    """And forgets it with the others."""
    one, notes = made("a", "b")
    other, _ = made("a", "b")
    one.follow(SEAT, one.order(SEAT)[0], location("east.test"), 0)
    other.hear(notes.told[0])
    assert names(other) == names(one)
    other.hear(Forgotten(keys=(KEY,)))
    assert names(other) == names(one)[1:]


@pytest.mark.parametrize(
    ("said", "hops", "reason", "host"),
    [
        (location("evil.test"), 0, "redirect_host", "evil.test"),
        (b"https://east.test" + EAS, 0, "redirect_scheme", "east.test"),
        (b"nonsense", 0, "redirect_malformed", ""),
        (location("east.test"), HOPS, "redirect_loop", ""),
    ],
)
async def test_a_451_that_is_not_followed_is_told_and_the_device_begins_anew(
    said: bytes, hops: int, reason: str, host: str
) -> None:
    """A place that sends it on to nowhere must not keep it."""
    backends, notes = made("a")
    place = backends.follow(SEAT, backends.order(SEAT)[0], location("east.test"), 0)
    with pytest.raises(BackendsDownError, match=reason):
        backends.follow(SEAT, place, said, hops)
    assert notes.redirects[1:] == [("east.test", host, reason)]
    assert names(backends) == ["a"]
    assert notes.told[1:] == [Forgotten(keys=(KEY,))]


async def test_without_listed_hosts_nothing_is_followed() -> None:
    """As before there was such a setting."""
    backends, notes = made("a", redirects=Redirects())
    with pytest.raises(BackendsDownError, match="backend_redirects"):
        backends.follow(SEAT, backends.order(SEAT)[0], location("east.test"), 0)
    assert (backends.follows, notes.redirects, notes.told) == (False, [], [])


async def test_a_451_to_a_configured_backend_leads_to_that_one() -> None:
    """It needs no listing, keeps its own trust and health, and is passed over while it is down."""
    backends, _ = made("a", "b")
    own, other = names(backends)
    target = backends.follow(SEAT, backends.order(SEAT)[0], location(f"{other}.test"), 0)
    assert target in backends.targets
    assert (target.backend.name, target.within) == (other, None)
    assert names(backends) == [other, own]
    check(backends, other, *DOWN)
    assert names(backends) == [own, other]


async def test_a_451_leads_to_no_backend_of_another_domain() -> None:
    """A pool's server cannot hand out the way into another pool."""
    backends, _ = made("a", "b", domains={"other.test": ("b",)})
    with pytest.raises(BackendsDownError, match="redirect_host"):
        backends.follow(SEAT, backends.order(SEAT)[0], location("b.test"), 0)


async def test_what_was_remembered_under_other_settings_is_judged_again() -> None:
    """A host that is not listed any more is not gone to."""
    before, notes = made("a")
    before.follow(SEAT, before.order(SEAT)[0], location("east.test"), 0)
    after, _ = made("a", redirects=Redirects(hosts=("west.test",)))
    after.hear(notes.told[0])
    assert names(after) == ["a"]
    renamed, _ = made("b")
    renamed.hear(notes.told[0])
    assert names(renamed) == ["b"]


async def test_answers_count_by_their_status() -> None:
    """A backend's own 502 to 504 is a failure unless it slows one device down; a refusal is an answer."""
    slow = ((b"Retry-After", b"30"),)
    throttled = ((b"X-MS-ASThrottle", b"CommandFrequency"),)
    for status, fields in ((503, slow), (503, throttled), (500, ()), (401, ()), (449, ()), (200, ())):
        backends, notes = made("a")
        for who in "abcd":
            backends.answered(backends.targets[0], who, status, fields)
        assert notes.changes == []
    for status in (502, 503, 504):
        backends, notes = made("a")
        for who in "abc":
            backends.answered(backends.targets[0], who, status, ())
        assert notes.changes == [("a", False, f"backend_status_{status}")]


async def test_one_principal_cannot_take_a_backend_from_everybody() -> None:
    """However often its requests break it."""
    backends, notes = made("a")
    for _ in range(50):
        backends.answered_badly(backends.targets[0], "anna", "backend_closed")
        backends.answered(backends.targets[0], "anna", 502, ())
    assert notes.changes == []
