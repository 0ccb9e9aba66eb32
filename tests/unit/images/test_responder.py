"""The responder of the lab's authorities, as the appliance's own reader and openssl's see its answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.ocsp import OCSPResponseStatus, load_der_ocsp_response

from images.lab import cards, devices
from images.lab.responder import HOLDS, Authority, answer, authority
from images.run import run
from sentry_runtime.certificates import ocsp

NOW = datetime.now(UTC).replace(microsecond=0)
NONCE = b"n" * ocsp.NONCE_BYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's cards and devices."""
    made = tmp_path_factory.mktemp("lab")
    cards.ensure(made)
    devices.ensure(made)
    return made


@pytest.fixture(scope="module")
def authorities(folder: Path) -> tuple[Authority, ...]:
    """Those of administrators and of devices."""
    return authority(folder, cards.AUTHORITY), authority(folder, devices.AUTHORITY)


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())


@pytest.mark.parametrize(
    ("name", "by", "status"),
    [
        (cards.CARD, cards.AUTHORITY, "good"),
        (cards.REVOKED, cards.AUTHORITY, "revoked"),
        (devices.IDENTITY, devices.AUTHORITY, "good"),
        (devices.REVOKED, devices.AUTHORITY, "revoked"),
    ],
)
def test_it_says_what_the_authority_says(
    folder: Path, authorities: tuple[Authority, ...], name: str, by: str, status: str
) -> None:
    """Each is answered for by its own authority, which the question names."""
    asked = ocsp.question(certificate(folder, name), certificate(folder, by), NONCE)
    found = ocsp.read(answer(asked.data, authorities, NOW), asked, NOW.timestamp())
    assert (found.status, found.made, found.ends) == (status, NOW.timestamp(), (NOW + HOLDS).timestamp())
    later = (NOW + HOLDS + timedelta(seconds=1)).timestamp()
    with pytest.raises(ocsp.OcspError, match="does not hold any more"):
        ocsp.read(answer(asked.data, authorities, NOW), asked, later)


def test_one_that_nobody_has_issued_is_unknown(
    folder: Path, authorities: tuple[Authority, ...], tmp_path: Path
) -> None:
    """And openssl finds nothing wrong with any of the answers."""
    one = certificate(folder, cards.CARD)
    issuer = folder / f"{cards.AUTHORITY}.pem"
    made = tmp_path / "answer"
    first = ocsp.question(one, certificate(folder, cards.AUTHORITY), NONCE)
    made.write_bytes(answer(first.data, authorities, datetime.now(UTC)))  # openssl looks at the clock
    words = run(["openssl", "ocsp", "-issuer", issuer, "-CAfile", issuer, "-cert", folder / f"{cards.CARD}.pem",
                 "-respin", made, "-no_nonce"])  # fmt: skip
    assert "Response verify OK" in words.stdout + words.stderr
    assert ": good" in words.stdout
    stranger = x509.CertificateBuilder(
        issuer_name=one.issuer,
        subject_name=one.subject,
        public_key=one.public_key(),
        serial_number=0x7777,
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=1),
    ).sign(authorities[0].key, one.signature_hash_algorithm)  # type: ignore[arg-type]
    asked = ocsp.question(stranger, certificate(folder, cards.AUTHORITY), NONCE)
    assert ocsp.read(answer(asked.data, authorities, NOW), asked, NOW.timestamp()).status == "unknown"


def test_what_is_no_question_and_what_is_anothers_are_refused(folder: Path, authorities: tuple[Authority, ...]) -> None:
    """As RFC 6960 2.3 names them."""

    def status(question: bytes) -> OCSPResponseStatus:
        return load_der_ocsp_response(answer(question, authorities, NOW)).response_status

    assert status(b"nonsense") is OCSPResponseStatus.MALFORMED_REQUEST
    stranger, above = certificate(folder, devices.STRANGER), certificate(folder, devices.STRANGERS)
    assert status(ocsp.question(stranger, above, NONCE).data) is OCSPResponseStatus.UNAUTHORIZED
