"""People of a directory at the portal of the running appliance: OpenLDAP's own server at the lab's end of management."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from images.paths import Layout
from tests import directory_server
from tests.appliance.knocking import HERE as HOST
from tests.appliance.knocking import forget
from tests.appliance.lab_server import certificate_of
from tests.directory_server import ACCOUNT, ACCOUNT_SECRET, ADMINISTRATORS, OPERATORS, PEOPLE, SECRET, DirectoryServer
from tests.lab import Lab
from tests.portal.people import PAGE_SECONDS, arrive, body, log_in

pytestmark = pytest.mark.appliance

AWAY = "the directory does not answer"


@pytest.fixture
def directory(layout: Layout, tmp_path: Path) -> Iterator[DirectoryServer]:
    """It runs, with a certificate of the authority that the lab's settings name for other servers."""
    pair = certificate_of(layout, tmp_path, "directory", HOST)
    with (
        directory_server.folder() as folder,
        directory_server.serving(folder, pair, str(layout.lab / "backend-ca.pem"), host=HOST) as made,
    ):
        yield made


@pytest.fixture
def configure(lab: Lab) -> Iterator[Callable[..., str]]:
    """Lines of CONFIG mode, typed by an administrator; afterwards the revision of before is committed again."""
    enter = ("enable", lab.enable_secret)
    kept = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept if row["current"] == "*")
    yield lambda *lines: lab.cli(*enter, "configure terminal", *lines).stdout
    lab.cli(*enter, "configure terminal", f"rollback {number}")
    forget(lab)
    assert lab.root("systemctl", "is-active", "sentry-directory.service", check=False).stdout.strip() == "inactive"
    assert lab.root("ls", "/var/lib/sentry/tls/directory").stdout.split() == []


def lines_for(server: DirectoryServer) -> list[str]:
    """What an administrator types to have people of the directory log in."""
    return [
        f"directory servers one host {HOST}",
        f"directory servers one port {server.ldaps}",
        "directory ca_certificates",
        *Path(server.trust).read_text(encoding="utf-8").splitlines(),
        ".",
        f"directory base_dn {PEOPLE}",
        f"directory bind_account {ACCOUNT}",
        "directory bind_password",
        ACCOUNT_SECRET,
        f"directory groups admins dn {ADMINISTRATORS}",
        "directory groups admins role administrator",
        f"directory groups ops dn {OPERATORS}",
        "directory groups ops role operator",
        "directory timeout_seconds 2",
        "commit",
    ]


def enter(browser: Chrome, lab: Lab, user: str, password: str) -> None:
    """Type name and password of somebody who is no account of the lab's."""
    browser.get(f"{lab.portal_url}/login")
    browser.find_element(By.ID, "user").send_keys(user, Keys.TAB)
    browser.switch_to.active_element.send_keys(password, Keys.ENTER)


def refused(browser: Chrome) -> str:
    """What the log-in page says."""
    WebDriverWait(browser, PAGE_SECONDS).until(lambda chrome: chrome.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    return browser.find_element(By.CSS_SELECTOR, "[role=alert]").text


def test_a_person_of_the_directory_administers_by_a_group_and_local_accounts_outlive_it(
    browser: Chrome, lab: Lab, directory: DirectoryServer, configure: Callable[..., str], screenshots: Path
) -> None:
    said = configure(*lines_for(directory))
    (row,) = json.loads(lab.cli("enable", lab.enable_secret, "show directory | json").stdout)["rows"]
    assert (row["server"], row["state"]) == (f"{HOST}:{directory.ldaps}", "answers"), said
    owner = lab.root("ps", "-o", "user:32=", "-C", "sentry-directory").stdout.split()
    assert set(owner) == {"sentry-directory"}
    enter(browser, lab, "dora", "not the password at all")
    assert "not right" in refused(browser)
    enter(browser, lab, "dora", SECRET)
    arrive(browser, "/")
    assert "dora (administrator)" in browser.find_element(By.TAG_NAME, "header").text
    browser.get(f"{lab.portal_url}/facts?topic=directory")
    assert "answers" in body(browser)
    browser.get(f"{lab.portal_url}/settings/directory")
    assert "Bind account" in body(browser)
    assert ACCOUNT_SECRET not in browser.page_source
    browser.save_screenshot(str(screenshots / "settings-directory.png"))
    trail = lab.cli("enable", lab.enable_secret, "show log").stdout
    assert f"directory {HOST}:{directory.ldaps}" in trail
    assert SECRET not in trail
    enter(browser, lab, "oscar", SECRET)
    arrive(browser, "/")
    assert "oscar (operator)" in browser.find_element(By.TAG_NAME, "header").text


def test_where_the_directory_is_away_accounts_of_the_appliance_log_in(
    browser: Chrome, lab: Lab, directory: DirectoryServer, configure: Callable[..., str]
) -> None:
    silent = directory_server.DirectoryServer(HOST, directory.ldap, directory.ldap, directory.trust, directory.log)
    configure(*lines_for(silent))  # a port that speaks no TLS from the first byte
    (row,) = json.loads(lab.cli("enable", lab.enable_secret, "show directory | json").stdout)["rows"]
    assert row["state"].startswith("FAILED")
    enter(browser, lab, "dora", SECRET)
    assert AWAY in refused(browser)
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
