"""What is shown of the gateway: backends, redirections, rules, certificates, and what the data plane does not say."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from appliance.configd import facts
from appliance.configd.api import Facts
from appliance.configd.facts.context import Context
from sentry_runtime.control import ListRedirects, Redirected, RevocationSource, ShowRevocation
from sentry_runtime.devices.record import DeviceKey
from tests.unit.appliance.configd.shown import nobody, pairs, rows

SERVERS = {
    "a": {"host": "192.0.2.1", "port": 443, "server_name": "a.test", "tls": True, "verify": "strict", "priority": 10},
    "b": {"host": "192.0.2.2", "port": 443, "tls": True, "verify": "log", "priority": 1},
    "c": {"host": "192.0.2.3", "port": 80, "tls": False, "verify": "strict", "priority": 10},
}
# what the gateway says of "a" | what is shown
STATES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"up": 2, "down": 0, "reason": ""}, "up"),
    ({"up": 0, "down": 2, "reason": "backend_refused"}, "down (backend_refused)"),
    ({"up": 1, "down": 1, "reason": "backend_timeout"}, "down for 1 of 2 workers (backend_timeout)"),
    ({"up": 0, "down": 0, "reason": ""}, "unknown"),
    ({}, "unknown"),
)


def with_backends(context: Context, **more: Any) -> Context:
    """A configuration with these backends."""
    assert context.running is not None
    tree = {**context.running.tree, "backends": {"servers": SERVERS, **more}}
    return replace(context, running=msgspec.structs.replace(context.running, tree=tree))


@pytest.mark.parametrize(("said", "shown"), STATES)
def test_backends_are_shown_with_their_state_over_all_workers(
    context: Context, said: dict[str, Any], shown: str
) -> None:
    status = {f"backend.a.{name}": value for name, value in said.items()}
    context = replace(with_backends(context), call=lambda _path, _request, _type: status)
    found = {row[0]: row[-1] for row in rows(facts.show("backends", "", context))}
    assert found == {"a": shown, "b": "unknown", "c": "unknown"}


def test_backends_are_shown_with_their_domains_and_whether_certificates_count(context: Context) -> None:
    context = replace(with_backends(context, domains={"x.test": ["a", "b"], "y.test": ["b"]}), call=nobody)
    assert rows(facts.show("backends", "", context)) == (
        ("a", "192.0.2.1", "443", "a.test", "strict", "10", "x.test", "unknown"),
        ("b", "192.0.2.2", "443", "", "any, logged", "1", "x.test, y.test", "unknown"),
        ("c", "192.0.2.3", "80", "", "no TLS", "10", "", "unknown"),
    )


def test_redirects_are_shown_page_by_page(context: Context) -> None:
    known = [
        Redirected(key=DeviceKey(f"D{number:03}", "anna@lab.test"), backend="a", host="b.test", port=443, seconds=60)
        for number in range(5)
    ]
    asked: list[Any] = []

    def call(path: str, request: ListRedirects, _type: Any) -> list[Redirected]:
        assert path == "/run/sentry-gateway/control.sock"
        asked.append(request.after)
        return [one for one in known if request.after is None or one.key > request.after][:3]

    shown = rows(facts.show("redirects", "", replace(context, call=call)))
    assert [row[0] for row in shown] == ["D000", "D001", "D002", "D003", "D004"]
    assert shown[0][1:] == ("anna@lab.test", "b.test:443", "a", "60")
    assert asked == [None, known[2].key, known[4].key]


def test_rules_stand_in_their_order_with_those_that_have_expired(context: Context) -> None:
    """By the appliance's clock, on the minute; the title says until when the gateway only observes."""
    rules = {
        "old": {"order": 5, "action": "allow", "user": "anna", "expires": "2026-01-02T12:00Z"},
        "zeta": {"order": 1, "action": "deny", "device": "A*", "note": "lost"},
        "soon": {"order": 9, "action": "deny", "network": "192.0.2.0/24", "expires": "2026-01-02T12:01Z"},
    }
    noon = 1_767_355_200.0
    assert context.running is not None
    tree = {"gateway": {"rules": rules, "observe": {"until": "2026-01-02T12:01Z"}}}
    context = replace(context, running=msgspec.structs.replace(context.running, tree=tree), now=noon)
    shown = facts.show("rules", "", context)
    assert rows(shown) == (
        ("1", "zeta", "deny", "in force", "", "A*", "", "", "", "lost"),
        ("5", "old", "allow", "expired", "anna", "", "", "", "2026-01-02T12:00Z", ""),
        ("9", "soon", "deny", "in force", "", "", "", "192.0.2.0/24", "2026-01-02T12:01Z", ""),
    )
    assert shown.title == "rules (observing until 2026-01-02T12:01Z)"
    assert facts.show("rules", "", replace(context, now=noon + 60)).title == "rules"


def test_that_the_data_plane_does_not_answer_is_a_fact(context: Context) -> None:
    shown = pairs(facts.show("gateway", "", replace(context, call=nobody)))
    assert shown == {"status": "does not answer: nobody is there"}


def test_what_certificates_are_judged_by_is_a_table(context: Context) -> None:
    found = [
        RevocationSource(
            kind="crl url",
            place="http://crl.lab.test/a.crl",
            issuer="CN=Devices",
            state="in force",
            made=1_800_000_000.0,
            ends=1_800_086_400.0,
            entries=7,
        ),
        RevocationSource(kind="ocsp", place="http://ocsp.lab.test/", state="does not answer", problem="silence"),
    ]

    def call(path: str, request: Any, _type: Any) -> list[RevocationSource]:
        assert (path, request) == ("/run/sentry-agent/agent.sock", ShowRevocation())
        return found

    made, ends = "2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z"
    assert rows(facts.show("revocation", "", replace(context, call=call))) == (
        ("crl url", "http://crl.lab.test/a.crl", "CN=Devices", "in force", made, ends, "7", ""),
        ("ocsp", "http://ocsp.lab.test/", "", "does not answer", "", "", "0", "silence"),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "required"),
        ({"require_client_tls": False}, "NOT required: plain HTTP on port 80 from 10.0.0.0/24"),
        (
            {
                "require_client_tls": False,
                "listeners": {"a": {"port": 8080, "tls": False}, "b": {"port": 8443, "tls": True}},
            },
            "NOT required: plain HTTP on port 80, 8080 from 10.0.0.0/24",
        ),
    ],
)
def test_whether_client_tls_is_required_is_said_first(context: Context, changes: dict[str, Any], said: str) -> None:
    settings = {
        "require_client_tls": True,
        "plain_port": 80,
        "listeners": {},
        "balancers": {"networks": ["10.0.0.0/24"], "proxy_protocol": "refused"},
        "device_authentication": {"mode": "pass_through", "front_ends": []},
    }
    assert context.running is not None
    tree = {**context.running.tree, "gateway": {**settings, **changes}}
    with_gateway = replace(context, running=msgspec.structs.replace(context.running, tree=tree), call=nobody)
    shown = facts.show("gateway", "", with_gateway)
    assert isinstance(shown, Facts)
    assert shown.facts[0] == ("client TLS", said)
    assert dict(shown.facts)["device authentication"] == "pass_through"
