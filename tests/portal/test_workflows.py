"""What administrators come to the portal for, in a real browser against the booted appliance, by keyboard alone."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.lab import Lab
from tests.portal.people import COMMIT_SECONDS, arrive, body, log_in, tab_to, wait_for

pytestmark = pytest.mark.appliance

DEVICE, USER = "PORTALPHONE1", "portal.user@lab.test"
PHONE = (420, 900)
CONFIGCTL = "/usr/lib/sentry/bin/sentry-configctl"
HOSTILE = "<img src=x onerror=document.title='taken'>"
TOO_LONG_SECONDS = 1.0  # a loaded lab of two cores; alone, most pages take a tenth of that


@pytest.fixture
def admin(browser: Chrome, lab: Lab) -> Chrome:
    """The browser with the administrator logged in."""
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
    return browser


@pytest.fixture
def untouched(lab: Lab) -> Iterator[str]:
    """The configuration before the test; it is the same again afterwards, or the test has failed."""
    before = lab.root(CONFIGCTL, "get").stdout
    yield before
    assert lab.root(CONFIGCTL, "get").stdout == before


def go(browser: Chrome, lab: Lab, path: str) -> None:
    """Open a page."""
    browser.get(f"{lab.portal_url}{path}")
    arrive(browser, path)


def add_a_time_server(browser: Chrome, lab: Lab, server: str) -> None:
    """Type it into the first empty row and press Enter, which saves."""
    go(browser, lab, "/settings/ntp")
    tab_to(browser, "id", "f.servers.2").send_keys(server, Keys.ENTER)


def test_a_time_server_is_added_reviewed_committed_for_a_time_lost_and_found_rolled_back(
    admin: Chrome, lab: Lab, untouched: str, screenshots: Path
) -> None:
    """The way back is sure even for whoever closes the browser."""
    add_a_time_server(admin, lab, "10.98.3.9")
    wait_for(admin, "1 change not committed")
    tab_to(admin, "id", "review").send_keys(Keys.ENTER)
    arrive(admin, "/changes")
    differences = admin.find_element(By.ID, "differences").text
    assert "ntp.servers" in differences
    assert "10.98.3.9" in differences
    admin.save_screenshot(str(screenshots / "review.png"))
    tab_to(admin, "id", "comment").send_keys("by the portal's test")
    minutes = tab_to(admin, "id", "minutes")
    minutes.send_keys(Keys.CONTROL, "a")
    minutes.send_keys("1")
    tab_to(admin, "id", "commit-confirm").send_keys(Keys.ENTER)
    arrive(admin, "/revisions", seconds=COMMIT_SECONDS)
    assert "Unconfirmed" in body(admin)
    assert "by the portal's test" in admin.find_element(By.ID, "revisions").text
    admin.save_screenshot(str(screenshots / "unconfirmed.png"))
    assert "10.98.3.9" in lab.root("cat", "/etc/chrony/chrony.conf").stdout
    assert lab.root(CONFIGCTL, "get").stdout != untouched

    def returned(chrome: Chrome) -> bool:
        chrome.refresh()
        return "was not confirmed in time" in body(chrome)

    WebDriverWait(admin, 60 + COMMIT_SECONDS, poll_frequency=3.0).until(returned)
    assert "Unconfirmed:" not in body(admin)
    assert "10.98.3.9" not in lab.root("cat", "/etc/chrony/chrony.conf").stdout


def test_what_is_wrong_stands_beside_the_field_with_what_was_typed(admin: Chrome, lab: Lab, untouched: str) -> None:
    add_a_time_server(admin, lab, "not a server!")
    wait_for(admin, "item 3: found 'not a server!'; allowed: an IPv4 or IPv6 address of one host, or a DNS name")
    wrong = admin.find_element(By.CSS_SELECTOR, "[aria-invalid]")
    assert wrong.get_attribute("value") == "not a server!"
    assert "not committed" not in body(admin)


def test_a_candidate_is_discarded(admin: Chrome, lab: Lab, untouched: str) -> None:
    add_a_time_server(admin, lab, "10.98.3.9")
    wait_for(admin, "1 change not committed")
    tab_to(admin, "id", "discard").send_keys(Keys.ENTER)
    arrive(admin, "/settings")
    assert "Your changes are discarded." in body(admin)


def test_a_device_is_found_explained_and_allowed(admin: Chrome, lab: Lab, screenshots: Path) -> None:
    """It is blocked by hand first, and gone again afterwards."""
    go(admin, lab, "/devices")
    tab_to(admin, "tagName", "SUMMARY").send_keys(Keys.ENTER)
    tab_to(admin, "id", "new-device").send_keys(DEVICE)
    tab_to(admin, "id", "new-user").send_keys(USER)
    tab_to(admin, "id", "new-note").send_keys(HOSTILE, Keys.ENTER)
    wait_for(admin, "is registered.")
    try:
        tab_to(admin, "id", "block").send_keys(Keys.ENTER)
        wait_for(admin, "is blocked.")
        go(admin, lab, "/devices")
        tab_to(admin, "id", "text").send_keys("portalphone", Keys.ENTER)
        wait_for(admin, DEVICE)
        tab_to(admin, "text", DEVICE).send_keys(Keys.ENTER)
        wait_for(admin, "What becomes of a request now")
        _renew_until(admin, lambda verdict: verdict == "block")
        assert "manual" in admin.find_element(By.ID, "why").text
        admin.save_screenshot(str(screenshots / "device-blocked.png"))
        assert admin.title != "taken"
        tab_to(admin, "id", "allow").send_keys(Keys.ENTER)
        wait_for(admin, "is allowed.")
        _renew_until(admin, lambda verdict: verdict not in ("", "block"))
    finally:
        button = admin.find_element(By.CSS_SELECTOR, "button[name=action][value=remove]")
        button.send_keys(Keys.ENTER)
        wait_for(admin, "is removed.")


def _renew_until(browser: Chrome, holds: Callable[[str], bool]) -> None:
    """Look again until the verdict is as it should be: the UEM's word takes a moment to the gateway."""

    def looked(chrome: Chrome) -> bool:
        if holds(_verdict(chrome)):
            return True
        chrome.refresh()
        return False

    WebDriverWait(browser, 30.0).until(looked)


def _verdict(browser: Chrome) -> str:
    found = browser.find_elements(By.ID, "verdict")
    return found[0].text if found else ""


def test_a_wipe_without_the_typed_device_id_orders_nothing(admin: Chrome, lab: Lab) -> None:
    admin.get(f"{lab.portal_url}/devices/one?device={DEVICE}&user={USER}")
    summary = tab_to(admin, "tagName", "SUMMARY")
    assert summary.text == "Wipe"
    summary.send_keys(Keys.ENTER)
    tab_to(admin, "id", "typed").send_keys("something else")
    tab_to(admin, "id", "own_password").send_keys(lab.admin.password)
    tab_to(admin, "id", "wipe").send_keys(Keys.ENTER)
    wait_for(admin, "Nothing was done")


def test_who_changes_an_account_is_asked_for_the_password_and_may_think_better_of_it(
    admin: Chrome, lab: Lab, untouched: str
) -> None:
    """One wrong password is a slip; it counts as a failed log-in."""
    go(admin, lab, f"/settings/users?at=accounts&at={lab.admin.user}")
    name = tab_to(admin, "id", "f.full_name")
    name.send_keys(" the second", Keys.ENTER)
    wait_for(admin, "1 change not committed")
    go(admin, lab, "/changes")
    tab_to(admin, "id", "commit").send_keys(Keys.ENTER)
    wait_for(admin, "Your password, once more")
    admin.switch_to.active_element.send_keys("not the password at all", Keys.ENTER)
    wait_for(admin, "The password is not right.")
    go(admin, lab, "/changes")
    tab_to(admin, "id", "discard").send_keys(Keys.ENTER)
    arrive(admin, "/settings")


PAGES = (
    "/", "/devices", "/settings/ntp", "/settings/interfaces", "/certificates", "/people", "/tokens", "/logs", "/compliance",
    "/changes",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "phone"])
def test_pages_fit_the_screen_in_both_schemes_and_the_browser_refuses_nothing(
    admin: Chrome, lab: Lab, screenshots: Path, scheme: str, width: str
) -> None:
    """No sideways scrolling, nothing that the Content-Security-Policy had to stop."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    admin.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    if width == "phone":
        admin.set_window_size(*PHONE)
    for path in PAGES:
        go(admin, lab, path)
        assert len(admin.find_elements(By.TAG_NAME, "h1")) == 1
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert admin.execute_script(wide) <= 0, path
        name = path.strip("/").replace("/", "-") or "dashboard"
        admin.save_screenshot(str(screenshots / f"{name}-{width}-{scheme}.png"))
    log = admin.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    severe = [
        entry["message"] for entry in log if entry["level"] == "SEVERE"
    ]  # what the policy stops is; advice is not
    assert [message for message in severe if "favicon" not in message] == []


def test_the_portal_answers_quickly(lab: Lab, admin: Chrome) -> None:
    """The median of five; what is behind a page (commands of the system) counts too."""
    cookie = admin.get_cookie("__Host-sentry")
    assert cookie is not None
    medians = {}
    with lab.http() as person:
        for path in ("/", "/devices", "/settings/ntp", "/revisions", "/people"):
            taken = []
            for _ in range(5):
                began = time.monotonic()
                answer = person.get(f"{lab.portal_url}{path}", cookies={"__Host-sentry": cookie["value"]}, timeout=30)
                taken.append(time.monotonic() - began)
                assert answer.status_code == 200
            medians[path] = sorted(taken)[2]
    assert max(medians.values()) < TOO_LONG_SECONDS, medians
