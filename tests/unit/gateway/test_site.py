"""The site's own rules on devices, and observing: who is meant, in which order, and until when."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime import settings
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import site
from sentry_runtime.gateway.decide import Rule
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.site import OBSERVE_SECONDS, Site
from sentry_runtime.settings import SettingsError
from tests.clock import Clock

NOON = site.seconds("2026-01-02T12:00Z", "")
HERE = "192.0.2.7"


def claim(
    device: str = "PHONE1", who: str = "anna@lab.test", kind: str = "iPhone", aliases: tuple[str, ...] = ()
) -> Claim:
    """What a device says of itself."""
    return Claim(DeviceKey(device, who), aliases, kind, who, "Sync", "14.1", None)


def gateway(*rules: settings.Rule, until: str = "") -> settings.Gateway:
    """Settings with these rules."""
    return settings.Gateway(
        listeners=(),
        tls=settings.ServerTls(certificate="", key=""),
        backends=(),
        rules=rules,
        observe=settings.Observe(until=until) if until else None,
    )


def made(*rules: settings.Rule, until: str = "", clock: Clock | None = None) -> Site:
    """The site that has these rules."""
    return Site.of(gateway(*rules, until=until), clock or Clock(NOON))


def rule(name: str = "r", action: str = "deny", **fields: str) -> settings.Rule:
    """A rule as the settings have it."""
    return msgspec.convert({"name": name, "action": action, **fields}, settings.Rule)


def found(one: Site, who: Claim, source: str = HERE) -> str:
    """The name of the rule that decides, or nothing."""
    ruling = one.ruling(who, source)
    return "" if ruling is None else ruling.name


HEX = b"PHONE1".hex().upper()


@pytest.mark.parametrize(
    ("fields", "who", "source", "denied", "allowed"),
    [
        pytest.param({"device": "phone1"}, claim(), HERE, True, True, id="an id in any case"),
        pytest.param({"device": "PHONE"}, claim(), HERE, False, False, id="not a part of one"),
        pytest.param({"device": "PHONE*"}, claim(), HERE, True, True, id="a beginning"),
        pytest.param({"device": "PHONE1*"}, claim(), HERE, True, True, id="a beginning that is all"),
        pytest.param({"device": "HONE*"}, claim(), HERE, False, False, id="a beginning stands at the beginning"),
        pytest.param({"device": "PHONE1"}, claim(HEX, aliases=("PHONE1",)), HERE, True, False, id="text for hex"),
        pytest.param({"device": HEX}, claim(), HERE, True, False, id="hex for text"),
        pytest.param({"device": "PHONE1"}, claim(HEX), HERE, True, False, id="hex sent as text"),
        pytest.param({"user": "LAB.TEST\\Anna"}, claim(), HERE, True, True, id="a user in another form"),
        pytest.param({"user": "anna"}, claim(), HERE, True, False, id="a user without the domain"),
        pytest.param({"user": "anna@lab.test"}, claim(who="anna@lab"), HERE, True, False, id="by the short domain"),
        pytest.param({"user": "anna@lab.test"}, claim(who="anna@x.test"), HERE, False, False, id="another domain"),
        pytest.param({"user": "ann@lab.test"}, claim(), HERE, False, False, id="another user"),
        pytest.param({"device_type": "IPHONE"}, claim(), HERE, True, True, id="a type in any case"),
        pytest.param({"device_type": "iP*"}, claim(), HERE, True, True, id="the beginning of a type"),
        pytest.param({"device_type": "iPad"}, claim(), HERE, False, False, id="another type"),
        pytest.param({"network": "192.0.2.0/24"}, claim(), HERE, True, True, id="a network"),
        pytest.param({"network": "192.0.2.7/32"}, claim(), HERE, True, True, id="an address"),
        pytest.param({"network": "192.0.2.0/29"}, claim(), "192.0.2.8", False, False, id="one beyond the network"),
        pytest.param({"network": "192.0.2.0/24"}, claim(), "::ffff:192.0.2.7", True, True, id="IPv4 in IPv6"),
        pytest.param({"network": "2001:db8::/32"}, claim(), "2001:db8::9%eth0", True, True, id="IPv6 with a zone"),
        pytest.param({"network": "192.0.2.0/24"}, claim(), "not an address", False, False, id="no address"),
        pytest.param({"user": "anna@lab.test", "network": "192.0.2.0/24"}, claim(), HERE, True, True, id="both"),
        pytest.param({"user": "anna@lab.test", "network": "10.0.0.0/8"}, claim(), HERE, False, False, id="only one"),
        pytest.param({"device": "PHONE1", "device_type": "iPad"}, claim(), HERE, False, False, id="not the type"),
    ],
)
def test_whom_a_rule_means(fields: dict[str, str], who: Claim, source: str, denied: bool, allowed: bool) -> None:  # noqa: FBT001 - a table
    """A denial means a device and a person under every name that is known of them, a leave exactly what it says."""
    assert (found(made(rule("no", "deny", **fields)), who, source) == "no") is denied
    assert (found(made(rule("yes", "allow", **fields)), who, source) == "yes") is allowed


def test_the_first_rule_in_the_sites_order_decides() -> None:
    """Whatever it is found by, and whatever it says."""
    rules = [
        rule("exception", "allow", user="anna@lab.test", network="192.0.2.0/24"),
        rule("lost", "deny", device="PHONE1"),
        rule("pilot", "allow", device_type="i*"),
        rule("branch", "deny", network="192.0.2.0/24"),
    ]
    for _ in range(len(rules)):
        assert found(made(*rules), claim()) == rules[0].name
        rules.append(rules.pop(0))


def test_a_rule_that_has_expired_makes_room_for_the_next_one_on_the_minute() -> None:
    """One second before it is in force, at the minute it is not; nothing has to be loaded anew."""
    clock = Clock(NOON)
    one = made(
        rule("first", expires="2026-01-02T12:01Z", device="PHONE1"),
        rule("second", expires="2026-01-02T12:02Z", user="anna@lab.test"),
        rule("third", device_type="iPhone"),
        clock=clock,
    )
    at = {0: ("first", 3), 59: ("first", 3), 60: ("second", 2), 119.99: ("second", 2), 120: ("third", 1)}
    for second, (name, in_force) in at.items():
        clock.now = NOON + second
        assert (found(one, claim()), one.in_force) == (name, in_force)


def test_the_moment_at_which_something_ends_is_noticed_once() -> None:
    """That of each rule and that of observing; a clock that is set on passes several at once."""
    clock = Clock(NOON)
    one = made(
        rule(expires="2026-01-02T12:01Z", device="PHONE1"),
        rule(expires="2026-01-02T12:02Z", device="PHONE2"),
        rule(device="PHONE3"),
        until="2026-01-02T12:03Z",
        clock=clock,
    )
    turns = []
    for second in (0, 59, 60, 61, 120, 180, 181, 1_000):
        clock.now = NOON + second
        turns.append(one.turn())
    assert turns == [False, False, True, False, True, True, False, False]
    assert (one.turn(), made().turn(), made(rule(device="X")).turn()) == (False, False, False)


def test_observing_ends_by_itself_on_the_minute() -> None:
    """And does not begin where its end is further away than anybody could have set it: then the clock was set back."""
    clock = Clock(NOON)
    one = made(until="2026-01-02T12:01Z", clock=clock)
    seen = []
    for second in (0, 59.9, 60, 61, 60 - OBSERVE_SECONDS, 59 - OBSERVE_SECONDS):
        clock.now = NOON + second
        seen.append(one.observing)
    assert seen == [True, True, False, False, True, False]
    assert not made().observing


def test_a_request_that_names_no_device_is_nobodys() -> None:
    """A bare OPTIONS is answered alike for everybody."""
    bare = Claim(None, (), "", "anna@lab.test", "OPTIONS", "", None)
    assert made(rule(user="anna@lab.test"), rule(network="192.0.2.0/24")).ruling(bare, HERE) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "names a user, a device, a device type or a network"),
        ({"user": "anna bert"}, r"gateway\.rules\[0\]\.user"),
        ({"user": "anna@"}, r"gateway\.rules\[0\]\.user"),
        ({"device": "*"}, r"gateway\.rules\[0\]\.device"),
        ({"device": "A*B"}, r"gateway\.rules\[0\]\.device"),
        ({"device": "A B"}, r"gateway\.rules\[0\]\.device"),
        ({"device": "A" * 65}, r"gateway\.rules\[0\]\.device"),
        ({"device_type": "*"}, r"gateway\.rules\[0\]\.device_type"),
        ({"network": "192.0.2.7/24"}, r"gateway\.rules\[0\]\.network: .*host bits"),
        ({"network": "0.0.0.0/0"}, "is everywhere"),
        ({"device": "A", "expires": "2026-02-30T12:00Z"}, r"gateway\.rules\[0\]\.expires"),
    ],
)
def test_a_rule_that_means_nobody_or_everybody_is_refused(fields: dict[str, str], words: str) -> None:
    """With its place and what is allowed there."""
    with pytest.raises(SettingsError, match=words):
        made(rule(**fields))


def test_there_are_only_so_many_rules() -> None:
    """Each costs memory in every worker."""
    many = tuple(rule(device=f"D{number}") for number in range(site.RULES))
    assert found(made(*many), claim(f"D{site.RULES - 1}")) == "r"
    with pytest.raises(SettingsError, match="1001 rules; at most 1000"):
        made(*many, rule(device="ONE"))


names = st.sampled_from(["", "PHONE1", "PHONE*", "PHONE2", HEX])
users = st.sampled_from(["", "anna@lab.test", "anna", "bert@lab.test"])
kinds = st.sampled_from(["", "iPhone", "i*", "Android"])
networks = st.sampled_from(["", "192.0.2.0/24", "192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"])
minutes = st.sampled_from(["", "2026-01-02T11:59Z", "2026-01-02T12:00Z", "2026-01-02T12:01Z"])
rules = st.builds(
    settings.Rule,
    name=st.uuids().map(str),
    action=st.sampled_from(["allow", "deny"]),
    device=names,
    user=users,
    device_type=kinds,
    network=networks,
    expires=minutes,
).filter(lambda one: bool(one.device or one.user or one.device_type or one.network))


@given(
    st.lists(rules, max_size=12),
    st.sampled_from(["PHONE1", "PHONE2", HEX]),
    st.sampled_from(["anna@lab.test", "anna", "bert@lab.test"]),
    st.sampled_from(["iPhone", "Android"]),
    st.sampled_from([HERE, "192.0.2.8", "198.51.100.1", "2001:db8::1", "203.0.113.1"]),
)
def test_the_index_finds_what_one_would_find_going_down_the_list(
    listed: list[settings.Rule], device: str, who: str, kind: str, source: str
) -> None:
    """The first that means the claim and has not expired."""
    asking = claim(device, who, kind, ("PHONE1",) if device == HEX else ())
    address = site.address_of(source)
    compiled = [site.compiled(one, order) for order, one in enumerate(listed)]
    wanted = next((one.name for one in compiled if one.expires > NOON and one.means(asking, address)), "")
    assert found(made(*listed), asking, source) == wanted


@given(st.text(max_size=70), st.sampled_from(["user", "device", "device_type", "network", "expires"]))
def test_no_text_of_a_rule_is_anything_but_taken_or_refused(text: str, name: str) -> None:
    """No other error, whatever stands there."""
    one = msgspec.structs.replace(settings.Rule(name="r", action="deny", device="A"), **{name: text})
    try:
        ruling = site.compiled(one, 0)
    except SettingsError:
        return
    assert ruling.rule is Rule.DENY


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"until":"2026-01-02T12:00Z"', b'"until":""'),
        (b'"until":"2026-01-02T12:00Z"', b'"until":"2026-01-02"'),
        (b'"observe":{"until":"2026-01-02T12:00Z"}', b'"observe":{}'),
        (b'"action":"deny"', b'"action":"block"'),
        (b'"expires":""', b'"expires":"never"'),
        (b'"burst":300', b'"burst":0'),
        (b'"repeats":60', b'"repeats":1'),
        (b'"requests_per_second":5.0', b'"requests_per_second":0'),
        (b'"pause_seconds":60.0', b'"pause_seconds":0'),
        (b'"block_notice":""', b'"block_notice":"two\\nlines"'),
        (b'"block_notice":""', b'"block_notice":"' + b"x" * 401 + b'"'),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_they_are_read(old: bytes, new: bytes) -> None:
    """By their types: an end that is missing, words that are not known, bounds that let nobody pass, two lines of text."""
    text = msgspec.json.encode(gateway(rule(device="A"), until="2026-01-02T12:00Z"))
    msgspec.json.decode(text, type=settings.Gateway)
    assert old in text
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text.replace(old, new), type=settings.Gateway)
