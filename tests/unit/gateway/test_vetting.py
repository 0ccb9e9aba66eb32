"""A worker's memory of certificates: what is asked once, again, or not at all, and what stands while nobody can be asked."""

import pytest

from sentry_runtime.certificates.authorities import load
from sentry_runtime.certificates.holder import Holders
from sentry_runtime.control import CertificateStatus
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.badge import Badge, Examiner
from sentry_runtime.gateway.vetting import AGAIN_SECONDS, Vetted, Vetting
from sentry_runtime.settings import Revocation
from tests.device_pki import DevicePki, company

GOOD = ("good", True)
WEEK = 7 * 86_400.0


class Desk:
    """A worker's vetting, with an agent that says what the test says."""

    def __init__(self, pki: DevicePki, rules: Revocation | None = Revocation()) -> None:  # noqa: B008 - frozen
        self.pki = pki
        self.time = 0.0
        self.answer: tuple[str, bool] | None = GOOD
        self.asked = 0
        self.lenient: list[tuple[str, str]] = []
        self.holds = 60.0
        holders = Holders(("upn",), {})
        examiner = Examiner(
            "identity_certificate", load(pki.path("root"), pki.path("devices")), holders, b"", "subject"
        )
        self.vetting = Vetting(examiner, rules, self._ask, lambda: self.time, self._tell)
        self.time = pki_time(pki)

    async def _ask(self, der: bytes) -> CertificateStatus:
        self.asked += 1
        if self.answer is None:
            raise UndecidedError("agent_down")
        standing, passes = self.answer
        return CertificateStatus(standing=standing, passes=passes, until=self.time + self.holds)  # type: ignore[arg-type]

    def _tell(self, badge: Badge, word: str) -> None:
        self.lenient.append((badge.principal, word))

    async def word(self, name: str = "anna") -> str:
        """Why a certificate is not taken; "" when it is."""
        found = await self.vetting.vet(self.pki.der(name))
        assert (found.badge is None) == bool(found.word)
        return found.word


def pki_time(pki: DevicePki) -> float:
    """A moment at which its certificates are in time."""
    from sentry_runtime.certificates.certificate import read  # noqa: PLC0415 - for this alone

    return read(pki.der("anna")).starts + 60.0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The company."""
    return company(tmp_path_factory.mktemp("company"))


@pytest.fixture
def desk(pki: DevicePki) -> Desk:
    """A strict site's."""
    return Desk(pki)


async def test_a_certificate_is_asked_about_once_until_its_answer_has_run_out(desk: Desk) -> None:
    """Good or not; and one that cannot pass anyway not at all."""
    assert [await desk.word() for _ in range(3)] == [""] * 3
    desk.time += desk.holds
    desk.answer = ("revoked", False)
    assert [await desk.word() for _ in range(2)] == ["certificate_revoked"] * 2
    assert (await desk.word("two"), await desk.word("stranger")) == ("certificate_names_nobody", "certificate_issuer")
    assert desk.asked == 2


async def test_a_change_has_everything_asked_anew(desk: Desk) -> None:
    """Also what was being asked when it came: the answer may be of before."""
    await desk.word()
    desk.answer = ("revoked", False)
    desk.vetting.forget()
    assert await desk.word() == "certificate_revoked"

    async def overtaken(der: bytes) -> CertificateStatus:
        desk.vetting._ask = desk._ask
        desk.vetting.forget()
        return CertificateStatus(standing="good", passes=True, until=desk.time + 60.0)

    desk.vetting._ask = overtaken
    desk.time += desk.holds
    assert await desk.word() == "certificate_revoked"


async def test_while_the_agent_is_away_what_was_known_stands_and_nothing_new_passes(desk: Desk) -> None:
    """Until its own end; then strict is strict. When the agent is back, it is asked at once."""
    assert await desk.word() == ""
    desk.answer = None
    desk.vetting.forget()
    assert (await desk.word(), await desk.word("bert")) == ("", "revocation_unknown")
    desk.time += desk.holds
    assert await desk.word() == "revocation_unknown"
    desk.answer = GOOD
    desk.time += AGAIN_SECONDS
    assert (await desk.word(), await desk.word("bert")) == ("", "")


async def test_a_refusal_does_not_stand_in_for_a_lost_agent_as_a_pass(desk: Desk) -> None:
    """Who was revoked stays out when the agent goes."""
    desk.answer = ("revoked", False)
    assert await desk.word() == "certificate_revoked"
    desk.answer = None
    desk.vetting.forget()
    assert await desk.word() == "revocation_unknown"


async def test_a_lenient_site_lets_pass_for_a_time_and_says_so(pki: DevicePki) -> None:
    """What the agent lets pass, and, while it is away, for as long as the site says."""
    desk = Desk(pki, Revocation(policy="lenient", lenient_seconds=100.0))
    desk.answer = ("stale", True)
    assert await desk.word() == ""
    desk.answer = None
    assert await desk.word("bert") == ""
    assert desk.lenient == [("anna@lab.test", "revocation_stale"), ("bert@lab.test", "revocation_unknown")]
    desk.time += 100.0
    assert await desk.word("bert") == "revocation_unknown"


async def test_without_rules_nobody_is_asked_and_a_badge_ends_with_its_certificate(pki: DevicePki) -> None:
    """It is looked at anew then, and is not in time."""
    desk = Desk(pki, None)
    found = await desk.vetting.vet(pki.der("anna"))
    assert isinstance(found, Vetted)
    assert (found.badge is not None, desk.asked) == (True, 0)
    desk.time = found.until + 1.0
    assert await desk.word() == "certificate_not_in_time"
    desk.time += WEEK


async def test_the_memory_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound it begins anew, and what was known until a change is bounded as well."""
    monkeypatch.setattr("sentry_runtime.gateway.vetting.KEPT", 2)
    for name in ("anna", "bert", "same", "two", "plain"):
        await desk.word(name)
        desk.vetting.forget()
        await desk.word(name)
        assert len(desk.vetting._kept) <= 2
        assert len(desk.vetting._before) <= 3
