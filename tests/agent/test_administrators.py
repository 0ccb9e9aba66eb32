"""Revocation of administrators' certificates: asked by the management plane, answered by the agent from lists and a responder."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from sentry_runtime import control
from sentry_runtime.settings import AdministratorCertificates, Revocation
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage
from tests.device_pki import DevicePki


class ListServer:
    """An HTTP server with the authority's list."""

    def __init__(self) -> None:
        self.data = b""
        self.url = ""

    async def serve(self, _request: web.Request) -> web.Response:
        """The list; 404 while there is none."""
        return web.Response(body=self.data) if self.data else web.Response(status=404)


@pytest.fixture
async def lists() -> AsyncIterator[ListServer]:
    """Where the list lies."""
    made = ListServer()
    app = web.Application()
    app.add_routes([web.get("/cards.crl", made.serve)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/cards.crl"
    yield made
    await runner.cleanup()


@pytest.fixture
def cards(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """An authority with two cards."""
    made = DevicePki(tmp_path_factory.mktemp("cards"))
    made.authority("Cards")
    for name in ("alice", "olga"):
        made.issue(name, by="Cards")
    return made


Start = Callable[..., Stage]


@pytest.fixture
def start(make_stage: MakeStage, cards: DevicePki) -> Start:
    """Start UEM and agent with these rules about administrators' cards; devices show no certificates."""

    def made(**rules: Any) -> Stage:
        stage = make_stage()
        folder = stage.folder / "revocation"
        folder.mkdir()
        asked = AdministratorCertificates(
            authorities=cards.path("Cards"), revocation=msgspec.convert(rules, Revocation)
        )
        paths = msgspec.structs.replace(stage.settings.paths, revocation=str(folder))
        agent = msgspec.structs.replace(stage.settings.agent, administrators=asked)
        stage.settings = msgspec.structs.replace(stage.settings, paths=paths, agent=agent)
        stage.uem()
        stage.agent()
        return stage

    return made


async def standing(stage: Stage, der: bytes) -> tuple[str, bool]:
    """What the agent says of a card, beside our own servers."""
    request = control.CheckAdministrator(certificate=der)
    found = await asyncio.to_thread(control.call, stage.paths.agent_socket, request, control.CertificateStatus)
    return found.standing, found.passes


async def purged(stage: Stage) -> None:
    """An administrator's `clear revocation`."""
    await asyncio.to_thread(control.call, stage.paths.agent_socket, control.PurgeRevocation(by="admin"))


async def test_a_card_that_is_on_a_fetched_list_is_revoked(start: Start, lists: ListServer, cards: DevicePki) -> None:
    lists.data = cards.crl("Cards")
    stage = await asyncio.to_thread(start, crl_urls=[lists.url])
    await purged(stage)
    assert await standing(stage, cards.der("alice")) == ("good", True)
    cards.revoke("alice", by="Cards")
    lists.data = cards.crl("Cards")
    await purged(stage)
    assert await standing(stage, cards.der("alice")) == ("revoked", False)
    assert await standing(stage, cards.der("olga")) == ("good", True)
    rows = await asyncio.to_thread(
        control.call, stage.paths.agent_socket, control.ShowRevocation(), list[control.RevocationSource]
    )
    assert [(row.place, row.state, row.entries) for row in rows] == [(lists.url, "in force", 1)]


async def test_without_a_list_nothing_is_proved(start: Start, lists: ListServer, cards: DevicePki) -> None:
    stage = await asyncio.to_thread(start, crl_urls=[lists.url])
    assert await standing(stage, cards.der("alice")) == ("unknown", False)


async def test_a_responder_decides_where_there_is_no_list(start: Start, cards: DevicePki) -> None:
    cards.revoke("alice", by="Cards")
    with cards.responder("Cards") as responder:
        stage = await asyncio.to_thread(start, ocsp_url=responder.url)
        assert await standing(stage, cards.der("alice")) == ("revoked", False)
        assert await standing(stage, cards.der("olga")) == ("good", True)


async def test_an_agent_that_was_told_of_no_cards_knows_none(make_stage: MakeStage, cards: DevicePki) -> None:
    def started() -> Stage:
        stage = make_stage()
        stage.uem()
        stage.agent()
        return stage

    stage = await asyncio.to_thread(started)
    with pytest.raises(control.ControlError, match="unavailable"):
        await standing(stage, cards.der("alice"))
