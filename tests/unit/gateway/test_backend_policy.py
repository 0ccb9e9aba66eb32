"""The gateway's own Provision in the form of a device's."""

from sentry_runtime.gateway import backend_policy
from sentry_runtime.gateway.head import parse
from sentry_runtime.settings import Backend


def test_the_gateways_own_request_is_the_devices_with_another_body() -> None:
    """Whole and uncompressed: what comes back is for the gateway to read."""
    head = parse(
        b"POST /Microsoft-Server-ActiveSync?Cmd=Provision&DeviceId=A&DeviceType=B HTTP/1.1\r\nHost: a\r\n"
        b"Authorization: Basic eDp5\r\nMS-ASProtocolVersion: 14.1\r\nX-MS-PolicyKey: 5\r\nAccept-Encoding: gzip\r\n"
        b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nUser-Agent: x\r\n\r\n"
    )
    sent = backend_policy.request(head, Backend(name="mail", host="mail.lab.test"), "192.0.2.1", 77, b"body")
    lines = sent.split(b"\r\n")
    assert lines[0] == b"POST /Microsoft-Server-ActiveSync?Cmd=Provision&DeviceId=A&DeviceType=B HTTP/1.1"
    assert {b"Authorization: Basic eDp5", b"MS-ASProtocolVersion: 14.1", b"User-Agent: x"} <= {*lines}
    assert {b"X-MS-PolicyKey: 77", b"Content-Length: 4"} <= {*lines}
    assert not any(line.lower().startswith((b"accept-", b"expect", b"transfer")) for line in lines)
    assert sent.endswith(b"\r\n\r\nbody")
