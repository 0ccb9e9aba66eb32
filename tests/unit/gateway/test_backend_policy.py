"""The gateway's own Provision in the form of a device's, and the backend's key in what is forwarded."""

import pytest

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import backend_policy
from sentry_runtime.gateway.head import parse
from sentry_runtime.gateway.identify import Claim
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
    logged_on = backend_policy.request(
        head, Backend(name="mail", host="mail.lab.test"), "192.0.2.1", 77, b"body", logged_on=True
    )
    assert logged_on == sent.replace(b"Authorization: Basic eDp5\r\n", b"")


@pytest.mark.parametrize(
    ("command", "key", "forwarded"),
    [
        ("Sync", 5, 77),
        ("Ping", 5, 77),
        ("Ping", None, 77),
        ("OPTIONS", None, 77),
        ("Sync", None, 0),
        ("Settings", None, 0),
    ],
)
def test_the_backends_key_goes_with_what_a_device_has_shown(command: str, key: int | None, forwarded: int) -> None:
    """Whoever may leave out its key at a lenient site has shown nothing."""
    claim = Claim(DeviceKey("A", "anna"), (), "B", "anna", command, "14.1", key)
    assert backend_policy.forwarded_key(claim, Enforcement(final=77)) == forwarded
    assert backend_policy.forwarded_key(claim, Enforcement(temporary=77)) == 0
    assert backend_policy.forwarded_key(claim, None) == 0
