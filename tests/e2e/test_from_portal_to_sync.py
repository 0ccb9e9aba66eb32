"""An administrator at the portal and a phone in front of the gateway: blocked, found, understood, allowed, and reading mail."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.device import Audit, Phone, Registry, client, new_id, status_of
from tests.e2e.mailserver.server import ALICE, MailServer
from tests.e2e.test_mail_sync import inbox, synced
from tests.lab import Lab
from tests.portal.conftest import browser, screenshots, spki  # noqa: F401 - fixtures
from tests.portal.people import PAGE_SECONDS, arrive, body, log_in, tab_to, wait_for

pytestmark = pytest.mark.e2e

BLOCKED, OK = "129", "1"  # MS-ASCMD 2.2.2 and 2.2.3.177.3


@pytest.fixture
def lost_phone(lab: Lab, registry: Registry) -> Iterator[str]:
    """The id of a phone of alice's that somebody has blocked."""
    device_id = new_id()
    registry.register(device_id, ALICE.user)
    lab.cli("enable", lab.enable_secret, f"device block {device_id} {ALICE.user}")
    yield device_id
    registry.remove(device_id, ALICE.user)


@pytest.mark.usefixtures("trusted")
def test_a_blocked_phone_is_found_understood_allowed_and_reads_its_mail(
    browser: Chrome,  # noqa: F811 - the fixture
    lab: Lab,
    lost_phone: str,
    mail_server: MailServer,
    audit: Audit,
    screenshots: Path,  # noqa: F811 - the fixture
) -> None:
    """The phone asks before and after; what changes in between is one button that is pressed."""
    subject = f"For the phone {lost_phone}"
    mail_server.deliver(ALICE.user, subject)
    phone = Phone(lab, ALICE, lost_phone)
    assert status_of(phone.folder_sync().content, "FolderHierarchy.Status") == BLOCKED
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
    browser.get(f"{lab.portal_url}/devices")
    tab_to(browser, "id", "text").send_keys(lost_phone[:12].lower(), Keys.ENTER)
    wait_for(browser, lost_phone)
    tab_to(browser, "text", lost_phone).send_keys(Keys.ENTER)
    wait_for(browser, "What becomes of a request now")
    assert browser.find_element(By.ID, "verdict").text == "block"
    assert "manual" in browser.find_element(By.ID, "why").text
    tab_to(browser, "id", "allow").send_keys(Keys.ENTER)
    wait_for(browser, "is allowed.")
    with client(lab, ALICE, lost_phone) as device:
        _key, subjects = synced(device, inbox(device))
    assert subject in subjects
    browser.refresh()
    WebDriverWait(browser, PAGE_SECONDS).until(
        lambda chrome: chrome.find_element(By.ID, "verdict").text in ("allow", "forward")
    )
    browser.save_screenshot(str(screenshots / "device-syncs.png"))
    audit.wait_for(event="request", command="Sync", device_id=lost_phone)
    browser.get(f"{lab.portal_url}/logs?which=gateway&text={lost_phone}")
    assert "Sync" in body(browser)
    assert status_of(phone.folder_sync().content, "FolderHierarchy.Status") == OK
