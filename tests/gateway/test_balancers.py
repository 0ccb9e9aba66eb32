"""Balancers in front: the PROXY protocol, plain listeners, X-Forwarded-For; who is believed, and that nobody else is.

seeds/002 "Use of SSL Certificates": behind a load balancer, with or without TLS between it and the gateway.
"""

import asyncio
import socket
import ssl
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.settings import Listener
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.ntlm_server import Asked, NtlmClient, log_on, start
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, post, until
from tests.gateway.test_decision import hang, reload, rule
from tests.gateway.test_faults import change
from tests.ports import free_port
from tests.unit.gateway.test_proxy_protocol import FOUR, MAPPED, SEEN, SIX, checked, header, tlv

BALANCER = "127.0.0.2"
ANYBODY = "127.0.0.9"
PROXIED: dict[str, Any] = {"proxy": "required", "balancers": (BALANCER,)}
PLAIN: dict[str, Any] = {"tls": False, "balancers": (BALANCER, "127.0.0.3")}
FROM_192_0_2_7 = header(0x21, 0x11, FOUR)
LOCAL = header(0x20, 0x00)
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


async def behind(make_stand: MakeStand, *listeners: dict[str, Any], **more: Any) -> Stand:
    """A stand with these listeners, and the phone allowed."""
    stand = await make_stand(started=False, **more)
    made = tuple(Listener(address="127.0.0.1", port=free_port(), **one) for one in listeners)
    stand.settings = change(stand.settings, listeners=made)
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    return stand


async def connect(
    stand: Stand, source: str = BALANCER, before: bytes = b"", *, tls: bool = True, number: int = 0
) -> Device:
    """A connection from this address to this listener, with these bytes before everything else."""
    one = socket.socket()
    one.setblocking(False)  # noqa: FBT003 - socket's signature
    one.bind((source, 0))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        await loop.sock_connect(one, ("127.0.0.1", stand.settings.gateway.listeners[number].port))
        await loop.sock_sendall(one, before)
        context = ssl.create_default_context(cafile=stand.certificates.ca) if tls else None
        name = "mail.lab.test" if tls else None
        device = Device(*await asyncio.open_connection(sock=one, ssl=context, server_hostname=name))
    stand.devices.append(device)
    return device


async def closed(stand: Stand, source: str = BALANCER, before: bytes = b"", *, number: int = 0) -> bool:
    """Whether a connection that begins so is closed without an answer."""
    device = await connect(stand, source, before, tls=False, number=number)
    return await device.ended() == b""


async def test_the_address_in_the_proxy_header_is_the_devices(make_stand: MakeStand) -> None:
    """For the audit line, the backend and the handshake that follows in the same packet."""
    stand = await behind(make_stand, PROXIED)
    for data, source in ((FROM_192_0_2_7, "192.0.2.7"), (checked(0x21, 0x21, SIX), "2001:db8::7"), (SEEN, "127.0.0.1")):
        device = await connect(stand, before=data)
        assert (await device.ask(post())).status == 200
        assert stand.backend.seen[-1].value("X-Forwarded-For") == source
    lines = await stand.audit.count(6)
    assert [line["source"] for line in lines] == [
        one for one in ("192.0.2.7", "2001:db8::7", "127.0.0.1") for _ in (1, 2)
    ]
    assert lines[0]["source_port"] == 50_000


async def test_a_first_contact_tells_the_backend_the_devices_address(make_stand: MakeStand) -> None:
    """The probe, too, which a backend may judge by its source."""
    stand = await behind(make_stand, PROXIED)
    device = await connect(stand, before=header(0x21, 0x21, MAPPED))
    await device.ask(post(device="PHONE2"))
    (probe,) = stand.backend.probes
    assert probe.value("X-Forwarded-For") == "192.0.2.7"


async def test_not_a_byte_behind_the_header_is_lost(make_stand: MakeStand) -> None:
    """Header, ClientHello and all in one packet, and the header in pieces with the hello right behind the last."""
    stand = await behind(make_stand, {**PROXIED, "tls": False})
    device = await connect(stand, before=FROM_192_0_2_7 + post("Sync", b"abc"), tls=False)
    assert (await device.response()).status == 200
    assert stand.backend.seen[0].body == b"abc"
    long = header(0x21, 0x11, FOUR + tlv(0xEE, bytes(3_000)))
    device = await connect(stand, before=long[:1], tls=False)
    for piece in (long[1:20], long[20:2_000], long[2_000:] + post("Sync", b"def")):
        await device.send(piece)
    assert (await device.response()).status == 200
    assert stand.backend.seen[1].body == b"def"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n", "proxy_version_1"),
        (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", "proxy_header_missing"),
        (b"\r\n\r\nGET", "proxy_header_missing"),
        (header(0x21, 0x11, FOUR + b"\x04"), "proxy_header_malformed"),
        (header(0x21, 0x11, FOUR, 0xFFFF), "proxy_header_too_long"),
        (checked(0x21, 0x11, FOUR)[:-1] + b"\x00", "proxy_checksum"),
        (header(0x21, 0x00), "proxy_origin_unknown"),
    ],
)
async def test_a_balancer_that_says_it_wrongly_is_closed(make_stand: MakeStand, data: bytes, word: str) -> None:
    """With one audit line, and nothing reaches a backend."""
    stand = await behind(make_stand, PROXIED)
    assert await closed(stand, before=data)
    (line,) = await stand.audit.count(1)
    assert (line["event"], line["reasons"], line["source"]) == ("proxy_refused", [word], BALANCER)
    await until(lambda: stand.status()["handshakes_failed"] == 1)
    assert stand.backend.connections == 0


async def test_a_slow_header_is_a_handshake_that_failed(make_stand: MakeStand) -> None:
    """It has `proxy_seconds`, and its place is free again."""
    stand = await behind(make_stand, PROXIED, limits=with_limits(proxy_seconds=0.5))
    device = await connect(stand, before=FROM_192_0_2_7[:20], tls=False)
    assert await device.ended() == b""
    (line,) = await stand.audit.count(1)
    assert (line["event"], line["reasons"]) == ("proxy_refused", ["proxy_timeout"])
    await until(lambda: (stand.status()["connections_now"], stand.status()["handshakes_failed"]) == (0, 1))


@pytest.mark.parametrize("listener", [PROXIED, PLAIN])
async def test_who_is_no_listed_balancer_is_not_let_in(make_stand: MakeStand, listener: dict[str, Any]) -> None:
    """Row 159: a header with a false address from elsewhere is not even read."""
    stand = await behind(make_stand, listener)
    for data in (FROM_192_0_2_7, post(extra="X-Forwarded-For: 192.0.2.7\r\n")):
        try:
            assert await closed(stand, ANYBODY, data)
        except ConnectionError:  # refused even before our bytes were out
            continue
    lines = await stand.audit.count(2)
    assert [(one["event"], one["reasons"], one["source"]) for one in lines] == [
        ("connection_refused", ["not_a_balancer"], ANYBODY)
    ] * 2
    assert stand.backend.seen == []


async def test_a_header_where_none_is_expected_is_no_handshake(make_stand: MakeStand) -> None:
    """It is never guessed whether there is one: not even from a listed balancer."""
    stand = await behind(make_stand, {"balancers": (BALANCER,)})
    device = await connect(stand, before=FROM_192_0_2_7, tls=False)
    await device.ended()
    (line,) = await stand.audit.count(1)
    assert (line["event"], line["source"]) == ("handshake_failed", BALANCER)


async def test_a_balancers_own_connection_is_its_own(make_stand: MakeStand) -> None:
    """LOCAL is a health check; its address is the socket's."""
    stand = await behind(make_stand, PROXIED)
    device = await connect(stand, before=LOCAL)
    assert (await device.ask(HEALTH)).status == 200
    lines = await stand.audit.count(2)
    assert {line["source"] for line in lines} == {BALANCER}


async def test_each_device_behind_a_balancer_has_its_own_share(make_stand: MakeStand) -> None:
    """`connections_per_source` counts the addresses in the headers, and no balancer."""
    stand = await behind(make_stand, PROXIED, limits=with_limits(connections_per_source=2))
    other = header(0x21, 0x11, b"\xc0\x00\x02\x08" + FOUR[4:])
    first, *_ = [await connect(stand, before=data) for data in (FROM_192_0_2_7, other, FROM_192_0_2_7, other)]
    assert (await first.ask(post())).status == 200
    await until(lambda: stand.status()["connections_now"] == 4)
    assert await closed(stand, before=FROM_192_0_2_7)
    lines = await stand.audit.wait(lambda lines: lines[-1]["event"] == "connection_refused" if lines else False)
    assert (lines[-1]["reasons"], lines[-1]["source"]) == (["too_many_from_source"], "192.0.2.7")
    await first.close()
    await until(lambda: stand.status()["connections_now"] == 3)
    again = await connect(stand, before=FROM_192_0_2_7)
    assert (await again.ask(post())).status == 200


async def test_a_plain_listener_beside_the_one_with_tls(make_stand: MakeStand) -> None:
    """Both serve; each says in the trail which it was."""
    stand = await behind(make_stand, {}, PLAIN)
    ordinary = await connect(stand, ANYBODY)
    assert (await ordinary.ask(post())).status == 200
    balanced = await connect(stand, tls=False, number=1)
    assert (await balanced.ask(post())).status == 200
    first, second = (f"127.0.0.1:{one.port}" for one in stand.settings.gateway.listeners)
    assert [line["listener"] for line in await stand.audit.count(4)] == [first, first, second, second]


async def test_a_balancer_names_the_client_of_each_request(make_stand: MakeStand) -> None:
    """With `forwarded_for`: the last address in X-Forwarded-For, per request, since it pools its clients' requests."""
    stand = await behind(make_stand, {**PLAIN, "forwarded_for": True})
    device = await connect(stand, tls=False)
    said = ("X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n", "X-Forwarded-For: 192.0.2.8\r\n", "")
    for extra in said:
        assert (await device.ask(post(extra=extra))).status == 200
    sources = ["192.0.2.7", "192.0.2.8", BALANCER]
    assert [seen.values("X-Forwarded-For") for seen in stand.backend.seen] == [[one] for one in sources]
    lines = await stand.audit.count(6)
    assert [line["source"] for line in lines if line["event"] == "outcome"] == sources


async def test_a_head_that_cannot_be_read_is_nobodys_behind_a_balancer(make_stand: MakeStand) -> None:
    """Least of all the client's of the request before on that connection: the line has the balancer's own address."""
    stand = await behind(make_stand, {**PLAIN, "forwarded_for": True})
    device = await connect(stand, tls=False)
    assert (await device.ask(post(extra="X-Forwarded-For: 192.0.2.7\r\n"))).status == 200
    assert (await device.ask(post(extra="Host: b\r\nX-Forwarded-For: 192.0.2.8\r\n"))).status == 400
    lines = await stand.audit.count(3)
    assert [(line["event"], line["source"]) for line in lines[1:]] == [("outcome", "192.0.2.7"), ("refused", BALANCER)]


@pytest.mark.parametrize(
    ("listener", "source"),
    [({**PLAIN}, BALANCER), ({"balancers": (BALANCER,), "forwarded_for": True}, ANYBODY), ({}, ANYBODY)],
)
async def test_a_forwarded_address_of_anybody_else_is_nothing(
    make_stand: MakeStand, listener: dict[str, Any], source: str
) -> None:
    """Row 159: from an address that is not listed, or where it is not asked for, it is taken out and not believed."""
    stand = await behind(make_stand, listener)
    device = await connect(stand, source, tls=listener.get("tls", True))
    assert (await device.ask(post(extra="X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n"))).status == 200
    (seen,) = stand.backend.seen
    assert (seen.values("X-Forwarded-For"), seen.values("Forwarded")) == ([source], [])
    assert {line["source"] for line in await stand.audit.count(2)} == {source}


FORWARDING: dict[str, Any] = {"balancers": (BALANCER,), "forwarded_for": True}


@pytest.mark.parametrize(
    ("listener", "how", "status"),
    [
        (PLAIN, {"tls": False}, 401),
        ({**PROXIED, "tls": False}, {"tls": False, "before": FROM_192_0_2_7}, 401),
        (FORWARDING, {}, 401),
        (FORWARDING, {"source": ANYBODY}, 200),
        (PROXIED, {"before": FROM_192_0_2_7}, 200),
    ],
)
async def test_where_a_balancer_speaks_http_each_request_logs_on(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, listener: dict[str, Any], how: dict[str, Any], status: int
) -> None:
    """It may put several devices on one connection, so none goes by an earlier log-on (NTLM) there; by its own message it does.

    Behind the PROXY protocol and TLS the connection is the device's own.
    """
    stand = await make_stand(started=False)
    made = Listener(address="127.0.0.1", port=free_port(), **listener)
    stand.settings = change(stand.settings, listeners=(made,))
    await start(stand, monkeypatch, "ntlm")
    await stand.agent.put(PHONE, State.ALLOWED)
    asked = Asked(post("FolderSync", authorization=None, user="anna"))
    device = await connect(stand, **how)
    response, last = await log_on(device, asked, NtlmClient("LAB\\anna"))
    assert response.status == 200
    assert (await device.ask(asked(None))).status == status
    assert (await device.ask(asked(last))).status == 200


@pytest.mark.parametrize("listener", [PROXIED, {**PLAIN, "forwarded_for": True}])
async def test_rules_on_networks_mean_the_devices_address(make_stand: MakeStand, listener: dict[str, Any]) -> None:
    """Row 22: not the balancer's, which is the same for everybody."""
    rules = (rule("branch", "deny", network="192.0.2.7/32"), rule("balancer", "deny", network=f"{BALANCER}/32"))
    stand = await behind(make_stand, listener, rules=rules)
    for source, status in (("192.0.2.7", 403), ("192.0.2.8", 200)):
        said = header(0x21, 0x11, ip_address(source).packed + FOUR[4:]) if "proxy" in listener else b""
        device = await connect(stand, before=said, tls=listener.get("tls", True))
        asked = post(version="12.1", extra="" if said else f"X-Forwarded-For: {source}\r\n")
        assert (await device.ask(asked)).status == status
    denied, passed = await stand.audit.outcomes(2)
    assert (denied["rule"], denied["source"], passed["source"]) == ("branch", "192.0.2.7", "192.0.2.8")


async def test_a_new_rule_on_a_network_ends_what_a_balancer_carries_for_it(make_stand: MakeStand) -> None:
    """Also a Ping that is held: it is judged anew by the address that the balancer has told."""
    stand = await behind(make_stand, {**PLAIN, "forwarded_for": True})
    stand.backend.script = hang
    devices = []
    for source in ("192.0.2.7", "192.0.2.8"):
        device = await connect(stand, tls=False)
        await device.send(post("Ping", b"\x03\x01\x6a\x00", extra=f"X-Forwarded-For: {source}\r\n"))
        devices.append(device)
    await until(lambda: len(stand.backend.seen) == 2)
    await reload(stand, rules=(rule("branch", "deny", network="192.0.2.7/32"),))
    assert (await devices[0].response()).body.endswith(b"129\x00\x01\x01")
    await until(lambda: stand.status()["exchanges_now"] == 1)


async def test_a_balancers_connections_are_not_held_to_one_sources_share(make_stand: MakeStand) -> None:
    """They are as many devices; the bound on all connections stands."""
    limits = with_limits(connections_per_source=1, connections_per_worker=3)
    stand = await behind(make_stand, PLAIN, limits=limits)
    for _ in range(3):
        device = await connect(stand, tls=False)
        assert (await device.ask(post())).status == 200
    assert await closed(stand)
    await stand.audit.wait(lambda lines: any(line["event"] == "connection_refused" for line in lines))
    (refused,) = [line for line in stand.audit.lines() if line["event"] == "connection_refused"]
    assert refused["reasons"] == ["too_many_connections"]


async def test_settings_that_would_believe_anybody_are_not_taken(make_stand: MakeStand) -> None:
    """Requiring no client TLS without saying of whom."""
    stand = await make_stand()
    open_to_all = (Listener(address="127.0.0.1", port=free_port(), tls=False),)
    stand.settings_path.write_bytes(msgspec.json.encode(change(stand.settings, listeners=open_to_all)))
    assert stand.process is not None
    stand.process.send_signal(1)
    await until(lambda: "listed balancers only; found none" in stand.status()["reload_error"])
