"""The smallest answers that carry a status, each on its command's own page."""

import pytest

from sentry_runtime.eas.codepages import AIRSYNC, FOLDERS
from sentry_runtime.eas.query import COMMANDS
from sentry_runtime.eas.status import DEVICE_IS_BLOCKED, speaks_status, stated, status_body
from sentry_runtime.eas.wbxml import element, encode

# Checked with libwbxml's wbxml2xml (Find by hand: newer than libwbxml).
BODIES = {
    "FolderSync": "03 01 6a 00 00 07 56 4c 03 31 32 39 00 01 01",
    "FolderCreate": "03 01 6a 00 00 07 53 4c 03 31 32 39 00 01 01",
    "FolderUpdate": "03 01 6a 00 00 07 55 4c 03 31 32 39 00 01 01",
    "FolderDelete": "03 01 6a 00 00 07 54 4c 03 31 32 39 00 01 01",
    "Sync": "03 01 6a 00 45 4e 03 31 32 39 00 01 01",
    "Ping": "03 01 6a 00 00 0d 45 47 03 31 32 39 00 01 01",
    "Settings": "03 01 6a 00 00 12 45 46 03 31 32 39 00 01 01",
    "ItemOperations": "03 01 6a 00 00 14 45 4d 03 31 32 39 00 01 01",
    "Search": "03 01 6a 00 00 0f 45 4c 03 31 32 39 00 01 01",
    "SendMail": "03 01 6a 00 00 15 45 52 03 31 32 39 00 01 01",
    "SmartForward": "03 01 6a 00 00 15 46 52 03 31 32 39 00 01 01",
    "SmartReply": "03 01 6a 00 00 15 47 52 03 31 32 39 00 01 01",
    "ResolveRecipients": "03 01 6a 00 00 0a 45 47 03 31 32 39 00 01 01",
    "ValidateCert": "03 01 6a 00 00 0b 45 4a 03 31 32 39 00 01 01",
    "GetItemEstimate": "03 01 6a 00 00 06 45 4d 4e 03 31 32 39 00 01 01 01",
    "MeetingResponse": "03 01 6a 00 00 08 47 4a 4b 03 31 32 39 00 01 01 01",
    "MoveItems": "03 01 6a 00 00 05 45 4a 4b 03 31 32 39 00 01 01 01",
    "Provision": "03 01 6a 00 00 0e 45 4b 03 31 32 39 00 01 01",
    "Find": "03 01 6a 00 00 19 45 4a 03 31 32 39 00 01 01",
}
WITHOUT = {"GetAttachment", "GetHierarchy", "CreateCollection", "DeleteCollection", "MoveCollection"}


@pytest.mark.parametrize(("command", "body"), BODIES.items())
def test_the_bytes_of_status_129(command: str, body: str) -> None:
    """Exactly these: some clients compare the first bytes."""
    document = status_body(command, DEVICE_IS_BLOCKED)
    assert document is not None
    assert document.hex(" ") == body


@pytest.mark.parametrize("command", sorted(WITHOUT))
def test_commands_whose_answer_is_no_wbxml_have_no_document(command: str) -> None:
    """They are answered by an HTTP status in every version."""
    assert status_body(command, DEVICE_IS_BLOCKED) is None


def test_every_command_is_decided_about() -> None:
    """A new command must be put into one of the two tables."""
    assert set(COMMANDS.values()) == set(BODIES) | WITHOUT


def test_which_versions_read_a_status() -> None:
    """14.0 and later; a client that does not say its version is taken for an old one."""
    spoken = {
        version: speaks_status(version) for version in ("", "2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1")
    }
    assert [version for version, yes in spoken.items() if yes] == ["14.0", "14.1", "16.0", "16.1"]


@pytest.mark.parametrize("command", sorted(BODIES))
def test_the_status_of_a_document_is_read_back(command: str) -> None:
    """Wherever the command has it."""
    assert stated(status_body(command, 143) or b"") == 143


def test_a_status_on_another_page_counts_and_one_inside_the_document_does_not() -> None:
    """Horde has it on the page of Sync; those of single items are no business of the whole command."""
    assert stated(encode(element(FOLDERS, "FolderSync", element(AIRSYNC, "Status", "142")))) == 142
    item = element(AIRSYNC, "Collection", element(AIRSYNC, "Status", "142"))
    assert stated(encode(element(AIRSYNC, "Sync", element(AIRSYNC, "Collections", item)))) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\x03\x01\x6a\x00",
        encode(element(FOLDERS, "FolderSync")),
        encode(element(FOLDERS, "FolderSync", element(FOLDERS, "Status", "many"))),
        encode(element(FOLDERS, "FolderSync", element(FOLDERS, "Status", "1420"))),
        encode(element(FOLDERS, "FolderSync", element(FOLDERS, "Status", "\u0661\u0664\u0662"))),
    ],
)
def test_what_states_nothing(body: bytes) -> None:
    """No document, none with a status, none with a number."""
    assert stated(body) is None
