"""The agent's certificate: what is kept, when it is renewed, when the link may be used. The UEM's authority is the real one."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentry_runtime.agent import identity
from sentry_runtime.agent.enrolment import Enrolment
from sentry_runtime.agent.identity import IdentityError
from sentry_runtime.control_server import Refused
from sentry_runtime.settings import EnrolmentLink
from sentry_runtime.uem.enrolment import Enrol, Enrolled, Renew
from sentry_runtime.uem.link import LinkRefusedError
from sentry_runtime.uem_server import authority
from tests.agent.stage import openssl
from tests.unit.agent.ears import Ears

NOW = 1_800_000_000
DAY = 86_400
TOKEN = "t" * 43


@dataclass
class Uem:
    """Signs whatever it is asked for, as long as it has no trouble; `now` is everybody's clock."""

    folder: Path
    now: float = NOW
    trouble: str = ""
    name: str = "edge"
    seen: list[Enrol | Renew] = field(default_factory=list)
    answer: str = ""
    dialled_anew: int = 0

    async def __call__(self, asked: Enrol) -> Enrolled:
        """Enrol."""
        return self.sign(asked)

    async def renew(self, asked: Renew) -> Enrolled:
        """Renew."""
        return self.sign(asked)

    def use_new_connections(self) -> None:
        """As the link has it."""
        self.dialled_anew += 1

    def sign(self, asked: Enrol | Renew) -> Enrolled:
        """A certificate for 90 days."""
        self.seen.append(asked)
        if self.trouble:
            raise LinkRefusedError(self.trouble)
        if self.answer:
            return Enrolled(certificate=self.answer)
        signer = authority.opened(self.folder / "authority.pem", NOW)
        made = signer.issue(self.name, asked.csr, self.now, 90 * DAY)
        return Enrolled(certificate=made.public_bytes(serialization.Encoding.PEM).decode())


@pytest.fixture
def uem(tmp_path: Path) -> Uem:
    """A UEM that is well."""
    return Uem(tmp_path)


def agent_of(uem: Uem, ears: Ears) -> Enrolment:
    """An agent that starts now."""
    folder = uem.folder / "own"
    folder.mkdir(exist_ok=True)
    settings = EnrolmentLink(url="https://uem.example.org:9444", sentry="edge")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return Enrolment(settings, folder, tls, uem, audit=ears.audit, now=lambda: uem.now, draw=lambda: 0.5)


async def test_enrolment_gives_a_link_that_may_be_used(uem: Uem, ears: Ears) -> None:
    """Before it the link says why not; after a restart it is as it was."""
    agent = agent_of(uem, ears)
    assert agent.trouble == "this Sentry is not enrolled at its UEM"
    await agent.enrol(uem, TOKEN, "anna")
    assert (agent.trouble, uem.dialled_anew) == ("", 1)
    assert agent_of(uem, ears).trouble == ""
    assert agent.facts()["enrolment_ends"] == NOW + 90 * DAY


@pytest.mark.parametrize(("day", "renewals"), [(0, 0), (59, 0), (60, 1), (89, 1), (90, 0)])
async def test_it_is_renewed_when_two_thirds_of_its_life_are_over(
    uem: Uem, ears: Ears, day: int, renewals: int
) -> None:
    """And never with one that has ended."""
    agent = agent_of(uem, ears)
    await agent.enrol(uem, TOKEN, "anna")
    uem.now += day * DAY
    await agent.look(uem)
    assert len(uem.seen) == 1 + renewals
    assert bool(agent.trouble) == (day == 90)


async def test_every_certificate_has_a_key_of_its_own(uem: Uem, ears: Ears) -> None:
    """The next one too; and the file is the agent's alone."""
    agent = agent_of(uem, ears)
    await agent.enrol(uem, TOKEN, "anna")
    await agent.renew(uem)
    first, second = uem.seen
    assert first.csr != second.csr
    assert (uem.folder / "own" / identity.FILE).stat().st_mode & 0o777 == 0o600


async def test_a_failed_renewal_is_said_once_and_changes_nothing(uem: Uem, ears: Ears) -> None:
    """The certificate that is there goes on; when the UEM is well again the problem is gone."""
    agent = agent_of(uem, ears)
    await agent.enrol(uem, TOKEN, "anna")
    held = (uem.folder / "own" / identity.FILE).read_bytes()
    uem.trouble = "the UEM answered 403"
    for _ in range(2):
        assert await agent.renew(uem) == uem.trouble
    assert ears.events.count("uem_renewal_failed") == 1
    assert (uem.folder / "own" / identity.FILE).read_bytes() == held
    assert (agent.trouble, agent.facts()["enrolment_problem"]) == ("", uem.trouble)
    uem.trouble = ""
    await agent.renew(uem)
    assert agent.facts()["enrolment_problem"] == ""


async def test_a_certificate_under_another_name_is_not_taken(uem: Uem, ears: Ears) -> None:
    """Nor is the one used that was enrolled before the settings got another name."""
    agent = agent_of(uem, ears)
    uem.name = "other"
    with pytest.raises(Refused, match="for 'other' and not for 'edge'"):
        await agent.enrol(uem, TOKEN, "anna")
    assert not (uem.folder / "own" / identity.FILE).exists()
    key = identity.new_key()
    got = uem.sign(Renew(csr=identity.request(key, "other")))
    identity.keep(uem.folder / "own", key, got.certificate, "other", NOW)
    assert "enrolled as 'other', its settings say 'edge'" in agent_of(uem, ears).trouble


def test_a_certificate_for_another_key_is_not_taken(uem: Uem) -> None:
    """Who answers so is no UEM of ours."""
    got = uem.sign(Renew(csr=identity.request(identity.new_key(), "edge")))
    with pytest.raises(IdentityError, match="for another key than ours"):
        identity.keep(uem.folder, identity.new_key(), got.certificate, "edge", NOW)


@pytest.mark.parametrize("text", ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_answer_without_a_certificate_is_not_taken(tmp_path: Path, text: str) -> None:
    """Whatever it is."""
    with pytest.raises(IdentityError, match="no client certificate"):
        identity.keep(tmp_path, identity.new_key(), text, "edge", NOW)


def weak(folder: Path, key: identity.Key) -> str:
    """A client's certificate for this key whose signature nobody trusts any more (SHA-1)."""
    place = folder / "weak"
    place.mkdir()
    (place / "request.pem").write_text(identity.request(key, "edge"))
    (place / "extensions").write_text("extendedKeyUsage=clientAuth\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem"]
    openssl("req", "-x509", *curve, "-subj", "/CN=authority", folder=place)
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "36500", "-sha1", "-extfile", "extensions"]
    openssl("x509", "-req", "-in", "request.pem", *signing, "-out", "weak.pem", folder=place)
    return (place / "weak.pem").read_text()


def broken(_folder: Path, key: identity.Key) -> str:
    """One with the same extension twice: cryptography raises an error of its own kind for it."""
    signer = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(start).not_valid_after(start + timedelta(days=90))
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    decoy = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), usage.public_bytes())
    builder = builder.add_extension(usage, critical=False).add_extension(decoy, critical=False)
    der = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x25"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (weak, "none that OpenSSL takes"),
        (broken, "no client certificate"),
    ],
)
async def test_a_certificate_that_cannot_be_used_leaves_the_one_that_can(
    uem: Uem, ears: Ears, text: Callable[[Path, identity.Key], str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weak, or broken in a way that a parser raises anything for: a UEM may send what it likes, the agent goes on; after a
    restart, too."""
    agent = agent_of(uem, ears)
    await agent.enrol(uem, TOKEN, "anna")
    held = (uem.folder / "own" / identity.FILE).read_bytes()
    key = identity.new_key()
    monkeypatch.setattr(identity, "new_key", lambda: key)
    uem.answer = text(uem.folder, key)
    assert words in await agent.renew(uem)
    assert (uem.folder / "own" / identity.FILE).read_bytes() == held
    assert [path.name for path in (uem.folder / "own").iterdir()] == [identity.FILE]
    assert (agent.trouble, agent_of(uem, ears).trouble) == ("", "")


def test_what_openssl_does_not_take_at_the_start_ends_no_agent(uem: Uem, ears: Ears) -> None:
    """A file of another release's, or of somebody's making: the agent starts, known devices go on, and it says what is wanted."""
    folder = uem.folder / "own"
    folder.mkdir()
    key = identity.new_key()
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, form, none)
    (folder / identity.FILE).write_bytes(secret + weak(uem.folder, key).encode())
    assert agent_of(uem, ears).trouble == "this Sentry is not enrolled at its UEM"
    assert ears.events == ["uem_enrolment_failed"]


def test_a_file_that_cannot_be_used_is_as_good_as_none(tmp_path: Path) -> None:
    """Then a token is wanted; the agent starts all the same."""
    assert identity.read(tmp_path) is None
    (tmp_path / identity.FILE).write_text("half of a ke")
    assert identity.read(tmp_path) is None


async def test_no_token_comes_back_in_an_error(uem: Uem, ears: Ears) -> None:
    """What goes wrong is said without it."""
    uem.trouble = "the UEM answered 403"
    with pytest.raises(Refused) as refused:
        await agent_of(uem, ears).enrol(uem, TOKEN, "anna")
    said: list[Any] = [str(refused.value), *ears.audited]
    assert TOKEN not in str(said)
