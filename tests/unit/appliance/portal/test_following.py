"""A log that is followed at the portal: lines as they come, nothing but text, and an end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from appliance.configd.facts.management import RUNTIME_LOG
from appliance.portal import follow_pages
from tests.unit.appliance.portal.stage import Person, Stage, seen
from tests.unit.appliance.portal.test_hostile_names import CORPUS

WAIT_SECONDS = 20.0
PLACE = "/logs/stream?which=gateway"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_pages, "LOOK_SECONDS", 0.02)


@pytest.fixture
def log(stage: Stage) -> Path:
    place = stage.site.root / RUNTIME_LOG.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("the first line\n")
    return place


def add(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


class Reader:
    """The page as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer, self.page = answer, ""

    async def until(self, text: str) -> str:
        async with asyncio.timeout(WAIT_SECONDS):
            while text not in self.page:
                data = await self.answer.content.readany()
                assert data, self.page[-500:]
                self.page += data.decode()
        return self.page

    async def end(self) -> str:
        async with asyncio.timeout(WAIT_SECONDS):
            self.page += (await self.answer.read()).decode()
        return self.page


@contextlib.asynccontextmanager
async def following(person: Person, path: str = PLACE) -> AsyncIterator[Reader]:
    async with person.http.get(person.url + path) as answer:
        assert answer.status == 200
        yield Reader(answer)


async def test_lines_come_as_they_are_written(stage: Stage, log: Path) -> None:
    alice = await stage.person("alice")
    async with following(alice) as reader:
        await reader.until("the first line")
        assert "script" not in reader.answer.headers["Content-Security-Policy"]
        add(log, "a second line")
        page = await reader.until("a second line")
        assert page.count("the first line") == 1
        assert "</html>" not in page


async def test_only_lines_with_the_text_come(stage: Stage, log: Path) -> None:
    alice = await stage.person("alice")
    async with following(alice, f"{PLACE}&text=Wanted") as reader:
        add(log, "not this")
        add(log, "but WANTED this")
        page = await reader.until("but WANTED this")
        assert "not this" not in page
        assert "the first line" not in page


@pytest.mark.parametrize("line", CORPUS)
async def test_a_hostile_line_is_text(stage: Stage, log: Path, line: str) -> None:
    alice = await stage.person("alice")
    async with following(alice) as reader:
        before = len(seen(await reader.until("the first line")).elements)
        add(log, line)
        add(log, "the last line")
        page = await reader.until("the last line")
        parsed = seen(page)
        new = parsed.elements[before:]
        assert {tag for tag, _attributes in new} <= {"div"}
        assert all(attributes == {} for _tag, attributes in new)
        assert " ".join(line.split()) in " ".join(parsed.text)


@pytest.mark.usefixtures("log")
async def test_it_ends_with_the_session(stage: Stage) -> None:
    """Closed in configd: idle, logged out elsewhere, or an account that is gone."""
    alice = await stage.person("alice")
    async with following(alice) as reader:
        await reader.until("the first line")
        for held in stage.site.sessions.all():
            stage.site.sessions.close(held.handle)
        page = await reader.end()
    assert "Your session has ended" in page
    assert page.rstrip().endswith("</html>")


@pytest.mark.usefixtures("log")
async def test_it_ends_with_the_log_out_at_the_same_browser(stage: Stage) -> None:
    alice = await stage.person("alice")
    async with following(alice) as reader:
        await reader.until("the first line")
        await alice.post("/logout")
        assert "Your session has ended" in await reader.end()


@pytest.mark.usefixtures("log")
async def test_it_ends_after_its_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_pages, "LOOKS", 2)
    alice = await stage.person("alice")
    async with following(alice) as reader:
        assert "Half an hour is over" in await reader.end()


@pytest.mark.usefixtures("log")
async def test_a_person_follows_two_at_a_time(stage: Stage) -> None:
    """Somebody else's are not counted."""
    alice, olga = await stage.person("alice"), await stage.person("olga")
    async with following(alice) as first, following(alice) as second, following(olga) as other:
        for reader in (first, second, other):
            await reader.until("the first line")
        await alice.get(PLACE)
        assert alice.status == 429
        assert f"allowed: {follow_pages.STREAMS_OF_ONE}" in alice.page


@pytest.mark.usefixtures("log")
async def test_every_role_follows_and_a_stranger_does_not(stage: Stage) -> None:
    for user in ("albert", "olga"):
        person = await stage.person(user)
        async with following(person) as reader:
            await reader.until("the first line")
    stranger = await stage.person()
    await stranger.get(PLACE)
    assert (stranger.status, stranger.place) == (303, "/login")
