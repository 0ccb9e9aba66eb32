"""What is risky asks for the card once more, of who has no password: a new handshake, a ticket of its own."""

import re
from typing import Any

import aiohttp
import pytest

from appliance.configd import api
from appliance.configd.client import AsyncClient, Refused
from appliance.tls_proxy.tickets import Desk
from tests.unit.appliance.tls_proxy.conftest import Site, certificate_tree
from tests.unit.appliance.tls_proxy.test_certificate_login import enter
from tests.unit.appliance.workbench import PASSWORDS

TOKEN = {"name": "web", "role": "auditor", "days": "7", "networks": ""}
AGAIN = "session.reauthenticate_certificate"


async def ask(browser: aiohttp.ClientSession, site: Site, path: str, **form: str) -> tuple[int, str]:
    """Send a form of the session: the status, and the page."""
    async with browser.get(f"{site.url}/people") as page:
        found = re.search(r'name="token" value="([^"]+)"', await page.text())
    assert found is not None
    async with browser.post(f"{site.url}{path}", data={**form, "token": found[1]}, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def show(browser: aiohttp.ClientSession, site: Site) -> tuple[int, str]:
    """Open the page on which the card is shown again, which ends the connection, and press its button."""
    async with browser.get(f"{site.url}/card") as page:
        assert page.headers["connection"] == "close"
        found = re.search(r'name="token" value="([^"]+)"', await page.text())
    assert found is not None
    form = {"own_card": "yes", "token": found[1]}
    async with browser.post(f"{site.url}/card", data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text()


def kept(site: Site) -> list[str]:
    return [one.name for one in site.daemon.gate._tokens._tokens.all()]


async def test_with_the_card_shown_again_what_is_risky_is_done_for_five_minutes(site: Site) -> None:
    async with site.browser("alice") as browser:
        assert (await enter(browser, site))[0] == 303
        status, page = await ask(browser, site, "/tokens/issue", **TOKEN)
        assert (status, kept(site)) == (422, [])
        assert 'href="/card"' in page
        assert "own_password" not in page
        assert (await show(browser, site))[0] == 303
        assert (await ask(browser, site, "/tokens/issue", **TOKEN))[0] == 200
        assert kept(site) == ["web"]
        site.daemon.ticks.now += 300
        status, page = await ask(browser, site, "/tokens/revoke", name="web")
        assert (status, "Your card, once more" in page, kept(site)) == (403, True, ["web"])
    assert site.audited(AGAIN) == [("alice", "127.0.0.1", "ok")]
    (entry,) = [one for one in site.daemon.ledger.entries if one.event == AGAIN]
    assert "DOE.ALICE.Q.1111111111" in entry.path


async def test_a_page_that_asks_goes_on_with_what_was_to_be_done(site: Site) -> None:
    async with site.browser("alice") as browser:
        await enter(browser, site)
        await show(browser, site)
        await ask(browser, site, "/tokens/issue", **TOKEN)
        site.daemon.ticks.now += 300
        status, page = await ask(browser, site, "/tokens/revoke", name="web")
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
        assert (status, fields["name"], fields["own_card"]) == (403, "web", "yes")
        async with browser.post(f"{site.url}/tokens/revoke", data=fields, allow_redirects=False) as answer:
            assert answer.status == 303
    assert kept(site) == []


async def test_the_ticket_of_the_log_in_is_worth_nothing_a_second_time(site: Site) -> None:
    """Over the connection that it belongs to, which is still open."""
    async with site.browser("alice") as browser:
        await enter(browser, site)
        status, page = await ask(browser, site, "/card", own_card="yes")
        assert (status, "shown too long ago" in page) == (403, True)
        assert (await ask(browser, site, "/tokens/issue", **TOKEN))[0] == 422
    assert kept(site) == []


@pytest.mark.parametrize(("card", "words"), [("olga", "another person"), ("revoked", "has been revoked")])
async def test_another_card_and_one_that_is_not_good_any_more_do_nothing(site: Site, card: str, words: str) -> None:
    """Three of them lock, as wrong passwords do."""
    proxy = Desk(AsyncClient(site.configd_socket))
    client = AsyncClient(site.configd_socket)
    ticket = await proxy.present(site.cards.der("alice"), "192.0.2.9")
    session = await client.call(api.LoginCertificate(ticket=ticket), api.Session)
    assert session.by_certificate
    said = []
    for _ in range(4):
        ticket = await proxy.present(site.cards.der(card), "192.0.2.9")
        with pytest.raises(Refused) as refused:
            await client.call(api.ReauthenticateCertificate(session=session.handle, ticket=ticket), api.Session)
        said.append(refused.value.refusal)
    assert [one.kind for one in said] == ["authentication"] * 3 + ["locked"]
    assert words in said[0].message
    with pytest.raises(Refused, match="given again"):
        await client.call(api.RevokeToken(session=session.handle, name="x"))


async def test_who_has_a_password_gives_that(site: Site, cards: Any) -> None:
    """Whether they came by it or by their card: a portal that was taken over must not find the weaker of the two."""
    tree = certificate_tree(cards)
    tree["users"]["accounts"]["alice"]["password_hash"] = "x"
    site.daemon.commit(tree)
    proxy, client = Desk(AsyncClient(site.configd_socket)), AsyncClient(site.configd_socket)
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.9")
    by_card = api.LoginCertificate(ticket=await proxy.present(site.cards.der("alice"), "192.0.2.9"))
    for verb in (login, by_card):
        session = await client.call(verb, api.Session)
        assert not session.by_certificate
        ticket = await proxy.present(site.cards.der("alice"), "192.0.2.9")
        with pytest.raises(Refused) as refused:
            await client.call(api.ReauthenticateCertificate(session=session.handle, ticket=ticket), api.Session)
        assert refused.value.refusal.kind == "permission"
