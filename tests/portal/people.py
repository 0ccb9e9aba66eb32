"""An administrator at the portal of the running appliance, who uses the keyboard and nothing else."""

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.lab import Lab

PAGE_SECONDS = 20.0  # a loaded two-core machine; a page answers in well under a second
COMMIT_SECONDS = 120.0  # every daemon's check, restarts, and the ports behind them
TABS = 200  # the longest page has fewer stops


def log_in(browser: Chrome, lab: Lab, password: str) -> None:
    """Type name and password, and press Enter."""
    browser.get(f"{lab.portal_url}/")
    browser.find_element(By.ID, "user").send_keys(lab.admin.user, Keys.TAB)
    browser.switch_to.active_element.send_keys(password, Keys.ENTER)


def arrive(browser: Chrome, path: str, *, seconds: float = PAGE_SECONDS) -> None:
    """Wait until the browser shows this path."""
    WebDriverWait(browser, seconds).until(lambda chrome: chrome.current_url.partition(":8443")[2] == path)


def wait_for(browser: Chrome, words: str, *, seconds: float = PAGE_SECONDS) -> None:
    """Wait until the page says this."""
    WebDriverWait(browser, seconds).until(lambda chrome: words in body(chrome))


def body(browser: Chrome) -> str:
    """The text of the page; of the next one, where it is being replaced."""
    while True:
        try:
            return browser.find_element(By.TAG_NAME, "body").text
        except StaleElementReferenceException:
            continue


def tab_to(browser: Chrome, name: str, value: str) -> WebElement:
    """Press Tab until the control whose attribute `name` is `value` has the focus, as somebody without a mouse does."""
    for _ in range(TABS):
        try:
            browser.switch_to.active_element.send_keys(Keys.TAB)
            focused = browser.switch_to.active_element
            if focused.get_attribute(name) == value:
                return focused
        except StaleElementReferenceException:
            continue  # another page has just come in the place of this one
    raise AssertionError(f"{TABS} times Tab, and no control with {name}={value!r} on {browser.current_url}")
