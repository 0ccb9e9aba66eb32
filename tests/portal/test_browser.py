"""An administrator at the portal, in a real browser, against the booted appliance."""

from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from appliance.rest.problems import TITLES
from appliance.rest.requests import NO_TOKEN
from tests.lab import Lab
from tests.portal.people import PAGE_SECONDS, arrive, log_in

pytestmark = pytest.mark.appliance

PHONE = (420, 900)


def complaints(browser: Chrome) -> list[str]:
    """What the browser refused or failed to load, the missing icon aside (there is none)."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    return [entry["message"] for entry in entries if "favicon" not in entry["message"]]


def test_an_administrator_logs_in_by_keyboard_sees_the_state_and_logs_out(
    browser: Chrome, lab: Lab, screenshots: Path
) -> None:
    """Banner, log-in, measured facts, log out, and nothing is left open behind."""
    browser.get(f"{lab.portal_url}/")
    arrive(browser, "/login")
    banner = lab.root("cat", "/etc/sentry/banner.txt").stdout.strip()
    assert browser.find_element(By.ID, "banner").text.strip() == banner
    browser.save_screenshot(str(screenshots / "login.png"))
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
    page = browser.find_element(By.TAG_NAME, "body").text
    assert "FIPS 140 mode is enabled" in page
    services = browser.find_element(By.ID, "services").text
    for name in ("gateway", "agent", "uem", "configd", "portal"):
        assert f"sentry-{name}.service active" in services
    browser.save_screenshot(str(screenshots / "status.png"))
    assert complaints(browser) == []
    cookie = browser.get_cookie("__Host-sentry")
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    browser.find_element(By.ID, "logout").send_keys(Keys.ENTER)
    arrive(browser, "/login")
    with lab.http() as stranger:
        answer = stranger.get(f"{lab.portal_url}/api/v1/status", cookies={"__Host-sentry": cookie["value"]}, timeout=10)
    assert answer.status_code == 401


def test_an_administrator_logs_in_with_a_card_and_types_nothing(
    card_browser: Chrome, lab: Lab, screenshots: Path
) -> None:
    """The banner first, then one button; the page is that of the account that the card names."""
    card_browser.get(f"{lab.portal_url}/")
    arrive(card_browser, "/login")
    assert card_browser.find_element(By.ID, "banner").is_displayed()
    card_browser.save_screenshot(str(screenshots / "login-certificate.png"))
    card_browser.find_element(By.ID, "certificate").send_keys(Keys.ENTER)
    arrive(card_browser, "/")
    assert f"{lab.admin.user} (administrator)" in card_browser.find_element(By.TAG_NAME, "header").text
    assert complaints(card_browser) == []


def test_without_a_card_the_button_says_what_is_missing(browser: Chrome, lab: Lab) -> None:
    """And the password beside it still works."""
    browser.get(f"{lab.portal_url}/login")
    browser.find_element(By.ID, "certificate").send_keys(Keys.ENTER)
    WebDriverWait(browser, PAGE_SECONDS).until(lambda chrome: chrome.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    assert "showed no certificate" in browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")


def test_a_wrong_password_says_so_and_the_right_one_still_works(browser: Chrome, lab: Lab) -> None:
    """One failure is a slip of the finger."""
    log_in(browser, lab, "not the password at all")
    WebDriverWait(browser, PAGE_SECONDS).until(lambda chrome: chrome.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    assert "not right" in browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")


def test_the_page_fits_a_phone_and_follows_the_dark_scheme(browser: Chrome, lab: Lab, screenshots: Path) -> None:
    """No sideways scrolling, and colours of its own in the dark."""
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
    ground = "return getComputedStyle(document.body).backgroundColor"
    media = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    light = browser.execute_script(ground)
    media["features"][0]["value"] = "dark"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert browser.execute_script(ground) != light
    browser.set_window_size(*PHONE)
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) <= 0
    browser.save_screenshot(str(screenshots / "status-phone-dark.png"))


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/nothing", "//api/v1/status", "/%61pi/v1/status"])
def test_without_a_session_the_api_is_a_json_401(lab: Lab, path: str) -> None:
    """Whatever is asked for below it."""
    with lab.http() as stranger:
        answer = stranger.get(f"{lab.portal_url}{path}", allow_redirects=False, timeout=10)
    said = answer.json()
    assert (answer.status_code, said["title"]) in ((401, "Authentication required"), (401, TITLES["no_token"]))
    assert said.get("detail", NO_TOKEN) == NO_TOKEN
