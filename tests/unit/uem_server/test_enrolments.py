"""Tokens and certificates as rows, and the authority that signs: what is redeemed, issued, and counts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from sentry_runtime.settings import SettingsError
from sentry_runtime.uem_server import authority, enrolments
from sentry_runtime.uem_server.authority import Authority, CsrError
from sentry_runtime.uem_server.enrolments import OVERLAP_SECONDS, PER_SENTRY, TokenError
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.tries import BURST, SECONDS, SOURCES, Tries

NOW = 1_800_000_000
DAY = 86_400
TOKEN, OTHER = "a" * 43, "b" * 43


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A transaction on an empty database."""
    engine = open_engine(database)
    with Session(engine) as made, made.begin():
        yield made
        made.rollback()
    engine.dispose()


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that was just made."""
    return authority.opened(tmp_path_factory.mktemp("authority") / "authority.pem", NOW)


@pytest.mark.parametrize(
    ("sentry", "token", "now", "word"),
    [
        ("other", TOKEN, NOW, "not that of this Sentry"),
        ("nobody", TOKEN, NOW, "not that of this Sentry"),
        ("edge", OTHER, NOW, "not that of this Sentry"),
        ("edge", "", NOW, "not that of this Sentry"),
        ("edge", TOKEN, NOW + DAY, "expired"),
        ("edge", TOKEN, NOW + DAY - 1, ""),
    ],
)
def test_who_redeems_a_token(session: Session, sentry: str, token: str, now: int, word: str) -> None:
    """The right one, for its Sentry, in its time."""
    enrolments.give(session, "edge", TOKEN, NOW + DAY)
    enrolments.give(session, "other", OTHER, NOW + DAY)
    if not word:
        enrolments.redeem(session, sentry, token, now)
        return
    with pytest.raises(TokenError, match=word):
        enrolments.redeem(session, sentry, token, now)
    enrolments.redeem(session, "edge", TOKEN, NOW)  # whoever tried has not used it up


def test_a_token_is_redeemed_once(session: Session) -> None:
    """The second one is told apart from a guess, in the trail; a new token is good again."""
    enrolments.give(session, "edge", TOKEN, NOW + DAY)
    enrolments.redeem(session, "edge", TOKEN, NOW)
    with pytest.raises(TokenError, match="redeemed before"):
        enrolments.redeem(session, "edge", TOKEN, NOW)
    enrolments.give(session, "edge", OTHER, NOW + DAY)
    with pytest.raises(TokenError, match="not that of this Sentry"):
        enrolments.redeem(session, "edge", TOKEN, NOW)
    enrolments.redeem(session, "edge", OTHER, NOW)


def test_the_row_does_not_have_the_token(session: Session) -> None:
    """Only a digest, of token and name."""
    enrolments.give(session, "edge", TOKEN, NOW + DAY)
    (row,), _ = enrolments.rows(session)
    assert TOKEN not in row.digest
    assert row.digest != enrolments.digest("other", TOKEN)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_digests_of_different_pairs_differ(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Names have no NUL, so that no two pairs run together to the same text."""
    pairs = [(name.replace("\0", ""), token) for name, token in (one, other)]
    first, second = (enrolments.digest(*(part.encode(errors="replace").decode() for part in pair)) for pair in pairs)
    same = [tuple(part.encode(errors="replace") for part in pair) for pair in pairs]
    assert (first == second) == (same[0] == same[1])


def test_the_first_call_with_the_next_certificate_ends_the_last(session: Session) -> None:
    """Soon, not at once; what ended earlier stays so, and another Sentry's are untouched."""
    for name, sentry, ends in (("old", "edge", NOW + DAY), ("short", "edge", NOW + 1), ("its", "other", NOW + DAY)):
        enrolments.record(session, name, sentry, NOW, ends)
    enrolments.record(session, "new", "edge", NOW, NOW + 2 * DAY)
    enrolments.take(session, "new", NOW)
    enrolments.take(session, "new", NOW + 100)  # and once only
    until = {name: badge.ends for name, badge in enrolments.live(session).items()}
    assert until == {"old": NOW + OVERLAP_SECONDS, "short": NOW + 1, "its": NOW + DAY, "new": NOW + 2 * DAY}


def test_a_certificate_whose_answer_was_lost_goes_with_the_next_renewal(session: Session) -> None:
    """So that a Sentry has two at most."""
    enrolments.record(session, "used", "edge", NOW, NOW + DAY)
    enrolments.take(session, "used", NOW)
    enrolments.record(session, "lost", "edge", NOW, NOW + DAY)
    enrolments.drop_untaken(session, "edge")
    assert set(enrolments.live(session)) == {"used"}


def test_who_renews_all_day_fills_no_table(session: Session) -> None:
    """A Sentry has the newest of its certificates; another's are untouched, and what is no row any more counts no more."""
    enrolments.record(session, "its", "other", NOW - DAY, NOW + DAY)
    for number in range(3 * PER_SENTRY):
        enrolments.record(session, f"{number:04}", "edge", NOW + number, NOW + DAY)
        enrolments.take(session, f"{number:04}", NOW + number)
    newest = {f"{number:04}" for number in range(2 * PER_SENTRY, 3 * PER_SENTRY)}
    assert set(enrolments.live(session)) == {"its", *newest}


def test_revoking_leaves_nothing_that_counts(session: Session) -> None:
    """Certificates and an open token; twice changes nothing, and another Sentry's stand."""
    enrolments.give(session, "edge", TOKEN, NOW + DAY)
    enrolments.record(session, "one", "edge", NOW, NOW + DAY)
    enrolments.record(session, "its", "other", NOW, NOW + DAY)
    assert enrolments.revoke(session, "edge", NOW) == 2
    assert enrolments.revoke(session, "edge", NOW + 1) == 0
    assert set(enrolments.live(session)) == {"its"}
    with pytest.raises(TokenError):
        enrolments.redeem(session, "edge", TOKEN, NOW)


def test_who_gets_the_name_of_a_removed_sentry_inherits_nothing(session: Session) -> None:
    """Neither token nor certificate."""
    enrolments.give(session, "edge", TOKEN, NOW + DAY)
    enrolments.record(session, "one", "edge", NOW, NOW + DAY)
    enrolments.forget(session, "edge")
    assert enrolments.rows(session) == ([], [])


# --- the authority ---


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, name: str = "boss") -> str:
    """A request, for a name that nobody granted."""
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def test_of_a_request_only_the_key_counts(signer: Authority) -> None:
    """Name, usage and times are the UEM's word."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = signer.issue("edge", csr(key), NOW, 90 * DAY)
    assert made.subject.rfc4514_string() == authority.subject("edge") == "CN=edge,OU=Enrolled Sentry"
    assert made.public_key() == key.public_key()
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert made.not_valid_after_utc == datetime.fromtimestamp(NOW + 90 * DAY, UTC)
    assert signer.has_signed(made)


def test_no_certificate_outlives_its_authority(signer: Authority) -> None:
    """And none is issued when that has ended."""
    request = csr(ec.generate_private_key(ec.SECP256R1()))
    end = x509.load_pem_x509_certificate(signer.pem.encode()).not_valid_after_utc
    assert signer.issue("edge", request, end.timestamp() - 10, DAY).not_valid_after_utc == end
    with pytest.raises(CsrError, match="authority's own certificate has ended"):
        signer.issue("edge", request, end.timestamp(), DAY)


def test_keys_that_are_not_taken(signer: Authority) -> None:
    """The message says what is."""
    for key in (ec.generate_private_key(ec.SECP521R1()), ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(CsrError, match="secp256r1, secp384r1, RSA"):
            signer.issue("edge", csr(key), NOW, DAY)


def test_a_request_that_another_key_signed_is_refused(signer: Authority) -> None:
    """Who asks has to have the key: a changed byte of it is another one."""
    der = bytearray(
        x509.load_pem_x509_csr(csr(ec.generate_private_key(ec.SECP256R1())).encode()).public_bytes(
            serialization.Encoding.DER
        )
    )
    der[der.index(b"boss")] ^= 1
    text = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(CsrError, match="not signed with its own key"):
        signer.issue("edge", text, NOW, DAY)


@given(st.text(max_size=200))
def test_whatever_is_no_request_is_refused(signer: Authority, text: str) -> None:
    """By one error, whatever it is."""
    clean = text.encode(errors="replace").decode()
    for one in (clean, f"-----BEGIN CERTIFICATE REQUEST-----\n{clean}\n-----END CERTIFICATE REQUEST-----\n"):
        with pytest.raises(CsrError):
            signer.issue("edge", one, NOW, DAY)


def test_a_namesake_authority_is_another(signer: Authority, tmp_path: Path) -> None:
    """What it signs is none of ours, though issuer and subject read the same."""
    namesake = authority.opened(tmp_path / "namesake.pem", NOW)
    made = namesake.issue("edge", csr(ec.generate_private_key(ec.SECP256R1())), NOW, DAY)
    assert namesake.has_signed(made)
    assert not signer.has_signed(made)


def test_the_authority_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    """What is there is taken; what is not one is an error that names the file, and stays as it is."""
    path = tmp_path / "authority.pem"
    first, second = authority.opened(path, NOW), authority.opened(path, NOW + 1)
    assert first.pem == second.pem
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("rubbish")
    with pytest.raises(SettingsError, match=r"authority\.pem"):
        authority.opened(path, NOW)
    assert path.read_text() == "rubbish"


# --- tries ---


def test_tries_come_back_with_time() -> None:
    """So many at once, then one in each interval; others are not held up."""
    now = [100.0]
    tries = Tries(lambda: now[0])
    assert [tries.may("192.0.2.1") for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    assert tries.may("192.0.2.2")
    now[0] += SECONDS
    assert [tries.may("192.0.2.1") for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, *, same: bool) -> None:
    """A /64 of IPv6, one of IPv4 however it is written."""
    tries = Tries(lambda: 0.0)
    for _ in range(BURST):
        assert tries.may(one)
    assert tries.may(other) is not same


def test_a_sentry_renews_at_that_pace_too() -> None:
    """Under its name; another Sentry is another."""
    tries = Tries(lambda: 0.0)
    assert [tries.may_as("edge") for _ in range(BURST + 1)] == [True] * BURST + [False]
    assert tries.may_as("other")


def test_no_more_addresses_are_remembered_than_there_is_room_for() -> None:
    """The one that was silent for the longest is forgotten first."""
    tries = Tries(lambda: 0.0)
    for _ in range(BURST):
        tries.may("192.0.2.1")
    assert not tries.may("192.0.2.1")
    for number in range(SOURCES):
        tries.may(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    assert tries.may("192.0.2.1")
