"""The two HTTPS ports, on real processes: who gets in, what is taken, what is refused and how."""

import http.client
import ssl
from typing import Any

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, State, WipeMark
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Decision, DecisionPage, Problem
from tests.agent.stage import Pki, Stage

GOOD: dict[str, Any] = {"device_id": "C1", "principal": "anna@lab.test", "state": "allowed", "version": 7}
ANNA = DeviceKey("C1", "anna@lab.test")
BLOCKED = {**GOOD, "state": "blocked", "version": 8, "reasons": ["manual"]}


def call(pki: Pki, name: str | None, port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request with this certificate; status and body."""
    peer = http.client.HTTPSConnection("127.0.0.1", port, context=client_context(pki.client(name)), timeout=10)
    try:
        peer.request(method, path, body=body)
        response = peer.getresponse()
        return response.status, response.read()
    finally:
        peer.close()


def push(stage: Stage, *decisions: dict[str, Any]) -> tuple[int, bytes]:
    """The UEM pushes."""
    body = msgspec.json.encode({"decisions": decisions})
    return call(stage.pki, "uem-client", stage.push_port, "POST", "/v1/decisions", body)


def test_a_push_is_taken_announced_and_repeated_without_effect(stage: Stage) -> None:
    """204 each time; older and equal versions change nothing."""
    stage.agent()
    follower = stage.follow()
    assert push(stage, GOOD) == (204, b"")
    follower.until(ANNA)
    assert push(stage, BLOCKED)[0] == 204
    follower.until(ANNA)
    after = stage.listed()
    assert [record.state for record in after] == [State.BLOCKED]
    assert [push(stage, old)[0] for old in (GOOD, BLOCKED, {**GOOD, "version": 8})] == [204, 204, 204]
    assert stage.listed() == after
    assert push(stage, {**GOOD, "version": 9, "removed": True})[0] == 204
    follower.until(ANNA)
    follower.close()
    assert stage.listed() == []


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({**BLOCKED, "surprise": 1}, "`surprise` - at `$.decisions[1]`"),
        ({**BLOCKED, "state": "perhaps"}, "$.decisions[1].state"),
        ({**BLOCKED, "version": "nine"}, "$.decisions[1].version"),
        ({**BLOCKED, "device_id": "c1"}, "`device_id` is upper case"),
    ],
)
def test_garbage_is_refused_with_its_field_named_and_the_old_state_stands(
    stage: Stage, wrong: dict[str, Any], place: str
) -> None:
    """Nothing of the message takes effect, its good parts neither."""
    stage.agent()
    assert push(stage, GOOD)[0] == 204
    before = stage.listed()
    status, body = push(stage, {**BLOCKED, "device_id": "C2"}, wrong)
    assert status == 400
    assert place in msgspec.json.decode(body, type=Problem).detail
    assert stage.listed() == before


@pytest.mark.parametrize("name", [None, "stranger", "uem-push"])
def test_the_tls_handshake_ends_for_whoever_has_no_client_certificate_of_the_authority(
    stage: Stage, name: str | None
) -> None:
    """None at all, one of another authority, and a server's own: a taken-over server key is no licence to push."""
    stage.agent()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        call(stage.pki, name, stage.push_port, "POST", "/v1/decisions", msgspec.json.encode({"decisions": [GOOD]}))
    assert stage.listed() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/contacts", 404),
        ("POST", "/v1/decisions/", 404),
        ("POST", "/v1/decisions/../decisions", 404),
        ("GET", "/v1/decisions", 405),
        ("DELETE", "/v1/decisions", 405),
    ],
)
def test_the_push_port_has_one_door(stage: Stage, method: str, path: str, status: int) -> None:
    """Every other path and method is refused, with a typed answer."""
    stage.agent()
    found, body = call(stage.pki, "uem-client", stage.push_port, method, path)
    assert found == status
    assert msgspec.json.decode(body, type=Problem).title


def test_a_push_beyond_the_bound_is_refused(stage: Stage) -> None:
    """Its size is bounded before it is read into the list."""
    stage.agent()
    body = b'{"decisions": [' + b" " * 5_000_000 + b"]}"
    assert call(stage.pki, "uem-client", stage.push_port, "POST", "/v1/decisions", body)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "place"),
    [
        ("GET", "/v1/decisions?after=-1", 400, "`after`"),
        ("GET", "/v1/decisions?after=x", 400, "`after`"),
        ("GET", "/v1/decisions?after=99999999999999999999", 400, "`after`"),
        ("GET", f"/v1/decisions?after={'0' * 17}{'9' * 30}", 400, "`after`"),
        ("GET", f"/v1/decisions?limit={'0' * 16}1000000000", 400, "`limit`"),
        ("GET", "/v1/decisions?limit=0", 400, "`limit`"),
        ("GET", "/v1/decisions?limit=1001", 400, "`limit`"),
        ("POST", "/v1/contacts", 400, "truncated"),
        ("POST", "/v1/wipes", 400, "truncated"),
        ("GET", "/v1/wipes", 405, ""),
        ("GET", "/v1/contacts", 405, ""),
        ("POST", "/v1/information", 400, "truncated"),
        ("GET", "/v1/information", 405, ""),
        ("HEAD", "/v1/decisions", 405, None),
        ("GET", "/v1", 404, ""),
    ],
)
def test_the_uem_refuses_what_is_not_of_the_protocol(
    stage: Stage, method: str, path: str, status: int, place: str | None
) -> None:
    """With the field named."""
    stage.uem()
    found, body = call(stage.pki, "agent", stage.uem_port, method, path)
    assert found == status
    if place is not None:
        assert place in msgspec.json.decode(body, type=Problem).detail


@pytest.mark.parametrize("name", [None, "stranger", "uem"])
def test_the_uem_speaks_with_nobody_but_the_appliance(stage: Stage, name: str | None) -> None:
    """On loopback too: every process of the machine could dial it."""
    stage.uem()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        call(stage.pki, name, stage.uem_port, "GET", "/v1/decisions")


def test_the_feed_of_a_new_uem_is_empty(stage: Stage) -> None:
    """Not an error."""
    stage.uem()
    status, body = call(stage.pki, "agent", stage.uem_port, "GET", "/v1/decisions?after=0&limit=10")
    assert (status, msgspec.json.decode(body, type=DecisionPage)) == (
        200,
        DecisionPage(decisions=(), next=0, more=False),
    )


def test_a_report_of_a_wipe_is_answered_with_the_word_in_knowledge_of_it(stage: Stage) -> None:
    """Repeated, it gives the same answer; about an unknown device, or from who is not the appliance, there is none."""
    stage.uem()
    control.call(stage.paths.uem_admin, control.Register(device_id="C1", principal="anna@lab.test"))
    ordered = control.call(
        stage.paths.uem_admin, control.OrderWipe(device_id="C1", principal="anna@lab.test"), Decision
    )
    wipe = {"kind": "device", "order": ordered.version, "marks": ["unverified", "handed_out"]}
    report = {"device_id": "C1", "principal": "anna@lab.test", "wipe": wipe}
    body = msgspec.json.encode(report)
    status, answer = call(stage.pki, "agent", stage.uem_port, "POST", "/v1/wipes", body)
    wiped = msgspec.json.decode(answer, type=Decision)
    assert (status, wiped.state, wiped.wipe) == (
        200,
        State.WIPED,
        ordered.wipe.marked([WipeMark.UNVERIFIED, WipeMark.HANDED_OUT]),
    )
    assert call(stage.pki, "agent", stage.uem_port, "POST", "/v1/wipes", body) == (200, answer)
    unknown = msgspec.json.encode(report | {"device_id": "C9"})
    assert call(stage.pki, "agent", stage.uem_port, "POST", "/v1/wipes", unknown)[0] == 404
    with pytest.raises((ssl.SSLError, ConnectionError)):
        call(stage.pki, "stranger", stage.uem_port, "POST", "/v1/wipes", body)
