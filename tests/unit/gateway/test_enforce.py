"""The gateway's own answers."""

import pytest

from sentry_runtime.devices.record import DeviceKey, Reason
from sentry_runtime.gateway import enforce
from sentry_runtime.gateway.decide import ALLOW, Action, Excess, Need, Verdict
from sentry_runtime.gateway.identify import Claim


def claim(command: str, protocol: str) -> Claim:
    """What a device asks."""
    return Claim(DeviceKey("PHONE1", "anna"), (), "iPhone", "anna", command, protocol, None)


def block(*reasons: Reason) -> Verdict:
    """It may not pass."""
    return Verdict(Action.BLOCK, reasons)


@pytest.mark.parametrize(
    ("command", "protocol", "status", "tail"),
    [
        ("FolderSync", "12.1", 403, b""),
        ("FolderSync", "2.5", 403, b""),
        ("FolderSync", "", 403, b""),
        ("FolderSync", "14.0", 200, b"\x03129\x00\x01\x01"),
        ("Provision", "16.1", 200, b"\x03129\x00\x01\x01"),
        ("MoveItems", "14.1", 200, b"\x03129\x00\x01\x01\x01"),
        ("GetAttachment", "14.1", 403, b""),
        ("OPTIONS", "14.1", 403, b""),
    ],
)
def test_a_blocked_device(command: str, protocol: str, status: int, tail: bytes) -> None:
    """By version and command."""
    answer = enforce.blocked(claim(command, protocol), block(Reason.MANUAL))
    assert (answer.status, answer.body.endswith(tail), bool(answer.body)) == (status, True, bool(tail))


def test_one_device_too_many_is_told_so() -> None:
    """177 where that is the only reason."""
    full = enforce.blocked(claim("Sync", "14.1"), block(Reason.MAILBOX_LIMIT))
    assert b"177" in full.body
    both = enforce.blocked(claim("Sync", "14.1"), block(Reason.MAILBOX_LIMIT, Reason.MANUAL))
    assert b"129" in both.body


@pytest.mark.parametrize("protocol", ["2.5", "14.1"])
def test_nobody_could_be_asked_is_no_verdict_on_the_device(protocol: str) -> None:
    """It is to come back, in every version."""
    answer = enforce.blocked(claim("Sync", protocol), block(Reason.UEM_UNREACHABLE))
    assert (answer.status, answer.headers) == (503, ((b"Retry-After", b"30"),))


NOTICE = "Zugang gesperrt. Help desk: 4711 <help@lab.test>"


@pytest.mark.parametrize(("command", "protocol"), [("Sync", "12.1"), ("Sync", ""), ("GetAttachment", "16.1")])
def test_a_notice_is_plain_text_where_the_answer_is_an_http_status(command: str, protocol: str) -> None:
    """With the reasons behind it; what looks like markup stays text for every browser."""
    verdict = block(Reason.UNREGISTERED, Reason.POLICY)
    answer = enforce.blocked(claim(command, protocol), verdict, NOTICE)
    assert (answer.status, answer.body.decode()) == (403, f"{NOTICE}\nReason: unregistered, policy\n")
    assert answer.headers == (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"X-Block-Reason", b"unregistered, policy"),
    )


def test_a_notice_changes_nothing_of_a_status_document() -> None:
    """The reasons stand in a field beside it."""
    verdict = block(Reason.UNREGISTERED)
    plain, told = (enforce.blocked(claim("Sync", "14.1"), verdict, notice) for notice in ("", NOTICE))
    assert (told.status, told.body) == (plain.status, plain.body)
    assert told.headers == (*plain.headers, (b"X-Block-Reason", b"unregistered"))


def test_a_held_request_ends_with_the_notice_too() -> None:
    """All but a Ping of an older client, which is sent to a FolderSync first."""
    verdict = block(Reason.POLICY)
    assert b"4711" in enforce.revoked(claim("Sync", "12.1"), verdict, NOTICE).body
    assert b"4711" not in enforce.revoked(claim("Ping", "12.1"), verdict, NOTICE).body


def test_without_reasons_a_notice_names_none() -> None:
    """A block that says no reason is still a block."""
    answer = enforce.blocked(claim("Sync", "2.5"), block(), "No.")
    assert (answer.body, b"X-Block-Reason" in dict(answer.headers)) == (b"No.\n", False)


@pytest.mark.parametrize(
    ("excess", "word"),
    [(Excess.TOO_MANY_REQUESTS, b"CommandFrequency"), (Excess.SYNC_LOOP, b"RecentCommands")],
)
def test_a_throttled_device_is_told_when_to_come_back(excess: Excess, word: bytes) -> None:
    """In every version; the seconds are rounded up, so that nobody comes a moment too early."""
    answer = enforce.throttled(excess, 12.1)
    assert (answer.status, answer.headers) == (503, ((b"Retry-After", b"13"), (b"X-MS-ASThrottle", word)))
    assert dict(enforce.throttled(excess, 0.0).headers)[b"Retry-After"] == b"1"


def test_the_wire_form() -> None:
    """Status line, fields, length, and whether the connection stays."""
    data = enforce.Answer(401, ((b"WWW-Authenticate", b"Basic"),), b"no").to_bytes(keep_alive=False)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 401 Unauthorized"
    assert {b"WWW-Authenticate: Basic", b"Content-Length: 2", b"Connection: close"} < set(lines)
    assert body == b"no"
    assert b"Connection" not in enforce.of_status(404).to_bytes(keep_alive=True)


@pytest.mark.parametrize(
    ("command", "protocol", "need", "body"),
    [
        ("FolderSync", "12.1", Need.POLICY_KEY_WRONG, ""),
        ("FolderSync", "", Need.POLICY_KEY_MISSING, ""),
        ("FolderSync", "14.0", Need.POLICY_KEY_MISSING, "03 01 6a 00 00 07 56 4c 03 31 34 32 00 01 01"),
        ("Ping", "16.1", Need.POLICY_KEY_WRONG, "03 01 6a 00 00 0d 45 47 03 31 34 34 00 01 01"),
        ("Sync", "14.1", Need.POLICY_CHANGED, "03 01 6a 00 45 4e 03 31 34 33 00 01 01"),
        ("GetAttachment", "14.1", Need.POLICY_KEY_MISSING, ""),
    ],
)
def test_a_device_that_has_to_provision(command: str, protocol: str, need: Need, body: str) -> None:
    """449 in every version, with the phrase that servers use."""
    answer = enforce.unprovisioned(claim(command, protocol), Verdict(Action.PROVISION, (need,)))
    assert (answer.status, answer.body.hex(" ")) == (449, body)
    assert answer.to_bytes(keep_alive=True).startswith(b"HTTP/1.1 449 Retry after sending a PROVISION command\r\n")


@pytest.mark.parametrize(
    ("protocol", "verdict", "status", "body"),
    [
        (
            "14.1",
            Verdict(Action.PROVISION, (Need.POLICY_CHANGED,)),
            449,
            "03 01 6a 00 00 0d 45 47 03 31 34 33 00 01 01",
        ),
        ("12.1", Verdict(Action.PROVISION, (Need.POLICY_CHANGED,)), 449, ""),
        ("14.1", ALLOW, 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
        ("12.1", ALLOW, 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
    ],
)
def test_a_held_ping_ends_when_the_policy_changes(protocol: str, verdict: Verdict, status: int, body: str) -> None:
    """With what it would be told now; one without a key with 7, "do a FolderSync"."""
    answer = enforce.renewed(claim("Ping", protocol), verdict)
    assert (answer.status, answer.body.hex(" ")) == (status, body)
