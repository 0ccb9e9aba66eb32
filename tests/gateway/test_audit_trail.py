"""What is written down of a request, and what never is."""

import asyncio
import base64
import json
import signal

from sentry_runtime.devices.record import DeviceKey, Reason, State
from tests.gateway.stand import PASSWORD, PHONE, AuditSink, Stand, basic, post
from tests.trail_sink import PREFIX


async def test_a_request_and_its_outcome_are_two_lines_with_one_id(stand: Stand) -> None:
    """All fields of both."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await device.ask(post("Sync", b"abc"))
    lines = await stand.audit.wait(lambda lines: len(lines) >= 2)
    request, outcome = lines
    port = device.writer.get_extra_info("sockname")[1]
    common = {
        "source": "127.0.0.1",
        "source_port": port,
        "listener": f"127.0.0.1:{stand.port}",
        "method": "POST",
        "command": "Sync",
        "device_id": "PHONE1",
        "device_type": "iPhone",
        "principal": "anna@lab.test",
        "protocol": "14.1",
    }
    assert request["id"] == outcome["id"]
    time = request.pop("time")
    assert len(time) == len("2026-01-01T00:00:00.000Z")
    assert time.endswith("Z")
    del request["id"], outcome["id"], outcome["time"]
    outcome.pop("milliseconds", 0)
    assert request == common | {"event": "request", "path": "/Microsoft-Server-ActiveSync"}
    done = {"action": "allow", "decided_by": "allowed", "status": 200, "bytes_in": 3, "backend": "mail0"}
    assert outcome == common | done | {"event": "outcome"}


async def test_every_kind_of_request_has_exactly_its_lines(stand: Stand) -> None:
    """Allowed, blocked, challenged, forbidden, not found: two lines. Malformed: one."""
    await stand.agent.put(PHONE, State.ALLOWED)
    await stand.agent.put(DeviceKey("PHONE2", "anna@lab.test"), State.BLOCKED, Reason.MANUAL, Reason.POLICY)
    device = await stand.device()
    await device.ask(post())
    await device.ask(post(device="PHONE2"))
    await device.ask(post(authorization=None))
    await device.ask(post(user="bert"))
    await device.ask(b"GET /owa/?password=secret HTTP/1.1\r\nHost: a\r\n\r\n")
    await device.ask(b"GET / HTTP/1.1\r\n\r\n")
    lines = await stand.audit.wait(lambda lines: len(lines) >= 11)
    told = [(one["event"], one.get("action"), one.get("status"), one.get("reasons")) for one in lines]
    assert told == [
        ("request", None, None, None),
        ("outcome", "allow", 200, None),
        ("request", None, None, None),
        ("outcome", "block", 200, ["manual", "policy"]),
        ("request", None, None, None),
        ("outcome", "deny", 401, ["credentials_missing"]),
        ("request", None, None, None),
        ("outcome", "deny", 403, ["user_mismatch"]),
        ("request", None, None, None),
        ("outcome", "deny", 404, ["not_served"]),
        ("refused", "deny", 400, ["host_missing"]),
    ]
    ids = [one["id"] for one in lines]
    assert [ids.count(one) for one in dict.fromkeys(ids)] == [2, 2, 2, 2, 2, 1]
    assert lines[8]["path"] == "/owa/"


async def test_no_credential_cookie_or_body_is_ever_written_down(stand: Stand) -> None:
    """The canary: neither in the trail nor on stderr, in no form, also when the request is refused or fails."""
    await stand.agent.put(PHONE, State.ALLOWED)
    body = b"canary-b0dy"
    extra = "Cookie: session=canary-c00kie\r\n"
    device = await stand.device()
    await device.ask(post("SendMail", body, extra=extra))
    await device.ask(post("SendMail", body, device="PHONE2", extra=extra))
    await device.ask(post("SendMail", body, user="bert", extra=extra))
    await device.ask(post("SendMail", body, authorization=f"Bearer {PASSWORD}", extra=extra))
    await device.ask(post("SendMail", body, authorization=basic("an\x01na"), extra=extra))
    await stand.backend.stop()
    other = await stand.device()
    await other.ask(post("SendMail", body, extra=extra))
    await other.ask(post("SendMail", body, extra=extra + "Host: two\r\n"))
    await stand.audit.outcomes(6)
    assert stand.process is not None
    stand.process.send_signal(signal.SIGTERM)
    await stand.ended()
    written = b"".join(stand.audit.raw) + stand.log().encode()
    assert b"PHONE1" in written
    assert b"anna@lab.test" in written
    for canary in (PASSWORD.encode(), b"canary-c00kie", body):
        for form in (canary, base64.b64encode(canary).rstrip(b"="), canary.hex().encode()):
            assert form not in written
    assert basic().removeprefix("Basic ").encode() not in written


async def test_hostile_names_cannot_forge_a_line(stand: Stand) -> None:
    """Line breaks and quotes are refused or escaped: each line of the stream is one JSON object."""
    device = await stand.device()
    await device.ask(post(authorization=basic('anna","event":"outcome')))
    await (await stand.device()).ask(post(device="A%0a%22event%22"))
    await (await stand.device()).ask(post(device="A%22%2c%22event%22%3a%22x"))
    lines = await stand.audit.wait(lambda lines: len(lines) >= 4)
    assert {one["event"] for one in lines} == {"request", "outcome", "refused"}
    assert all(raw.startswith(PREFIX) for raw in stand.audit.raw)


async def test_while_rsyslog_is_away_lines_wait_and_nothing_stops(stand: Stand) -> None:
    """They come when it is back, in order."""
    await stand.agent.put(PHONE, State.ALLOWED)
    path = stand.settings.paths.audit_socket
    stand.audit.close()
    device = await stand.device()
    for _ in range(20):
        assert (await device.ask(post())).status == 200
    stand.audit = AuditSink(path)
    outcomes = await stand.audit.outcomes(20)
    assert len(outcomes) == 20
    assert [json.loads(json.dumps(one))["status"] for one in outcomes] == [200] * 20


async def test_a_slow_rsyslog_loses_nothing_and_blocks_nobody(stand: Stand) -> None:
    """Nobody reads for a while: devices are served meanwhile, and every line arrives."""
    await stand.agent.put(PHONE, State.ALLOWED)
    devices = [await stand.device() for _ in range(5)]
    async with asyncio.timeout(30):
        for _ in range(60):  # 600 lines; the kernel has room for about 200
            await asyncio.gather(*(device.ask(post()) for device in devices))
    outcomes = await stand.audit.outcomes(300)
    assert len(outcomes) == 300
