"""Log-in to the portal by certificate, with real TLS, and real sockets between the TLS proxy, the portal and configd."""

import asyncio
import html
import re
import socket
import ssl
from typing import Any

import aiohttp
import msgspec
import pytest

from appliance.configd import api
from appliance.configd.client import AsyncClient, Refused
from sentry_runtime import control
from tests.unit.appliance.tls_proxy.conftest import LONG, Site, certificate_tree, crls
from tests.unit.appliance.workbench import PASSWORDS


async def token(browser: aiohttp.ClientSession, url: str) -> str:
    """The hidden token of the log-in form."""
    async with browser.get(f"{url}/login") as answer:
        found = re.search(r'name="token" value="([^"]+)"', await answer.text())
    assert found is not None
    return found[1]


async def enter(browser: aiohttp.ClientSession, site: Site) -> tuple[int, str]:
    """Press `Log in with certificate`: the status, and what the page says went wrong."""
    form = {"token": await token(browser, site.url)}
    async with browser.post(f"{site.url}/login/certificate", data=form, allow_redirects=False) as answer:
        page = await answer.text()
    said = re.search(r'role="alert">(.*?)</p>', page, re.DOTALL)
    return answer.status, html.unescape(said[1]) if said else ""


@pytest.mark.parametrize(("card", "user"), [("alice", "alice"), ("olga", "olga")])
async def test_who_shows_a_card_is_logged_in_as_the_one_account_with_its_edipi(
    site: Site, card: str, user: str
) -> None:
    """By the user principal name, and by the end of the common name (V-250994); no password was typed."""
    async with site.browser(card) as browser:
        assert await enter(browser, site) == (303, "")
        async with browser.get(f"{site.url}/") as page:
            assert page.status == 200
            assert f"<span>{user} (" in await page.text()
    assert site.audited() == [(user, "127.0.0.1", "ok")]
    (entry,) = [one for one in site.daemon.ledger.entries if one.event == "session.login_certificate"]
    assert re.fullmatch(r"CN=\w+\.\w+(\.Q)?\.[0-9]{10}, serial [0-9A-F]+", entry.path)
    (held,) = site.daemon.sessions.all()
    assert (held.user, held.source, held.manner) == (user, "127.0.0.1", "portal")


async def test_without_a_card_the_page_says_so_and_a_password_still_works(site: Site) -> None:
    async with site.browser() as browser:
        status, said = await enter(browser, site)
        assert (status, "showed no certificate" in said) == (401, True)
        form = {"token": await token(browser, site.url), "user": "alice", "password": PASSWORDS["alice"]}
        async with browser.post(f"{site.url}/login", data=form, allow_redirects=False) as answer:
            assert answer.status == 303
    assert site.audited() == []


@pytest.mark.parametrize(
    ("card", "words", "user"),
    [
        ("revoked", "Your certificate has been revoked.", "alice"),
        ("ended", "Your certificate has ended.", "alice"),
        ("nobody", "belongs to no account", "unknown"),
    ],
)
async def test_a_card_that_is_not_good_is_refused_with_the_reason(site: Site, card: str, words: str, user: str) -> None:
    async with site.browser(card) as browser:
        status, said = await enter(browser, site)
    assert (status, words in said) == (401, True), said
    assert site.audited() == [(user, "127.0.0.1", "authentication")]
    assert site.daemon.sessions.all() == ()


@pytest.mark.parametrize("card", ["stranger", "for-servers"])
async def test_a_card_of_another_authority_or_purpose_does_not_even_pass_the_handshake(site: Site, card: str) -> None:
    async with site.browser(card) as browser:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await token(browser, site.url)
    assert site.daemon.ledger.entries[-1:] == [] or site.audited() == []


@pytest.mark.parametrize(
    ("card", "words"),
    [("stranger", "is of no authority"), ("for-servers", "is not for logging in"), ("alice", "")],
)
async def test_configd_believes_no_chain_that_it_has_not_seen_itself(site: Site, card: str, words: str) -> None:
    """Should a proxy that was taken over pass on anything: what it says was shown is judged anew."""
    desk = site.proxy._tickets
    ticket = await desk.present(site.cards.der(card), "192.0.2.9")
    client = AsyncClient(site.configd_socket)
    if not words:
        session = await client.call(api.LoginCertificate(ticket=ticket), api.Session)
        assert session.user == "alice"
        return
    with pytest.raises(Refused, match=words):
        await client.call(api.LoginCertificate(ticket=ticket), api.Session)
    assert site.audited() == [("alice", "192.0.2.9", "authentication")]


async def test_a_ticket_is_good_once_and_no_longer_than_its_connection(site: Site) -> None:
    desk, client = site.proxy._tickets, AsyncClient(site.configd_socket)

    async def use(ticket: str) -> str:
        try:
            await client.call(api.LoginCertificate(ticket=ticket), api.Session)
        except Refused as refused:
            return refused.refusal.message
        return "in"

    late = "shown too long ago"
    der = site.cards.der("alice")
    ticket = await desk.present(der, "192.0.2.9")
    assert [await use(ticket), late in await use(ticket)] == ["in", True]
    ticket = await desk.present(der, "192.0.2.9")
    await desk.withdraw(ticket)
    assert late in await use(ticket)
    ticket = await desk.present(der, "192.0.2.9")
    site.daemon.ticks.now += 90.0
    assert late in await use(ticket)
    assert late in await use("0" * 64)


async def test_when_a_connection_ends_its_ticket_is_worth_nothing(site: Site) -> None:
    """A portal that was taken over kept it, and tries it when the person has gone."""
    given: list[str] = []
    gone = asyncio.Event()
    desk: Any = site.proxy._tickets
    present, withdraw = desk.present, desk.withdraw

    async def noting(certificate: bytes, source: str) -> str:
        given.append(await present(certificate, source))
        return given[-1]

    async def telling(ticket: str) -> None:
        await withdraw(ticket)
        gone.set()

    desk.present, desk.withdraw = noting, telling
    reader, writer = await asyncio.open_connection("localhost", site.port, ssl=site.context("alice"))
    writer.write(f"GET /login HTTP/1.1\r\nHost: localhost:{site.port}\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    async with asyncio.timeout(LONG):
        await gone.wait()
    (ticket,) = given
    with pytest.raises(Refused, match="too long ago"):
        await AsyncClient(site.configd_socket).call(api.LoginCertificate(ticket=ticket), api.Session)


async def test_of_two_log_ins_with_one_ticket_the_audit_trail_has_both(site: Site) -> None:
    """One gets in, the other does not, and neither hides the other."""
    desk, client = site.proxy._tickets, AsyncClient(site.configd_socket)
    ticket = await desk.present(site.cards.der("alice"), "192.0.2.9")
    login = api.LoginCertificate(ticket=ticket)
    answers = await asyncio.gather(*(client.call(login, api.Session) for _ in range(2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["Refused", "Session"]
    assert sorted(site.audited()) == [("alice", "192.0.2.9", "ok"), ("unknown", "pid", "authentication")]


async def test_another_connection_gains_nothing_from_a_card_that_is_shown_meanwhile(site: Site) -> None:
    async with site.browser("alice") as alice, site.browser() as other:
        await token(alice, site.url)
        status, said = await enter(other, site)
        assert (status, "showed no certificate" in said) == (401, True)
        assert await enter(alice, site) == (303, "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_of_tls_is_taken_up_again(site: Site, version: ssl.TLSVersion) -> None:
    """Each connection is a handshake with the card: what OpenSSL's client keeps of the first one is not taken."""
    site.proxy._settings = msgspec.structs.replace(
        site.proxy._settings, tls=msgspec.structs.replace(site.proxy._settings.tls, maximum="1.3")
    )
    site.proxy.reload()
    context = site.context("alice")
    context.minimum_version = context.maximum_version = version

    def twice() -> list[tuple[bool, str]]:
        found = []
        session = None
        for _ in range(2):
            with (
                socket.create_connection(("localhost", site.port), timeout=LONG) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
            ):
                tls.sendall(f"GET /login HTTP/1.1\r\nHost: localhost:{site.port}\r\nConnection: close\r\n\r\n".encode())
                assert tls.recv(12) == b"HTTP/1.1 200"
                found.append((bool(tls.session_reused), str(tls.version())))
                session = tls.session
        return found

    found = await asyncio.to_thread(twice)
    assert [reused for reused, _ in found] == [False, False]
    assert {name for _, name in found} == {f"TLSv1.{2 if version == ssl.TLSVersion.TLSv1_2 else 3}"}


async def test_three_bad_cards_lock_the_account_for_that_source(site: Site) -> None:
    async with site.browser("revoked") as browser:
        for _ in range(3):
            assert (await enter(browser, site))[0] == 401
    async with site.browser("alice") as browser:
        status, said = await enter(browser, site)
    assert (status, "locked" in said) == (401, True)
    assert site.audited("login.locked") == [("alice", "127.0.0.1", "locked")]


async def test_where_certificates_are_required_configd_takes_no_password(site: Site, cards: Any) -> None:
    site.daemon.commit(certificate_tree(cards, mode="required"))
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.7")
    with pytest.raises(Refused, match="log in with your certificate"):
        await AsyncClient(site.configd_socket).call(login, api.Session)
    async with site.browser("alice") as browser:
        assert await enter(browser, site) == (303, "")


async def test_where_certificates_are_not_taken_configd_gives_no_tickets(site: Site, cards: Any) -> None:
    site.daemon.commit(certificate_tree(cards, mode="off"))
    async with site.browser("alice") as browser:
        status, said = await enter(browser, site)
    assert (status, "could not be passed on" in said) == (401, True)


@pytest.mark.parametrize(("check", "status"), [("strict", 401), ("off", 303)])
async def test_without_a_list_in_date_nobody_passes_unless_the_site_says_so(
    site: Site, cards: Any, check: str, status: int
) -> None:
    """The list of the issuing authority has ended."""
    fresh = (cards.folder / "Cards.crl.pem").read_text()
    cards.crl("Cards", dates=("200101000000Z", "200201000000Z"))
    revocation = {"check": check, "crls": crls(cards, "Root", "Cards")}
    (cards.folder / "Cards.crl.pem").write_text(fresh)
    site.daemon.commit(certificate_tree(cards, revocation=revocation))
    async with site.browser("alice") as browser:
        found, said = await enter(browser, site)
    assert (found, "revocation list" in said) == (status, check == "strict")


@pytest.mark.parametrize(("standing", "status"), [("good", 303), ("revoked", 401), ("unknown", 401)])
async def test_where_lists_are_fetched_the_agent_is_asked(site: Site, cards: Any, standing: Any, status: int) -> None:
    """And configd still judges the rest by itself: lists of the configuration's own are not needed for that."""
    passes = standing == "good"
    told = control.CertificateStatus(standing=standing, passes=passes, until=0.0)
    site.daemon.told[control.CheckAdministrator] = told
    revocation = {"crl_urls": ["http://crl.lab.test/cards.crl"]}
    site.daemon.commit(certificate_tree(cards, revocation=revocation))
    async with site.browser("alice") as browser:
        assert (await enter(browser, site))[0] == status
    (asked,) = [request for _path, request in site.daemon.asked if isinstance(request, control.CheckAdministrator)]
    assert asked.certificate == cards.der("alice")
    async with site.browser("ended") as browser:
        found, said = await enter(browser, site)
        assert (found, "has ended" in said) == (401, True)


async def test_the_names_of_the_authorities_are_sent(site: Site) -> None:
    """So that a browser offers the right card alone (RFC 5246 7.4.4)."""
    argv = ["openssl", "s_client", "-connect", site.url.removeprefix("https://")]
    done = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await done.communicate()
    assert b"Acceptable client certificate CA names\nCN = Root\nCN = Cards\n" in said
