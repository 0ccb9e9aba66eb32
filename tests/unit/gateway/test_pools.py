"""Who is served by which backends, and which of them comes first."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Pools, Seat, pools
from sentry_runtime.settings import Backend, Gateway, Routing, Scheduling, ServerTls, SettingsError

DEVICES = [Seat(f"PHONE{number}", "anna@lab.test") for number in range(3_000)]


def servers(*priorities: int) -> list[Backend]:
    """One of each of these priorities, called mail0, mail1 ..."""
    return [
        Backend(name=f"mail{place}", host="192.0.2.1", priority=priority) for place, priority in enumerate(priorities)
    ]


def gateway(routing: Routing, *names: str) -> Gateway:
    """A gateway with backends of these names."""
    backends = tuple(Backend(name=name, host="192.0.2.1") for name in names)
    return Gateway(listeners=(), tls=ServerTls(certificate="", key=""), backends=backends, routing=routing)


def first(made: Pools, seat: Seat) -> str:
    """The name of the one to try first."""
    return made.order(seat)[0].name


def test_devices_are_spread_evenly_and_each_keeps_its_own() -> None:
    """Of 3,000 devices each of three backends has a third, give or take a tenth; asked again, the same."""
    made = Pools(servers(10, 10, 10), {}, by_priority=False)
    chosen = [first(made, seat) for seat in DEVICES]
    assert chosen == [first(Pools(servers(10, 10, 10), {}, by_priority=False), seat) for seat in DEVICES]
    assert all(900 < count < 1_100 for count in Counter(chosen).values())
    assert len(set(chosen)) == 3


def test_when_a_backend_goes_only_its_own_devices_move_and_they_spread_over_the_others() -> None:
    """And with one more, no device moves but to the new one."""
    three, two = Pools(servers(10, 10, 10), {}, by_priority=False), Pools(servers(10, 10), {}, by_priority=False)
    moved: Counter[str] = Counter()
    for seat in DEVICES:
        before, after = three.order(seat), two.order(seat)
        assert [one for one in before if one.name != "mail2"] == after
        if before[0].name == "mail2":
            moved[after[0].name] += 1
    assert all(400 < moved[name] < 600 for name in ("mail0", "mail1"))


def test_by_priority_the_lowest_number_comes_first_and_equals_share_the_devices() -> None:
    """Whatever the device; the others follow by their numbers."""
    made = Pools(servers(20, 5, 10, 5), {}, by_priority=True)
    orders = [[one.name for one in made.order(seat)] for seat in DEVICES]
    assert {tuple(order[2:]) for order in orders} == {("mail2", "mail0")}
    share = Counter(order[0] for order in orders)
    assert set(share) == {"mail1", "mail3"}
    assert all(1_350 < count < 1_650 for count in share.values())


@given(st.sampled_from(["round_robin", "priority"]), st.lists(st.integers(1, 3), min_size=1, max_size=5), st.text())
def test_an_order_has_every_backend_once(scheduling: Scheduling, priorities: list[int], device: str) -> None:
    """With or without a device, of one or of many."""
    made = Pools(servers(*priorities), {}, by_priority=scheduling == "priority")
    order = made.order(Seat(device, "anna"))
    assert sorted(one.name for one in order) == [f"mail{place}" for place in range(len(priorities))]
    if scheduling == "priority":
        assert [one.priority for one in order] == sorted(priorities)


def test_requests_without_a_device_take_turns() -> None:
    """Each backend is first once, and all others follow in their order."""
    made = Pools(servers(10, 10, 10), {}, by_priority=False)
    seat = Seat("", "anna@lab.test")
    orders = ["".join(one.name[-1] for one in made.order(seat)) for _ in range(4)]
    assert orders == ["012", "120", "201", "012"]


def test_both_forms_of_a_query_sit_on_one_seat() -> None:
    """A base64 id counts by its text, which is what the plain form says."""
    plain = Claim(DeviceKey("PHONE1", "anna"), (), "iPhone", "anna", "Sync", "14.1", None)
    blob = Claim(DeviceKey(b"PHONE1".hex().upper(), "anna"), ("PHONE1",), "iPhone", "anna", "Sync", "14.1", None)
    assert Seat.of(plain) == Seat.of(blob) == Seat("PHONE1", "anna")
    assert Seat.of(Claim(None, (), "", "anna", "OPTIONS", "", None)) == Seat("", "anna")


ROUTING = Routing(domains={"One.test": ("a",), "corp": ("a", "b")})

# principal | the backends that serve it
SERVED = (
    ("anna@one.test", {"a"}),
    ("anna@corp", {"a", "b"}),
    ("anna@two.test", {"c", "d"}),
    ("anna@sub.one.test", {"c", "d"}),
    ("anna", {"c", "d"}),
)


@pytest.mark.parametrize(("principal", "names"), SERVED)
def test_the_domain_of_the_principal_chooses_the_pool(principal: str, names: set[str]) -> None:
    """Exactly; a bare name and a domain that nobody serves have what no domain has taken."""
    made = pools(gateway(ROUTING, "a", "b", "c", "d"))
    assert {one.name for one in made.order(Seat("PHONE1", principal))} == names


def test_the_default_can_be_named() -> None:
    """Also where a domain has it."""
    routing = msgspec.structs.replace(ROUTING, default=("b",))
    assert [one.name for one in pools(gateway(routing, "a", "b")).of(Seat("", "anna"))] == ["b"]


REFUSED = (
    (Routing(domains={"one.test": ("x",)}), ("a",), "domains.one.test: no backend is called 'x'; there are a"),
    (Routing(default=("x",)), ("a",), "default: no backend is called 'x'"),
    (Routing(default=("a", "a")), ("a",), "default: names one backend twice"),
    (Routing(domains={"one.test": ()}), ("a",), "at least one backend is needed"),
    (Routing(domains={"one.test": ("a",), "ONE.test": ("a",)}), ("a", "b"), "the same domain twice"),
    (Routing(domains={"one.test": ("a",)}), ("a",), "default: needed, since every backend is some domain's"),
    (Routing(), ("a", "a"), "two have one name"),
)


@pytest.mark.parametrize(("routing", "names", "said"), REFUSED)
def test_settings_that_name_nobody_are_refused(routing: Routing, names: tuple[str, ...], said: str) -> None:
    """With what was found and where."""
    with pytest.raises(SettingsError, match=said):
        pools(gateway(routing, *names))
