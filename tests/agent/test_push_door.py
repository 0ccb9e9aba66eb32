"""Who is turned away from the port on which the UEM pushes, on the real agent: no answer, no change, and an audit line."""

import contextlib
import http.client
import socket
import ssl
from typing import Any

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.agent.push_door import EVENT
from sentry_runtime.settings import SettingsError, UemLink, parse
from sentry_runtime.uem.refusals import ADDRESSES, LINES, QUIET_SECONDS, Refusals
from tests.agent.stage import ME, START_SECONDS, Stage
from tests.agent.test_ports import GOOD, call, push
from tests.unit.agent.ears import Ears


def pushes_of(stage: Stage, *networks: str, mode: str = "core") -> Stage:
    """The stage whose UEM may push from there only."""
    link = msgspec.structs.replace(stage.settings.agent.uem, mode=mode, push_networks=networks)
    agent = msgspec.structs.replace(stage.settings.agent, uem=link)
    stage.settings = msgspec.structs.replace(stage.settings, agent=agent)
    return stage


def start(stage: Stage) -> None:
    """The agent, without a UEM."""
    stage.start("agent", "--gateway-user", ME, "--management-user", ME)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "no TLS: PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "certificate refused: unable to get local issuer certificate"),
        ("uem-push", "certificate refused: unsuitable certificate purpose"),
    ],
)
def test_who_has_the_wrong_certificate_is_refused_and_audited(stage: Stage, name: str | None, reason: str) -> None:
    """None, of another authority, and a server's own: in the words of OpenSSL."""
    with stage.audit() as trail:
        start(stage)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            call(stage.pki, name, stage.push_port, "POST", "/v1/decisions", msgspec.json.encode({"decisions": [GOOD]}))
        line = trail.until("uem_push_refused")[-1]
    assert line["detail"] == f"127.0.0.1: {reason}"
    assert (stage.listed(), stage.status()["push_peers_refused"]) == ([], 1)


def test_plain_http_is_refused_and_audited(stage: Stage) -> None:
    """Without a word of HTTP in return."""
    with stage.audit() as trail:
        start(stage)
        peer = http.client.HTTPConnection("127.0.0.1", stage.push_port, timeout=START_SECONDS)
        peer.request("POST", "/v1/decisions", body=msgspec.json.encode({"decisions": [GOOD]}))
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            peer.getresponse()
        peer.close()
        line = trail.until("uem_push_refused")[-1]
    assert line["detail"] == "127.0.0.1: no TLS: HTTP_REQUEST"
    assert stage.listed() == []


def test_who_does_not_come_from_the_uems_addresses_gets_not_even_a_handshake(stage: Stage) -> None:
    """With the right certificate, too."""
    pushes_of(stage, "192.0.2.7/32", "2001:db8::/64")
    with stage.audit() as trail:
        start(stage)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            push(stage, GOOD)
        line = trail.until("uem_push_refused")[-1]
    assert line["detail"] == "127.0.0.1: not an address of the UEM"
    assert stage.listed() == []


def test_the_uems_own_addresses_may_push(stage: Stage) -> None:
    """As networks; the others do not matter then."""
    pushes_of(stage, "192.0.2.7/32", "127.0.0.0/30")
    start(stage)
    assert push(stage, GOOD)[0] == 204
    assert stage.status()["push_peers_refused"] == 0


def test_a_device_comes_with_its_app_tunnels(stage: Stage) -> None:
    """Kept with its entry, and shown."""
    start(stage)
    wiki = {"name": "Wiki", "host": "wiki.lab.test", "port": 443, "authentication": ["kerberos"]}
    assert push(stage, {**GOOD, "tunnels": [wiki]})[0] == 204
    (shown,) = control.call(stage.paths.agent_socket, control.ShowDetails(device_id="C1"), list[control.Details])
    assert shown.tunnels is not None
    assert [msgspec.json.decode(msgspec.json.encode(one)) for one in shown.tunnels] == [wiki]


def test_in_cloud_mode_nobody_listens(stage: Stage) -> None:
    """The connection is refused by the kernel."""
    link = msgspec.structs.replace(stage.settings.agent.uem, mode="cloud", push_tls=None)
    agent = msgspec.structs.replace(stage.settings.agent, uem=link)
    stage.settings = msgspec.structs.replace(stage.settings, agent=agent)
    start(stage)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stage.push_port), timeout=START_SECONDS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "cloud"}, "`push_tls` in mode cloud: nobody pushes there, and the port stays closed"),
        ({"mode": "core"}, "`push_networks` is empty: in mode core the addresses of the UEM are named"),
        ({"push_subject": ""}, "`push_tls` without `push_subject`: who pushes is named"),
        ({"push_networks": ["10.98.2.300"]}, "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_settings_that_would_open_the_port_to_others_are_errors(
    stage: Stage, change: dict[str, Any], words: str
) -> None:
    """Said at the start, with the place."""
    path = stage.write(stage.settings)
    tree = msgspec.json.decode(path.read_bytes())
    tree["agent"]["uem"] |= change
    with pytest.raises(SettingsError, match=words) as caught:
        parse(msgspec.json.encode(tree), path)
    assert "$.agent.uem" in str(caught.value)
    assert isinstance(stage.settings.agent.uem, UemLink)


def test_a_wrong_client_that_tries_on_and_on_has_one_line_a_minute() -> None:
    """With the number of its tries; others have their own, and what is remembered of them is bounded."""
    ears, now = Ears(), [0.0]
    trail = Refusals(ears.audit, lambda: now[0], EVENT)
    for _ in range(5):
        trail.refuse("192.0.2.7", "no TLS")
    trail.refuse("192.0.2.8", "no TLS")
    now[0] = QUIET_SECONDS
    trail.refuse("192.0.2.7", "no TLS")
    lines = [(fields["detail"], fields["count"]) for _, fields in ears.audited]
    assert lines == [("192.0.2.7: no TLS", 1), ("192.0.2.8: no TLS", 1), ("192.0.2.7: no TLS", 5)]
    for number in range(2 * ADDRESSES):
        trail.refuse(f"2001:db8::{number:x}", "no TLS")
    assert len(trail._last) == ADDRESSES
    assert trail.refused == 7 + 2 * ADDRESSES


def test_who_changes_addresses_does_not_fill_the_trail() -> None:
    """Also beyond those that are remembered; what had no line counts in the next one of its address."""
    ears, now = Ears(), [0.0]
    trail = Refusals(ears.audit, lambda: now[0], EVENT)
    for number in range(4 * LINES):
        trail.refuse(f"2001:db8::{number:x}", "no TLS")
    trail.refuse("2001:db8::ffff", "no TLS")
    assert (len(ears.audited), trail.refused) == (LINES, 4 * LINES + 1)
    now[0] = QUIET_SECONDS
    trail.refuse("2001:db8::ffff", "no TLS")
    assert len(ears.audited) == LINES + 1
    assert ears.audited[-1][1]["count"] == 2
