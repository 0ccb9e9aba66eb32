"""What may not pass is refused in words its client understands, and the mail server never sees it."""

import socket
import ssl

import pytest

from tests.e2e.device import DEVICE_IS_BLOCKED, Audit, Phone, Registry, eventually, new_id, status_of
from tests.e2e.mailserver.server import ALICE, Account, MailServer
from tests.lab import Lab

pytestmark = pytest.mark.e2e

LOG_SECONDS = 20.0  # for a busy mail server to write its line


def reached(mail_server: MailServer, device_id: str) -> list[str]:
    """The requests of a device that the mail server's front end has logged: its user agent carries its id."""
    return [line for line in mail_server.requests_seen() if device_id in line]


def test_an_unregistered_device_is_told_that_it_is_blocked(lab: Lab, mail_server: MailServer) -> None:
    """From 14.0 on the refusal is a status in the command's own document (MS-ASCMD 2.2.2: 129, DeviceIsBlockedForThisUser)."""
    phone = Phone(lab, ALICE, new_id())
    answer = phone.folder_sync()
    assert answer.status_code == 200
    assert status_of(answer.content, "FolderHierarchy.Status") == DEVICE_IS_BLOCKED
    assert not [line for line in reached(mail_server, phone.device_id) if "POST" in line]


def test_an_unregistered_device_of_an_older_protocol_gets_403(lab: Lab, mail_server: MailServer) -> None:
    """Up to 12.1 there is no such status: HTTP 403 says it."""
    phone = Phone(lab, ALICE, new_id(), version="12.1")
    assert phone.folder_sync().status_code == 403
    assert not [line for line in reached(mail_server, phone.device_id) if "POST" in line]


def test_without_credentials_a_device_is_asked_for_them(lab: Lab, mail_server: MailServer, registry: Registry) -> None:
    """401 with a challenge, from the gateway itself; nothing is remembered of the device."""
    phone = Phone(lab, ALICE, new_id())
    phone.session.auth = None
    answer = phone.folder_sync()
    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert reached(mail_server, phone.device_id) == []
    assert not [row for row in registry.rows() if phone.device_id in row]


def test_wrong_credentials_leave_no_trace_of_the_device(lab: Lab, mail_server: MailServer, registry: Registry) -> None:
    """A stranger who guesses passwords fills no list: the UEM never hears of the device."""
    phone = Phone(lab, Account(ALICE.user, "not her password"), new_id())
    assert phone.folder_sync().status_code == 401
    assert not [row for row in registry.rows() if phone.device_id in row]


@pytest.mark.parametrize(
    "path",
    ["/", "/owa/", "/EWS/Exchange.asmx", "/ecp/", "/SOGo/", "/Microsoft-Server-ActiveSync/../owa/", "/%6fwa/"],
)
def test_what_is_not_activesync_is_not_there(lab: Lab, mail_server: MailServer, alices_device: str, path: str) -> None:
    """Also for an allowed device with good credentials: refused here, and not a line in the mail server's log."""
    phone = Phone(lab, ALICE, alices_device)
    assert raw(lab, f"GET {path} HTTP/1.1", f"User-Agent: Phone/{alices_device}").split()[1] in {b"404", b"400"}
    assert reached(mail_server, alices_device) == []
    assert phone.folder_sync().status_code == 200
    # The server's log is written behind its answer.
    eventually(lambda: reached(mail_server, alices_device) != [], "a request that passes to show there", LOG_SECONDS)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("two lengths", ["Content-Length: 4", "Content-Length: 40"]),
        ("length and chunks", ["Content-Length: 4", "Transfer-Encoding: chunked"]),
        ("chunks inside chunks", ["Transfer-Encoding: chunked, chunked"]),
        ("a folded field", ["X-One: a\r\n b", "Content-Length: 0"]),
        ("a second host", ["Host: mail.lab.test", "Content-Length: 0"]),
    ],
)
def test_ambiguous_framing_never_reaches_the_mail_server(
    lab: Lab, mail_server: MailServer, alices_device: str, audit: Audit, name: str, fields: list[str]
) -> None:
    """400 and a close, whoever sends it; the next reader on the wire would count otherwise than we do."""
    query = f"Cmd=FolderSync&User=alice&DeviceId={alices_device}&DeviceType=Phone"
    start = f"POST /Microsoft-Server-ActiveSync?{query} HTTP/1.1"
    answer = raw(lab, start, f"User-Agent: Phone/{alices_device}", *fields, body=b"0\r\n\r\n")
    assert answer.split()[1] == b"400"
    assert reached(mail_server, alices_device) == []


def raw(lab: Lab, start: str, *fields: str, body: bytes = b"") -> bytes:
    """Send a request as these very bytes and return all that comes back until the appliance closes."""
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    lines = [start, f"Host: {lab.addresses.device}", "Connection: close", *fields]
    with (
        socket.create_connection((lab.addresses.device, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=lab.addresses.device) as secure,
    ):
        secure.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = b""
        while chunk := secure.recv(65_536):
            answer += chunk
    return answer
