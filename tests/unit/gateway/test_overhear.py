"""Listening to Settings requests as they pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.codepages import SETTINGS
from sentry_runtime.eas.device_information import SETTINGS_BYTES, DeviceInformation, write
from sentry_runtime.eas.wbxml import element, encode
from sentry_runtime.gateway.head import parse
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.overhear import Listener, listener

PHONE = DeviceKey("PHONE1", "anna")
SAYS = DeviceInformation(model="iPhone", os="iOS 12")
BODY = encode(element(SETTINGS, "Settings", write(SAYS)))


def claim(command: str, key: DeviceKey | None = PHONE) -> Claim:
    """A request."""
    return Claim(key, (), "iPhone", "anna", command, "12.1", 7)


@pytest.mark.parametrize(
    ("asked", "encoding", "heard"),
    [
        (claim("Settings"), "", True),
        (claim("Settings"), "Content-Encoding: identity\r\n", True),
        (claim("Settings"), "Content-Encoding: gzip\r\n", False),
        (claim("Sync"), "", False),
        (claim("SendMail"), "", False),
        (claim("Settings", None), "", False),
    ],
)
def test_only_a_settings_request_of_a_device_is_listened_to(asked: Claim, encoding: str, heard: bool) -> None:  # noqa: FBT001
    """Of mail nothing is copied."""
    head = parse(f"POST /Microsoft-Server-ActiveSync?x HTTP/1.1\r\nHost: a\r\n{encoding}\r\n".encode())
    assert (listener(asked, head) is not None) is heard


@given(st.lists(st.integers(0, len(BODY)), max_size=5).map(sorted))
def test_however_the_body_comes_it_is_understood(cuts: list[int]) -> None:
    """In one piece or in many."""
    one = Listener()
    for start, end in zip([0, *cuts], [*cuts, len(BODY)], strict=True):
        one.hear(BODY[start:end])
    assert one.understood() == SAYS


def test_a_long_body_is_not_kept() -> None:
    """However long it goes on."""
    one = Listener()
    one.hear(BODY)
    for _ in range(100):
        one.hear(b"x" * 4_096)
    assert one.understood() is None
    assert len(one._heard) <= SETTINGS_BYTES + 4_096
