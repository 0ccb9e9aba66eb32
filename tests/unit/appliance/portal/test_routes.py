"""Who gets where: every route with every role and with none, and with paths that are written otherwise."""

import re
from pathlib import Path

import pytest
import yarl

from appliance.config.schema import Schema
from appliance.configd import facts
from appliance.configd.api import Role
from appliance.features import FEATURES
from appliance.portal import reference
from appliance.portal.fact_pages import TITLES
from appliance.portal.gate import OPEN
from appliance.portal.pages import MENU, Entry, menu
from appliance.portal.routes import ENDED, EVERYBODY, Route, routes
from tests.unit.appliance.portal.stage import ACCOUNTS, Stage, seen

REPO = Path(__file__).parents[4]
ROUTES = routes(Schema(FEATURES))
SAMPLES = {"/settings/{feature}": "/settings/ntp", "/revisions/compare": "/revisions/compare?before=1&after=1"}
SAMPLES |= {"/devices/one": "/devices/one?device=A&user=b"}
SAMPLES |= {"/stig/report": "/stig/report?form=ckl"}
SAMPLES |= {"/certificates/request": "/certificates/request?service=portal"}
SAMPLES |= {"/logs/stream": "/logs/stream?which=nothing"}  # one that is there would not end
EMPTY_FORM = {400, 403, 404, 409, 422, 303, 503}
"""What a form that says nothing is answered with by whoever may send it; 403 only to ask for a password."""
LOOKED_UP = {404}  # a request (CSR) that nobody has made, a report of a scan that has not been
LED_ON = {303}  # to where people set their own passwords, whose has not ended
NOT_ALLOWED = re.compile(r"The role \w+ may not do this")


def test_the_committed_page_is_what_the_table_says_today() -> None:
    """`python -m appliance.portal.reference > docs/portal.md` after a change."""
    assert (REPO / "docs" / "portal.md").read_text() == reference.page()


def test_no_route_takes_a_command_or_a_path() -> None:
    """The only word in a path is a feature's name, which is looked up in the schema."""
    words = {word for route in ROUTES for word in re.findall(r"{(.*?)}", route.path)}
    assert words == {"feature"}
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES) > 35


def test_every_topic_of_configd_is_a_fact_or_has_a_page_of_its_own() -> None:
    assert set(facts.TOPICS) - set(TITLES) == {"device", "log", "revisions"}
    assert set(TITLES) <= set(facts.TOPICS)


async def test_the_application_serves_the_table_and_the_few_known_routes_and_nothing_else(stage: Stage) -> None:
    known = {(method, path) for method, path, _does in (*reference.OPEN, *reference.LOGGED_IN)}
    known |= {(route.method, route.path) for route in ROUTES}
    served = {
        (route.method, route.resource.canonical)
        for route in stage.application.router.routes()
        if route.resource is not None
    }
    by_token = {path for _, path in served - known if path.startswith("/api/v1/")}  # whose own test walks them
    served = {one for one in served if one[1] not in by_token - {path for _, path in known}}
    assert {one for one in served if one[0] != "HEAD"} == known
    assert {path for method, path in served if method == "HEAD"} == {path for method, path in known if method == "GET"}
    assert {(method, path) for method, path, _does in reference.OPEN} == {one for one in OPEN if one[0] != "HEAD"}


@pytest.mark.parametrize("user", ["", *ACCOUNTS])
async def test_every_route_is_open_to_its_roles_and_to_nobody_else(stage: Stage, user: str) -> None:
    person = await stage.person(user)
    before, walked = stage.site.running(), 0
    for route in ROUTES:
        path = SAMPLES.get(route.path, route.path)
        await (person.get(path) if route.method == "GET" else person.post(path, {}))
        walked += 1
        if not user:
            assert (person.status, person.place) == (303, "/login"), route
        elif ACCOUNTS[user] not in route.roles:
            assert person.status == 403, route
            assert NOT_ALLOWED.search(person.page), route
        else:
            assert not NOT_ALLOWED.search(person.page), route
            looked = LED_ON if route.path == ENDED else {200} | LOOKED_UP
            assert person.status in (looked if route.method == "GET" else EMPTY_FORM), (route, person.page)
    assert walked == len(ROUTES)
    assert stage.site.running() == before


WRITTEN_OTHERWISE = (
    "/{path}", "{path}/", "/.;{path}", "/./{path}", "{path};x", "{path}/..;/", "{path}%2f", "{path}%00", "/x/..{path}",
)  # fmt: skip
TRIED = [one for one in ROUTES if one.path in ("/", "/power", "/people/add", "/settings/{feature}")]


def tricks(path: str) -> list[str]:
    """Other ways to write a path."""
    made = [form.format(path=path) for form in WRITTEN_OTHERWISE]
    made += [path.upper(), path[:-1] + path[-1].upper(), path.replace("/", "//"), path.replace("/", "/%2e/", 1)]
    made += [f"/login/..{path}", f"/static/portal.css/..{path}", f"/login%2f..{path}", f"/%2e%2e{path}"]
    return [one for one in made if one.partition("?")[0] not in ("/", "//") and one != path]


@pytest.mark.parametrize("route", TRIED, ids=lambda one: f"{one.method} {one.path}")
async def test_a_path_that_is_written_otherwise_opens_nothing(stage: Stage, route: Route) -> None:
    """To a stranger it is the log-in; to a role that may not, it is no way around the table."""
    stranger, albert = await stage.person(), await stage.person("albert")
    tried = tricks(SAMPLES.get(route.path, "/power" if route.path == "/" else route.path))
    assert len(tried) > 12
    for path in tried:
        await stranger.get(path)
        assert stranger.status in (303, 400, 401), path
        assert stranger.place in ("", "/login"), path
        if route.roles == EVERYBODY:
            continue
        await (albert.get(path) if route.method == "GET" else albert.post(path, {}))
        assert albert.status in (303, 400, 403, 404, 405), path
        assert albert.status != 303 or yarl.URL(albert.place).path == "/login"


async def test_every_answer_of_every_route_carries_the_security_headers(stage: Stage) -> None:
    """Errors, redirections and downloads too."""
    alice, checked = await stage.person("alice"), 0
    for route in ROUTES:
        path = yarl.URL(stage.url + SAMPLES.get(route.path, route.path), encoded=True)
        for method in {"GET", "HEAD", "POST", route.method}:
            async with alice.http.request(method, path, allow_redirects=False) as answer:
                headers = answer.headers
                await answer.read()
            checked += 1
            assert "Server" not in headers, (method, route.path)
            assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'"), route
            assert "script" not in headers["Content-Security-Policy"]
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == "same-origin"
    assert checked >= 3 * len(ROUTES)


async def test_a_form_without_the_session_s_token_or_from_elsewhere_changes_nothing(stage: Stage) -> None:
    alice = await stage.person("alice")
    before = stage.site.running()
    for route in (one for one in ROUTES if one.method == "POST"):
        url = yarl.URL(stage.url + SAMPLES.get(route.path, route.path), encoded=True)
        token = seen(alice.page).value("token") or ""
        for form, headers in (
            ({"token": ""}, {}),
            ({"token": "x" * 43}, {}),
            ({"token": token}, {"Origin": "https://evil.test"}),
            ({"token": token}, {"Origin": "null"}),
        ):
            async with alice.http.post(url, data=form, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 403, route
    assert stage.site.running() == before
    assert all(held.candidate is None for held in stage.site.sessions.all())


def _entries(where: str, role: Role) -> tuple[Entry, ...]:
    """The whole menu on a page."""
    shown = menu(where, role)
    return (*shown.groups, *shown.pages)


@pytest.mark.parametrize("role", sorted(EVERYBODY))
async def test_every_menu_entry_is_a_page_or_says_who_may(stage: Stage, role: Role) -> None:
    user = next(name for name, one in ACCOUNTS.items() if one == role)
    person = await stage.person(user)
    links = {one.place for page in MENU for place, _words in page[1] for one in _entries(place, role)}
    assert len(links) > 10
    for link in links:
        await person.get(link)
        assert person.status == 200, link
