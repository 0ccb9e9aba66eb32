"""The portal as a browser, a stranger and an attacker see it."""

import html
import re
from typing import Any

import aiohttp
import pytest
import yarl

from appliance.portal.gate import OPEN
from appliance.rest.problems import TITLES
from appliance.rest.requests import NO_TOKEN

PASSWORD = "correct horse battery staple"
BANNER = "I've read & consent to <terms>"


async def token(browser: aiohttp.ClientSession, url: str) -> str:
    """The hidden token of the form on a page."""
    async with browser.get(url, allow_redirects=False) as answer:
        found = re.search(r'name="token" value="([^"]+)"', await answer.text())
    assert found is not None
    return found[1]


async def log_in(browser: aiohttp.ClientSession, stand: Any, user: str = "admin", password: str = PASSWORD) -> Any:
    """Send the log-in form as a browser does; the answer, read."""
    form = {"token": await token(browser, f"{stand.url}/login"), "user": user, "password": password}
    return await post(browser, f"{stand.url}/login", form)


async def post(browser: aiohttp.ClientSession, url: str, form: dict[str, str], **more: Any) -> aiohttp.ClientResponse:
    async with browser.post(url, data=form, allow_redirects=False, **more) as answer:
        await answer.read()
        return answer


async def test_the_banner_is_on_the_login_page_word_for_word(stand: Any) -> None:
    """V-250987: the notice is shown before anybody gets in, and its characters are not taken for HTML."""
    async with stand.browser() as browser, browser.get(f"{stand.url}/login") as answer:
        page = await answer.text()
    shown = re.search(r'<pre id="banner">(.*?)</pre>', page, re.DOTALL)
    assert shown is not None
    assert html.unescape(shown[1]) == BANNER
    assert "<terms>" not in page


async def test_a_log_in_leads_to_the_status_page_and_log_out_ends_it_everywhere(stand: Any) -> None:
    """After log out neither the cookie nor configd's session is worth anything."""
    async with stand.browser() as browser:
        answer = await log_in(browser, stand)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        async with browser.get(f"{stand.url}/") as page:
            text = await page.text()
            assert page.status == 200
        assert "value of version" in text
        assert "the agent does not answer" in text
        assert "a commit was rolled back" in text
        cookies = browser.cookie_jar.filter_cookies(yarl.URL(stand.url))
        old = {name: morsel.value for name, morsel in cookies.items()}
        answer = await post(browser, f"{stand.url}/logout", {"token": await token(browser, f"{stand.url}/")})
        assert answer.headers["Location"] == "/login"
        assert stand.configd.closed == ["handle-1"]
        async with browser.get(f"{stand.url}/api/v1/status", cookies=old) as refused:
            assert refused.status == 401


async def test_the_session_cookie_cannot_be_read_by_script_nor_sent_from_elsewhere(stand: Any) -> None:
    """The flags, and a fresh value at each log-in whatever cookie was there before."""
    values = set()
    async with stand.browser() as browser:
        for _ in range(2):
            answer = await log_in(browser, stand)
            header = next(each for each in answer.headers.getall("Set-Cookie") if each.startswith("__Host-sentry="))
            assert {"secure", "httponly", "path=/", "samesite=strict"} <= {
                part.strip().lower() for part in header.split(";")
            }
            values.add(header.split(";")[0])
    assert len(values) == 2
    assert stand.configd.closed == ["handle-2"] or len(stand.configd.closed) == 1


async def test_the_api_gives_the_same_facts_as_json(stand: Any) -> None:
    """Devices are counted by state."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        async with browser.get(f"{stand.url}/api/v1/status") as answer:
            found = await answer.json()
    sections = {section["topic"]: section for section in found["sections"]}
    assert found["fips"] == "value of fips"
    assert sections["devices"]["rows"] == [["allowed", "2"], ["blocked", "1"]]
    assert sections["backends"]["trouble"] == "the agent does not answer"


STRANGE_PATHS = (
    "/", "/nothing", "/api/v1/status", "/api", "/api/", "/API/v1/status", "//api/v1/status", "/api/v1/../v1/status",
    "/%61pi/v1/status", "/api%2fv1%2fstatus", "/login/", "/login;x", "/login/..;/api/v1/status", "/LOGIN", "/login%00",
    "/static/portal.css/", "/static/../", "/static/portal.css?x=/api", "/logout", "/.;/api/v1/status", "/login?next=/",
)  # fmt: skip


@pytest.mark.parametrize("path", STRANGE_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_a_stranger_gets_a_json_401_or_the_login_and_nothing_else(stand: Any, method: str, path: str) -> None:
    """Every path and method without a session: no 404 that maps the routes, no content, no configd."""
    async with stand.browser() as browser:
        url = yarl.URL(stand.url + path, encoded=True)
        async with browser.request(method, url, allow_redirects=False) as answer:
            if answer.status == 401:
                said = await answer.json(content_type=None)
                assert said["title"] in ("Authentication required", TITLES["no_token"])
                assert said.get("detail", NO_TOKEN) == NO_TOKEN
            else:
                assert (answer.status, answer.headers["Location"], await answer.read()) == (303, "/login", b"")
    assert stand.configd.logins == []


async def test_every_route_of_the_application_is_closed_but_for_the_frozen_list(stand: Any) -> None:
    """Walks what is registered, so that a new route is closed unless somebody puts it on the list knowingly."""
    assert {path for _, path in OPEN} == {"/login", "/login/certificate", "/static/portal.css"}
    walked = 0
    async with stand.browser() as browser:
        for route in stand.application.router.routes():
            path = route.resource.canonical
            if (route.method, path) in OPEN:
                continue
            walked += 1
            async with browser.request(route.method, stand.url + path, allow_redirects=False) as answer:
                assert answer.status == (401 if path.startswith("/api/") else 303), (route.method, path)
    assert walked >= 4


async def test_with_a_session_an_unknown_path_is_404_and_tells_nothing_of_the_inside(stand: Any) -> None:
    """No version, no trace, no path of the file system."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        async with browser.get(f"{stand.url}/nothing") as answer:
            text = await answer.text()
            assert answer.status == 404
    assert not re.search(r"aiohttp|Python|Traceback|/usr/|/var/lib/", text)


@pytest.mark.parametrize("path", ["/login", "/static/portal.css", "/", "/api/v1/status", "/nothing"])
async def test_every_answer_carries_the_security_headers_and_names_no_software(stand: Any, path: str) -> None:
    """With and without a session."""
    async with stand.browser() as browser:
        for _ in range(2):
            async with browser.get(f"{stand.url}{path}", allow_redirects=False) as answer:
                headers = answer.headers
                assert "Server" not in headers
                assert "script" not in headers["Content-Security-Policy"]
                assert "default-src 'none'" in headers["Content-Security-Policy"]
                assert headers["Strict-Transport-Security"].startswith("max-age=")
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Cache-Control"] == "no-store"
            await log_in(browser, stand)


@pytest.mark.parametrize("user", ["admin", "nobody", "locked"])
async def test_a_wrong_password_an_unknown_user_and_a_locked_account_read_alike(stand: Any, user: str) -> None:
    """Who tries to log in learns nothing about who exists."""
    async with stand.browser() as browser:
        form = {"token": await token(browser, f"{stand.url}/login"), "user": user, "password": "wrong"}
        async with browser.post(f"{stand.url}/login", data=form, allow_redirects=False) as answer:
            page = await answer.text()
            assert answer.status == 401
    page = re.sub(r'value="[^"]*"', "", page)
    assert "not right, or the account is locked" in page
    assert "refused" not in page


async def test_the_sixth_attempt_in_a_minute_waits_whatever_the_account(stand: Any) -> None:
    """Five are allowed by the settings of this stand; a minute later the door is open again."""
    async with stand.browser() as browser:
        for number in range(5):
            assert (await log_in(browser, stand, user=f"user{number}", password="wrong")).status == 401
        answer = await log_in(browser, stand)
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 61
        assert len(stand.configd.logins) == 5
        stand.seconds += 61
        assert (await log_in(browser, stand)).status == 303


async def test_a_form_that_did_not_come_from_this_browser_is_refused(stand: Any) -> None:
    """Log-in CSRF: the token is tied to the browser's own cookie, and a foreign Origin is refused whatever the token."""
    async with stand.browser() as victim, stand.browser() as attacker:
        foreign = await token(attacker, f"{stand.url}/login")
        await token(victim, f"{stand.url}/login")
        form = {"token": foreign, "user": "admin", "password": PASSWORD}
        assert (await post(victim, f"{stand.url}/login", form)).status == 403
        form["token"] = await token(victim, f"{stand.url}/login")
        evil = {"Origin": "https://evil.test"}
        assert (await post(victim, f"{stand.url}/login", form, headers=evil)).status == 403
    assert stand.configd.logins == []


async def test_a_second_look_at_the_login_page_does_not_void_the_open_form(stand: Any) -> None:
    """A browser asks for its icon, and is led to the log-in page too, while the person is typing."""
    async with stand.browser() as browser:
        form = {"token": await token(browser, f"{stand.url}/login"), "user": "admin", "password": PASSWORD}
        async with browser.get(f"{stand.url}/favicon.ico") as answer:
            assert answer.url.path == "/login"
        assert (await post(browser, f"{stand.url}/login", form)).status == 303


async def test_log_out_needs_the_sessions_own_token(stand: Any) -> None:
    """A page elsewhere cannot log somebody out."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        assert (await post(browser, f"{stand.url}/logout", {"token": "x"})).status == 403
        async with browser.get(f"{stand.url}/api/v1/status") as answer:
            assert answer.status == 200


async def test_a_session_idle_for_fifteen_minutes_is_over(stand: Any) -> None:
    """V-250984. Use keeps it; idleness of the whole time ends it."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        for pause, status in ((899, 200), (899, 200), (900, 401)):
            stand.seconds += pause
            async with browser.get(f"{stand.url}/api/v1/status") as answer:
                assert answer.status == status


async def test_when_configd_ends_the_session_the_portal_does_too(stand: Any) -> None:
    """A page leads to the log-in, the API says 401."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        stand.configd.ended = True
        async with browser.get(f"{stand.url}/", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/login")


async def test_with_configd_away_the_page_says_so_and_not_where_it_would_be(stand: Any) -> None:
    """503, no path of the socket."""
    async with stand.browser() as browser:
        await log_in(browser, stand)
        stand.configd.down = True
        async with browser.get(f"{stand.url}/") as answer:
            assert answer.status == 503
            assert "secret-place" not in await answer.text()


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "127.0.0.1", "localhost:1", ""])
async def test_a_foreign_host_name_is_refused(stand: Any, host: str) -> None:
    """DNS rebinding ends here (RFC 9110 7.4: 421)."""
    async with stand.browser() as browser, browser.get(f"{stand.url}/login", headers={"Host": host}) as answer:
        assert answer.status in (400, 421)


async def test_an_oversize_form_is_refused(stand: Any) -> None:
    """Nothing is uploaded here."""
    async with stand.browser() as browser:
        form = {"token": "x" * 100_000, "user": "admin", "password": PASSWORD}
        assert (await post(browser, f"{stand.url}/login", form)).status == 413
