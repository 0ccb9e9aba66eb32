"""What the agent knows of revocation: lists from files and URLs, OpenSSL's responder, and what stands when they are away."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cryptography import x509

from sentry_runtime.agent import fetch
from sentry_runtime.agent.crls import Crls
from sentry_runtime.agent.fetch import Fetcher, FetchError
from sentry_runtime.agent.responder import REST_SECONDS, Responder
from sentry_runtime.agent.revocation import RETRY_SECONDS, Revocation
from sentry_runtime.certificates import authorities
from sentry_runtime.certificates.crl import Crl
from sentry_runtime.control_server import Refused
from sentry_runtime.settings import Revocation as Rules
from tests.device_pki import DEVICE, DevicePki
from tests.unit.agent.ears import Ears

URL = "http://crl.lab.test/devices.crl"
HOUR, DAY = 3_600.0, 86_400.0
PAST = ("20200101000000Z", "20200102000000Z")


class Site:
    """The parts over a folder, a clock that the test moves, and a network that it scripts."""

    def __init__(self, folder: Path, pki: DevicePki, ears: Ears, asks: Any, **rules: Any) -> None:
        self.time = time.time()
        self.pki = pki
        self.ears = ears
        self.lying: dict[str, bytes] = {}
        self.changes = 0
        self.rules = msgspec.convert(rules, Rules)
        held = authorities.load(pki.path("root"), pki.path("devices"))
        self.crls = Crls(self.rules, held, folder, self, now=lambda: self.time, audit=ears.audit)
        self.responder = None
        if self.rules.ocsp_url is not None:
            path = folder / "ocsp.json"
            self.responder = Responder(self.rules.ocsp_url, self.rules, asks, path, now=lambda: self.time)
        self.revocation = Revocation(
            self.rules,
            held,
            self.crls,
            self.responder,
            now=lambda: self.time,
            audit=ears.audit,
            changed=self._change,
            draw=lambda: 0.5,
        )

    def _change(self) -> None:
        self.changes += 1

    async def get(self, url: str, bound: int) -> bytes:
        """The fetcher's side."""
        if url not in self.lying:
            raise FetchError(f"{url} answers 404")
        return self.lying[url]

    async def says(self, name: str) -> tuple[str, bool]:
        """What the gateway is told of a certificate."""
        status = await self.revocation.check(self.pki.der(name))
        return status.standing, status.passes

    async def until(self, name: str) -> float:
        """In how many seconds it is to ask again."""
        return (await self.revocation.check(self.pki.der(name))).until - self.time


@pytest.fixture
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """A root, an authority below it, a certificate that is good and one that is revoked."""
    made = DevicePki(tmp_path_factory.mktemp("devices"))
    made.authority("root")
    made.authority("devices", above="root")
    for name in ("good", "lost"):
        made.issue(name, by="devices")
    made.revoke("lost", by="devices")
    made.authority("other")
    made.issue("stranger", by="other")
    return made


def kept_in(folder: Path) -> list[Path]:
    """The files there."""
    return list(folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where fetched lists are kept."""
    return tmp_path


async def test_a_fetched_list_decides(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """Before it has come nothing is known, which is no pass where the site is strict."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    assert await site.says("good") == ("unknown", False)
    site.lying[URL] = pki.crl("devices")
    assert await site.crls.refresh()
    assert [await site.says(name) for name in ("good", "lost")] == [("good", True), ("revoked", False)]
    assert not await site.crls.refresh()
    assert await site.until("good") == HOUR
    assert ears.events == ["crl_loaded"]


async def test_a_list_in_a_file_decides_too(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """The site's own, for a network without a way out; several in one file."""
    pki.crl("root")
    pki.crl("devices")
    both = pki.folder / "both.pem"
    both.write_bytes((pki.folder / "root.crl.pem").read_bytes() + (pki.folder / "devices.crl.pem").read_bytes())
    site = Site(folder, pki, ears, None, crl_files=[str(both)])
    await site.revocation.load()
    assert [await site.says(name) for name in ("good", "lost")] == [("good", True), ("revoked", False)]


async def test_a_fetched_list_outlives_a_restart(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """And only a purge: then it counts no more until it has come again."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    site.lying[URL] = pki.crl("devices")
    await site.crls.refresh()
    again = Site(folder, pki, ears, None, crl_urls=[URL])
    await again.revocation.load()
    assert await again.says("lost") == ("revoked", False)
    await again.revocation.purge("admin")
    assert (await again.says("lost"), again.changes) == (("unknown", False), 1)
    assert kept_in(folder) == []
    assert ("revocation_purged", {"by": "admin"}) in ears.audited
    again.lying[URL] = pki.crl("devices")
    await again.revocation.purge("admin")
    assert await again.says("good") == ("good", True)


async def test_what_is_kept_is_looked_at_like_what_is_fetched(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """A damaged file is no list, and is told."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    site.lying[URL] = pki.crl("devices")
    await site.crls.refresh()
    (kept,) = kept_in(folder)
    kept.write_bytes(kept.read_bytes()[:-40])
    again = Site(folder, pki, Ears(), None, crl_urls=[URL])
    await again.revocation.load()
    assert await again.says("lost") == ("unknown", False)
    assert again.ears.events == ["crl_failed"]


async def test_an_older_list_takes_nobody_off(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """Played again, or from a mirror that lags."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    old = pki.crl("devices", dates=("20250101000000Z", "20900101000000Z"))
    site.lying[URL] = old
    await site.crls.refresh()
    pki.revoke("good", by="devices")
    site.lying[URL] = pki.crl("devices")
    assert await site.crls.refresh()
    assert await site.says("good") == ("revoked", False)
    site.lying[URL] = old
    assert not await site.crls.refresh()
    assert await site.says("good") == ("revoked", False)
    assert [row.state for row in site.revocation.shown()] == ["superseded"]


@pytest.mark.parametrize(("policy", "passes"), [("strict", [False, False]), ("lenient", [True, False])])
async def test_a_list_that_has_ended_is_stale(
    folder: Path, pki: DevicePki, ears: Ears, policy: str, passes: list[bool]
) -> None:
    """Row 72: stale tested both ways. Whom it revokes is revoked; the others pass by policy, for a time."""
    site = Site(folder, pki, ears, None, crl_urls=[URL], policy=policy, lenient_seconds=DAY)
    site.lying[URL] = pki.crl("devices")
    await site.crls.refresh()
    del site.lying[URL]
    site.time += 2 * DAY + HOUR
    assert not await site.crls.refresh()
    assert await site.says("lost") == ("revoked", False)
    assert await site.says("good") == ("stale", passes[0])
    site.time += DAY
    assert await site.says("good") == ("stale", passes[1])
    (row,) = site.revocation.shown()
    assert (row.state, row.problem) == ("stale", f"{URL} answers 404")
    assert ears.events == ["crl_loaded", "crl_failed"]


async def test_lenience_ends_when_it_said_it_would(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """The gateway is to ask again at the very moment."""
    site = Site(folder, pki, ears, None, crl_urls=[URL], policy="lenient", lenient_seconds=20.0)
    assert (await site.says("good"), await site.until("good")) == (("unknown", True), 20.0)
    site.time += 20.0
    assert await site.says("good") == ("unknown", False)


async def test_a_revoked_authority_takes_its_devices_along(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """By the root's list, though its own list says that they are good."""
    site = Site(folder, pki, ears, None, crl_urls=[URL, URL + "2"])
    site.lying = {URL: pki.crl("devices"), URL + "2": pki.crl("root")}
    await site.crls.refresh()
    assert await site.says("good") == ("good", True)
    pki.revoke("devices", by="root")
    site.lying[URL + "2"] = pki.crl("root")
    await site.crls.refresh()
    assert await site.says("good") == ("revoked", False)


@pytest.mark.parametrize("data", [b"", b"rubbish", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
async def test_rubbish_from_a_url_changes_nothing(folder: Path, pki: DevicePki, ears: Ears, data: bytes) -> None:
    """It is told once, and the list in force stays."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    site.lying[URL] = pki.crl("devices")
    await site.crls.refresh()
    site.lying[URL] = data
    for _ in range(3):
        assert not await site.crls.refresh()
    assert await site.says("good") == ("good", True)
    assert ears.events == ["crl_loaded", "crl_failed"]
    assert site.revocation._wait() == RETRY_SECONDS


async def test_a_certificate_of_none_of_the_authorities_is_not_judged(folder: Path, pki: DevicePki, ears: Ears) -> None:
    """Nor is what is none."""
    site = Site(folder, pki, ears, None, crl_urls=[URL])
    with pytest.raises(Refused, match="certificate_issuer"):
        await site.revocation.check(pki.der("stranger"))
    with pytest.raises(Refused, match="certificate_malformed"):
        await site.revocation.check(b"rubbish")


def test_a_part_of_an_authoritys_list_covers_its_own_only(folder: Path, pki: DevicePki) -> None:
    """A certificate that says it belongs to another part may be revoked there."""
    point = "crlDistributionPoints = URI:http://crl/1\n"
    pki.issue("parted", by="devices", extensions=DEVICE + point)
    parted, plain = (x509.load_der_x509_certificate(pki.der(name)) for name in ("parted", "good"))
    (authority,) = authorities.load(pki.path("devices")).held
    whole, first, second = (
        Crl(authority, frozenset(points), 1, 0.0, 1.0, frozenset())
        for points in ((), ("http://crl/1",), ("http://crl/2",))
    )
    assert [one.covers(parted) for one in (whole, first, second)] == [True, True, False]
    assert [one.covers(plain) for one in (whole, first, second)] == [True, False, False]


# --- the responder ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """The real one."""
    async with Fetcher() as made:
        yield made


@pytest.fixture
def responder(pki: DevicePki) -> Iterator[str]:
    """OpenSSL's, whose answers hold for a day."""
    with pki.responder("devices", "-ndays", "1") as made:
        yield made.url


class Counted:
    """The fetcher, with a count of the questions, and a plug to pull."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.questions = 0
        self.plugged = True
        self._fetcher = fetcher

    async def ask(self, url: str, question: bytes, bound: int) -> bytes:
        """See `Fetcher.ask`."""
        self.questions += 1
        if not self.plugged:
            raise FetchError("the plug is pulled")
        return await self._fetcher.ask(url, question, bound)


async def test_the_responder_is_asked_once_and_again_in_an_hour(
    folder: Path, pki: DevicePki, ears: Ears, fetcher: Fetcher, responder: str
) -> None:
    """Row 72: OCSP with cache; a revocation is noticed with the next question."""
    asks = Counted(fetcher)
    site = Site(folder, pki, ears, asks, ocsp_url=responder)
    for _ in range(3):
        assert [await site.says(name) for name in ("good", "lost")] == [("good", True), ("revoked", False)]
    assert (asks.questions, await site.until("good")) == (2, HOUR)
    pki.revoke("good", by="devices")
    with pki.responder("devices", "-ndays", "1") as anew:
        assert site.responder is not None
        site.responder.url = anew.url
        site.time += HOUR
        assert await site.says("good") == ("revoked", False)


async def test_while_the_responder_is_away_its_answers_stand_to_their_end(
    folder: Path, pki: DevicePki, ears: Ears, fetcher: Fetcher, responder: str
) -> None:
    """Also over a restart; what it has not been asked is unknown, and nobody waits twice for its silence."""
    asks = Counted(fetcher)
    site = Site(folder, pki, ears, asks, ocsp_url=responder)
    assert await site.says("good") == ("good", True)
    site.revocation.close()
    asks.plugged = False
    again = Site(folder, pki, ears, asks, ocsp_url=responder)
    await again.revocation.load()
    again.time = site.time + 2 * HOUR
    asks.questions = 0
    assert await again.says("good") == ("good", True)
    assert await again.says("lost") == ("unknown", False)
    assert asks.questions == 1
    again.time += REST_SECONDS
    assert await again.says("lost") == ("unknown", False)
    assert asks.questions == 2
    asks.plugged = True
    again.time += REST_SECONDS
    assert await again.says("lost") == ("revoked", False)
    asks.plugged = False
    again.time += DAY
    assert await again.says("good") == ("stale", False)
    (row,) = again.revocation.shown()
    assert (row.kind, row.state, row.problem) == ("ocsp", "does not answer", "the plug is pulled")


async def test_a_purge_asks_anew(folder: Path, pki: DevicePki, ears: Ears, fetcher: Fetcher, responder: str) -> None:
    """Row 72: the purge command."""
    asks = Counted(fetcher)
    site = Site(folder, pki, ears, asks, ocsp_url=responder)
    await site.says("good")
    await site.revocation.purge("admin")
    await site.says("good")
    assert (asks.questions, site.changes) == (2, 1)


async def test_a_list_in_date_spares_the_responder(
    folder: Path, pki: DevicePki, ears: Ears, fetcher: Fetcher, responder: str
) -> None:
    """And the responder stands in for one that has ended."""
    asks = Counted(fetcher)
    site = Site(folder, pki, ears, asks, ocsp_url=responder, crl_urls=[URL])
    site.lying[URL] = pki.crl("devices")
    await site.crls.refresh()
    assert (await site.says("good"), asks.questions) == (("good", True), 0)
    other = Site(folder / "..", pki, ears, asks, ocsp_url=responder, crl_urls=[URL])
    other.lying[URL] = pki.crl("devices", dates=PAST)
    await other.crls.refresh()
    assert (await other.says("good"), asks.questions) == (("good", True), 1)


async def large(_request: web.Request) -> web.Response:
    """A hundred bytes."""
    return web.Response(body=bytes(100))


async def elsewhere(_request: web.Request) -> web.Response:
    """The way to the hundred bytes."""
    raise web.HTTPFound("/large")


async def silence(request: web.Request) -> web.Response:
    """Nothing, ever."""
    await asyncio.Event().wait()
    raise AssertionError(request)


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """An HTTP server of such answers."""
    app = web.Application()
    app.add_routes([web.get("/large", large), web.get("/elsewhere", elsewhere), web.get("/silence", silence)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{}/large", "/large: more than 99 bytes"),
        ("{}/elsewhere", "/elsewhere answers 302"),
        ("{}/missing", "/missing answers 404"),
        ("{}/silence", r"/silence: nothing, or not all, within 0 s"),
        ("http://127.0.0.1:1/x", "Cannot connect"),
        ("http://no such host/", "no such host"),
    ],
)
async def test_the_fetcher_is_bounded_and_follows_nobody(
    fetcher: Fetcher, server: str, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    """In size and in time; what it says names the URL."""
    if "silence" in url:
        monkeypatch.setattr(fetch, "SECONDS", 0.2)
    with pytest.raises(FetchError, match=message):
        await fetcher.get(url.format(server), 99)


async def test_what_fits_is_fetched(fetcher: Fetcher, server: str) -> None:
    """All of it."""
    assert await fetcher.get(f"{server}/large", 100) == bytes(100)
