"""A log that is followed as it comes, at the booted appliance: by a program as a browser reads it, and in a real browser."""

import contextlib
import json
import threading
import time

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.lab import Lab
from tests.portal.people import arrive, log_in

pytestmark = pytest.mark.appliance

LOG = "/var/log/sentry/audit.log"
PLACE = "/logs/stream?which=gateway"
WAIT_SECONDS = 30.0
HOSTILE = (
    "<script>document.title='taken'</script>",
    "<img src=x onerror=document.title='taken'>",
    "</div></main><svg onload=document.title='taken'>",
    "]]><iframe srcdoc=\"<script>parent.document.title='taken'</script>\">",
    "<meta http-equiv=refresh content='0;url=https://evil.test'>",
    "\u202e<b>txt",
)


def add(lab: Lab, line: str) -> None:
    """A line at the end of the gateway's log, as a device's name would put it there."""
    lab.root("tee", "-a", LOG, stdin=json.dumps({"event": "test", "device": line}, ensure_ascii=False) + "\n")


def cookie(browser: Chrome) -> dict[str, str]:
    """The session's."""
    found = browser.get_cookie("__Host-sentry")
    assert found is not None
    return {"__Host-sentry": found["value"]}


@pytest.fixture
def admin(browser: Chrome, lab: Lab) -> Chrome:
    log_in(browser, lab, lab.admin.password)
    arrive(browser, "/")
    return browser


def test_lines_come_as_they_are_written_and_the_stream_ends_with_the_log_out(admin: Chrome, lab: Lab) -> None:
    marker = f"follow-{time.time():.0f}"
    known = cookie(admin)
    with lab.http() as person, person.get(f"{lab.portal_url}{PLACE}", cookies=known, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        assert "script" not in answer.headers["Content-Security-Policy"]
        adding = threading.Timer(3.0, add, (lab, marker))
        adding.start()
        page = ""
        began = time.monotonic()
        pieces = answer.iter_content(None)
        for piece in pieces:
            page += piece.decode()
            if marker in page or time.monotonic() - began > WAIT_SECONDS:
                break
        assert marker in page
        assert "</html>" not in page
        admin.find_element(By.ID, "logout").click()
        rest = b"".join(pieces).decode()
    adding.join()
    assert "Your session has ended" in rest
    assert rest.rstrip().endswith("</html>")


def test_hostile_lines_are_text_in_a_real_browser(admin: Chrome, lab: Lab) -> None:
    """The page never ends, so the browser is told to stop waiting for it."""
    for line in HOSTILE:
        add(lab, line)
    admin.set_page_load_timeout(8)
    with contextlib.suppress(TimeoutException):
        admin.get(f"{lab.portal_url}{PLACE}")
    text = admin.find_element(By.ID, "stream").text
    for line in HOSTILE[:3]:
        assert line.replace('"', '\\"') in text
    assert admin.title != "taken"
    assert admin.current_url.startswith(lab.portal_url)
    inside = admin.find_elements(By.CSS_SELECTOR, "#stream *")
    assert {one.tag_name for one in inside} == {"div"}
