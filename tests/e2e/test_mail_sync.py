"""A real client reads real mail from a real server through the appliance."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyactivesync import FolderType

from images.guest import Guest
from tests.e2e.device import UEM_ADMIN, Audit, NothingNewError, Phone, SyncClient, client, new_id, status_of
from tests.e2e.mailserver.server import ALICE, BOB, MailServer
from tests.lab import Lab, Measured

pytestmark = pytest.mark.e2e

PING_ENDS_SECONDS = 25.0  # SOGo looks into the mailbox every 5 s; the rest is for a busy machine
CUT_SECONDS = 2.0  # to the end of the held request: the start of the asking program, a push, a message, an answer


def inbox(device: SyncClient) -> str:
    """The id of the inbox."""
    return next(str(folder.id) for folder in device.list_folders() if folder.type == FolderType.INBOX)


def synced(device: SyncClient, folder: str) -> tuple[str, list[str]]:
    """Sync a folder from the beginning until nothing is new: its sync key then, and the subjects of all mail in it."""
    key = device.sync_folder(folder).sync_key
    subjects: list[str] = []
    while True:
        try:
            page = device.sync_folder(folder, key)
        except NothingNewError:
            return key, subjects
        key = page.sync_key
        subjects += [item.fields.get("Email.Subject", "") for item in page.added]


def test_options_come_from_the_mail_server(lab: Lab, mail_server: MailServer) -> None:
    """A device learns the protocol versions and commands before it has said who it is."""
    answer = Phone(lab, ALICE, new_id()).options()
    assert answer.status_code == 200
    assert "14.1" in answer.headers["MS-ASProtocolVersions"].split(",")
    assert "FolderSync" in answer.headers["MS-ASProtocolCommands"].split(",")


def test_an_allowed_device_syncs_its_folders(lab: Lab, alices_device: str) -> None:
    """FolderSync gives the folders of alice's mailbox."""
    answer = Phone(lab, ALICE, alices_device).folder_sync()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/vnd.ms-sync.wbxml")
    assert status_of(answer.content, "FolderHierarchy.Status") == "1"
    assert b"INBOX" in answer.content


@pytest.mark.usefixtures("trusted")
def test_the_client_library_reads_mail(lab: Lab, alices_device: str, mail_server: MailServer) -> None:
    """What was delivered to alice arrives in her device's Sync."""
    subject = f"For the sync {alices_device}"
    mail_server.deliver(ALICE.user, subject)
    with client(lab, ALICE, alices_device) as device:
        _, subjects = synced(device, inbox(device))
    assert subject in subjects


@pytest.mark.usefixtures("trusted")
def test_new_mail_ends_a_held_ping(lab: Lab, alices_device: str, mail_server: MailServer, audit: Audit) -> None:
    """The Ping hangs while nothing comes, ends with "changes" once mail is there, and Sync then fetches it."""
    subject = f"For the ping {alices_device}"
    with client(lab, ALICE, alices_device) as device, ThreadPoolExecutor(max_workers=1) as pool:
        folder = inbox(device)
        key, _ = synced(device, folder)
        ping = pool.submit(device.ping, folder, heartbeat=120, timeout=60)
        audit.wait_for(event="request", command="Ping", device_id=alices_device)
        assert not ping.done()
        mail_server.deliver(ALICE.user, subject)
        assert ping.result(timeout=PING_ENDS_SECONDS).status == "2"
        added = device.sync_folder(folder, key).added
    assert [item.fields.get("Email.Subject") for item in added] == [subject]


@pytest.mark.usefixtures("trusted")
def test_a_device_blocked_while_its_ping_hangs_loses_it_at_once(
    lab: Lab, alices_device: str, machine: Guest, audit: Audit, measured: Measured
) -> None:
    """Nobody waits for the heartbeat: the block itself ends the Ping, and the next command is refused."""
    with client(lab, ALICE, alices_device) as device, ThreadPoolExecutor(max_workers=1) as pool:
        folder = inbox(device)
        synced(device, folder)
        ping = pool.submit(timed_ping, device, folder)
        audit.wait_for(event="request", command="Ping", device_id=alices_device)
        assert not ping.done()
        asked = time.monotonic()
        machine.execute([UEM_ADMIN, "block", alices_device, ALICE.user])
        ended = ping.result(timeout=30)
    measured("from asking for a block to the end of the held Ping", ended - asked)
    assert ended - asked < CUT_SECONDS
    assert status_of(Phone(lab, ALICE, alices_device).folder_sync().content, "FolderHierarchy.Status") == "129"


def test_what_an_administrator_says_in_the_cli_holds_at_once(lab: Lab, mail_server: MailServer) -> None:
    """A device is refused, registered and passes, is blocked and refused again: each with its very next request."""
    phone = Phone(lab, ALICE, new_id())
    device = f"{phone.device_id} {ALICE.user}"

    def status() -> str | None:
        return status_of(phone.folder_sync().content, "FolderHierarchy.Status")

    assert status() == "129"
    lab.cli("enable", lab.enable_secret, f"device register {device}")
    assert status() == "1"
    assert phone.device_id in lab.cli("enable", lab.enable_secret, "show sentry devices").stdout
    lab.cli("enable", lab.enable_secret, f"device block {device}")
    assert status() == "129"
    lab.cli("enable", lab.enable_secret, f"device remove {device}")


def timed_ping(device: SyncClient, folder: str) -> float:
    """When a Ping of ten minutes ended."""
    device.ping(folder, heartbeat=600, timeout=660)
    return time.monotonic()


def test_one_users_registration_is_not_anothers(lab: Lab, alices_device: str) -> None:
    """The same phone with bob's mailbox is another entry, and nobody has registered that one."""
    answer = Phone(lab, BOB, alices_device).folder_sync()
    assert status_of(answer.content, "FolderHierarchy.Status") == "129"
