"""Whom a listener lets in, and what is believed of them."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.gate import Gate, address_of, forwarded_source, place_of
from sentry_runtime.gateway.listener import check
from sentry_runtime.settings import Backend, Gateway, Listener, ServerTls, SettingsError


def listener(**more: Any) -> Listener:
    """One, as it is read from the settings."""
    return msgspec.json.decode(msgspec.json.encode({"address": "192.0.2.1", **more}), type=Listener)


LISTED = {"balancers": ["10.0.0.0/24", "2001:db8::5"]}


@pytest.mark.parametrize(
    ("more", "source", "word"),
    [
        ({}, "203.0.113.9", ""),
        (LISTED, "203.0.113.9", ""),
        ({"tls": False, **LISTED}, "10.0.0.9", ""),
        ({"tls": False, **LISTED}, "2001:db8::5", ""),
        ({"tls": False, **LISTED}, "10.0.1.9", "not_a_balancer"),
        ({"tls": False, **LISTED}, "2001:db8::6", "not_a_balancer"),
        ({"proxy": "required", **LISTED}, "10.0.0.9", ""),
        ({"proxy": "required", **LISTED}, "203.0.113.9", "not_a_balancer"),
    ],
)
def test_a_plain_listener_and_one_for_the_proxy_protocol_take_balancers_only(
    more: dict[str, Any], source: str, word: str
) -> None:
    """An ordinary one takes everybody."""
    assert Gate.of(listener(**more)).refusal(ip_address(source)) == word


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tls": False}, r"balancers: a plain listener is for listed balancers only; found none"),
        ({"proxy": "required"}, r"balancers: a listener that requires the PROXY protocol is for listed"),
        ({"forwarded_for": True}, r"forwarded_for: X-Forwarded-For is believed of listed balancers; found none"),
        ({"forwarded_for": True, "proxy": "required", **LISTED}, r"forwarded_for: the PROXY protocol already says"),
        ({"balancers": ["10.0.0.1/24"]}, r"listeners\[0\].balancers: 10.0.0.1/24 has host bits set"),
        ({"balancers": ["0.0.0.0/0"]}, r"balancers: 0.0.0.0/0; networks of at least /8 are allowed"),
        ({"front_ends": ["::/1"]}, r"front_ends: ::/1; networks of at least /8 are allowed"),
    ],
)
def test_a_listener_that_would_believe_anybody_is_an_error(more: dict[str, Any], message: str) -> None:
    """It names the place and what is allowed."""
    with pytest.raises(SettingsError, match=message):
        Gate.of(listener(**more), "gateway.listeners[0]")


def test_a_network_is_written_in_digits() -> None:
    """A name is none."""
    with pytest.raises(msgspec.ValidationError, match=r"balancers\[0\]"):
        listener(balancers=["balancer.lab.test"])


def test_trust_in_addresses_is_not_trust_in_certificates() -> None:
    """Two lists."""
    gate = Gate.of(listener(front_ends=["10.0.1.1"], **LISTED))
    balancer, front_end = ip_address("10.0.0.1"), ip_address("10.0.1.1")
    assert (gate.is_balancer(balancer), gate.is_front_end(balancer)) == (True, False)
    assert (gate.is_balancer(front_end), gate.is_front_end(front_end)) == (False, True)


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ([], ""),
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        ([b"6.6.6.6", b"192.0.2.7"], "192.0.2.7"),
        ([b"6.6.6.6,\t[2001:DB8:0::7]"], "2001:db8::7"),
        ([b"::ffff:192.0.2.7"], "192.0.2.7"),
        ([b"192.0.2.7, "], ""),
        ([b"unknown"], ""),
        ([b"192.0.2.7:4711"], ""),
        ([b"fe80::1%eth0"], ""),
        ([b"\xff"], ""),
    ],
)
def test_of_forwarded_addresses_the_last_counts(values: list[bytes], source: str) -> None:
    """It is the balancer's own word; what cannot be read is none, and never the one before it."""
    assert forwarded_source(values) == source


@given(st.lists(st.binary(max_size=30), max_size=3))
def test_a_forwarded_source_is_an_address_or_nothing(values: list[bytes]) -> None:
    """Whatever is sent."""
    found = forwarded_source(values)
    assert found == "" or str(ip_address(found)) == found


def test_a_place_is_an_address_or_an_ipv6_customer() -> None:
    """A /64 is the least that anybody is given."""
    assert place_of("192.0.2.7") == "192.0.2.7"
    assert place_of("2001:db8::1") == place_of("2001:db8::2:0:0:7") != place_of("2001:db8:0:1::1")
    assert place_of("fe80::1%eth0") == place_of("fe80::2")
    assert address_of("fe80::1%eth0") == ip_address("fe80::1")


def test_an_address_and_port_is_one_listeners() -> None:
    """Two would share its connections as chance has it."""
    tls = ServerTls(certificate="/c", key="/k")
    both = (listener(), listener(tls=False, **LISTED))
    whole = Gateway(listeners=both, tls=tls, backends=(Backend(name="mail", host="192.0.2.9"),))
    with pytest.raises(SettingsError, match=r"gateway.listeners\[1\]: 192.0.2.1 port 443 a second time"):
        check(whole)
