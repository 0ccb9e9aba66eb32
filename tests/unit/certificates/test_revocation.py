"""Revocation lists and responders' answers as OpenSSL makes them, and what they are worth."""

import base64
import datetime
import time
import urllib.request
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp as library
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.certificates import crl, ocsp
from sentry_runtime.certificates.authorities import Authorities
from sentry_runtime.certificates.certificate import read
from sentry_runtime.certificates.crl import CrlError
from sentry_runtime.certificates.ocsp import OcspError, Question
from sentry_runtime.certificates.revocation import Evidence, Standing, passes, worst
from sentry_runtime.settings import Revocation
from tests.device_pki import DEVICE, DevicePki

PAST = ("20200101000000Z", "20200102000000Z")
FUTURE = ("20900101000000Z", "20900102000000Z")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """An authority with a good certificate and a revoked one, one that may answer for it, and two that may not."""
    made = DevicePki(tmp_path_factory.mktemp("books"))
    made.authority("devices")
    made.authority("other")
    for name in ("good", "lost"):
        made.issue(name, by="devices")
    made.issue("answers", by="devices", usage="OCSPSigning")
    made.issue("answered", by="devices", usage="OCSPSigning", dates=PAST)
    made.issue("impostor", by="other", usage="OCSPSigning")
    made.issue("foreign", by="other")
    made.revoke("lost", by="devices")
    return made


def authorities(books: DevicePki, *names: str) -> tuple[x509.Certificate, ...]:
    """Those of these names."""
    return Authorities.of(b"".join((books.folder / f"{name}.pem").read_bytes() for name in names)).held


def listed(books: DevicePki, by: str = "devices", **more: tuple[str, str]) -> bytes:
    """The authority's list in DER."""
    (der,) = crl.split(books.crl(by, **more))
    return der


def test_a_list_says_who_is_revoked(books: DevicePki) -> None:
    """Signed by its authority; it has a number, and an end."""
    data, now = listed(books), time.time()
    found = crl.read(data, authorities(books, "other", "devices"), now)
    assert found.serials == {read(books.der("lost")).serial}
    assert (found.name, found.number > 0) == ("CN=devices", True)
    assert found.made <= now < found.ends


def test_an_old_list_is_read_too(books: DevicePki) -> None:
    """What it says of revoked ones stays true; that it has ended is for others to judge."""
    found = crl.read(listed(books, dates=PAST), authorities(books, "devices"), time.time())
    assert found.ends < time.time()
    assert found.serials


def test_a_file_holds_one_list_in_der_or_several_in_pem(books: DevicePki) -> None:
    """Whatever stands between them."""
    one, other = books.crl("devices"), books.crl("other")
    assert len(crl.split(b"# of devices\n" + one + b"\n# of others\n" + other)) == 2
    (der,) = crl.split(one)
    assert crl.split(der) == [der]
    with pytest.raises(CrlError, match="not a revocation list in PEM"):
        crl.split(b"-----BEGIN X509 CRL-----\nAAAAA\n-----END X509 CRL-----")


def test_a_list_of_nobody_we_know_is_refused(books: DevicePki) -> None:
    """It names whose it is."""
    with pytest.raises(CrlError, match="it is of CN=devices, which is none of the authorities"):
        crl.read(listed(books), authorities(books, "other"), time.time())


def test_a_list_from_the_future_is_refused(books: DevicePki) -> None:
    """A clock is wrong, theirs or ours."""
    with pytest.raises(CrlError, match="it was made at 2090-01-01 00:00, which has not come yet"):
        crl.read(listed(books, dates=FUTURE), authorities(books, "devices"), time.time())


ISSUING = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=True,
    only_contains_attribute_certs=False,
)


def forged(books: DevicePki, *extensions: tuple[x509.ExtensionType, bool], by: str = "devices") -> bytes:
    """A list with these extensions, in the name of `devices` with the key of `by`."""
    key = load_pem_private_key((books.folder / f"{by}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    (authority,) = authorities(books, "devices")
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder(authority.subject, now, now + datetime.timedelta(days=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_list_with_a_strange_signature_is_refused(books: DevicePki) -> None:
    """In its authority's name, with another's key."""
    with pytest.raises(CrlError, match="its signature is not that of CN=devices"):
        crl.read(forged(books, by="other"), authorities(books, "devices"), time.time())
    assert crl.read(forged(books), authorities(books, "devices"), time.time()).serials == frozenset()


@pytest.mark.parametrize(
    ("extension", "critical", "message"),
    [
        (x509.DeltaCRLIndicator(1), True, "it is a delta"),
        (ISSUING, True, "it is indirect"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"), True, "critical extension 1.2.3.4"),
    ],
)
def test_a_list_that_is_not_the_whole_truth_is_refused(
    books: DevicePki, extension: x509.ExtensionType, *, critical: bool, message: str
) -> None:
    """Deltas, indirect lists, and what we do not understand and should."""
    with pytest.raises(CrlError, match=message):
        crl.read(forged(books, (extension, critical)), authorities(books, "devices"), time.time())


@given(st.binary(max_size=200))
def test_rubbish_is_no_list(data: bytes) -> None:
    """Whatever comes."""
    with pytest.raises(CrlError):
        crl.read(data, (), 0.0)


def test_a_list_with_a_changed_byte_is_refused(books: DevicePki) -> None:
    """Wherever it is."""
    good = listed(books)
    for at in range(len(good)):
        broken = bytearray(good)
        broken[at] ^= 0x41
        with pytest.raises(CrlError):
            crl.read(bytes(broken), authorities(books, "devices"), time.time())


# --- responders ------------------------------------------------------------------------------------------------------


def question(books: DevicePki, name: str, issuer: str = "devices") -> Question:
    """What is asked about a certificate."""
    (authority,) = authorities(books, issuer)
    return ocsp.question(x509.load_der_x509_certificate(books.der(name)), authority, b"0123456789abcdef")


def answer(url: str, asked: Question) -> bytes:
    """What a responder says."""
    headers = {"Content-Type": "application/ocsp-request"}
    request = urllib.request.Request(url, asked.data, headers)  # noqa: S310 - a responder of our own
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        data: bytes = response.read()
    return data


@pytest.mark.parametrize("signer", ["devices", "answers"])
def test_openssls_responder_is_understood(books: DevicePki, signer: str) -> None:
    """Signed by the authority itself or by who that has named for it; good, revoked, and with an end or without."""
    statuses: dict[str, Literal["good", "revoked", "unknown"]] = {"good": "good", "lost": "revoked"}
    with books.responder("devices", "-nmin", "5", signer=signer) as responder:
        for name, status in statuses.items():
            asked = question(books, name)
            found = ocsp.read(answer(responder.url, asked), asked, time.time())
            assert (found.status, found.ends is not None and found.ends > time.time()) == (status, True)
    with books.responder("devices", signer=signer) as responder:
        asked = question(books, "good")
        assert ocsp.read(answer(responder.url, asked), asked, time.time()).ends is None


def test_a_responder_that_does_not_know_a_certificate_says_so(books: DevicePki) -> None:
    """It is not in the books: nobody knows who has made it."""
    (books.folder / "devices" / "index.txt").rename(books.folder / "kept")
    (books.folder / "devices" / "index.txt").write_text("")
    try:
        with books.responder("devices") as responder:
            asked = question(books, "good")
            assert ocsp.read(answer(responder.url, asked), asked, time.time()).status == "unknown"
    finally:
        (books.folder / "kept").rename(books.folder / "devices" / "index.txt")


@pytest.mark.parametrize(
    ("signer", "options", "message"),
    [
        ("impostor", (), "it is signed by nobody who may answer for this authority"),
        ("good", (), "it is signed by nobody who may answer for this authority"),
        ("answered", (), "it is signed by nobody who may answer for this authority"),
        ("answers", ("-resp_no_certs",), "it is signed by nobody who may answer for this authority"),
        ("answers", ("-badsig",), "its signature is wrong"),
        ("devices", ("-badsig",), "its signature is wrong"),
        ("answers", ("-rmd", "sha1"), "it is signed with a hash that is not taken"),
    ],
)
def test_an_answer_that_proves_nothing_is_refused(
    books: DevicePki, signer: str, options: tuple[str, ...], message: str
) -> None:
    """Of an impostor, of a device, of who may answer no more, unsigned in effect, or with a weak hash."""
    with books.responder("devices", *options, signer=signer) as responder:
        asked = question(books, "lost")
        data = answer(responder.url, asked)
    with pytest.raises(OcspError, match=message):
        ocsp.read(data, asked, time.time())


def test_an_answer_is_held_against_its_question_and_the_clock(books: DevicePki) -> None:
    """Another certificate's, another question's, one of yesterday and one of tomorrow."""
    with books.responder("devices", "-nmin", "5") as responder:
        asked, now = question(books, "good"), time.time()
        data = answer(responder.url, asked)
    with pytest.raises(OcspError, match="it is about another certificate"):
        ocsp.read(data, question(books, "lost"), now)
    with pytest.raises(OcspError, match=r"it answers another question \(nonce\)"):
        ocsp.read(data, Question(asked.data, b"another", asked.certificate, asked.issuer), now)
    with pytest.raises(OcspError, match=r"it does not hold any more \(nextUpdate\)"):
        ocsp.read(data, asked, now + 400)
    with pytest.raises(OcspError, match="of a time that has not come yet"):
        ocsp.read(data, asked, now - ocsp.SLACK_SECONDS - 60)


def test_a_refusal_says_what_the_responder_said(books: DevicePki) -> None:
    """`tryLater`, say."""
    later = library.OCSPResponseBuilder.build_unsuccessful(library.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(OcspError, match="the responder says try_later"):
        ocsp.read(later.public_bytes(Encoding.DER), question(books, "good"), time.time())


@given(st.binary(max_size=200))
def test_rubbish_is_no_answer(data: bytes) -> None:
    """Whatever comes."""
    (root,) = authorities_of_nobody()
    with pytest.raises(OcspError):
        ocsp.read(data, Question(b"", b"", root, root), 0.0)


def authorities_of_nobody() -> tuple[x509.Certificate]:
    """A certificate to ask about, where that does not matter."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    return (builder.sign(key, hashes.SHA256()),)


# --- what it is worth ------------------------------------------------------------------------------------------------

NOW = 1_000_000.0
STRICT, LENIENT = Revocation(policy="strict"), Revocation(policy="lenient", lenient_seconds=100.0)


@pytest.mark.parametrize(
    ("standing", "since", "strict", "lenient"),
    [
        (Standing.GOOD, 0.0, True, True),
        (Standing.REVOKED, 0.0, False, False),
        (Standing.REVOKED, NOW, False, False),
        (Standing.STALE, NOW - 99.0, False, True),
        (Standing.STALE, NOW - 100.0, False, False),
        (Standing.UNKNOWN, NOW - 99.0, False, True),
        (Standing.UNKNOWN, NOW - 100.0, False, False),
    ],
)
def test_the_policy_is_the_stated_one(standing: Standing, since: float, *, strict: bool, lenient: bool) -> None:
    """Row 72: stale tested both ways; lenience ends."""
    evidence = Evidence(standing, NOW + 1.0, since)
    assert (passes(evidence, STRICT, NOW), passes(evidence, LENIENT, NOW)) == (strict, lenient)


@given(st.lists(st.builds(Evidence, st.sampled_from(Standing), st.just(0.0)), max_size=4))
def test_revoked_counts_from_any_source_and_good_from_any_other(found: list[Evidence]) -> None:
    """Two sources that do not say the same."""
    said, result = {one.standing for one in found}, worst(found)
    if result is None:
        assert not found
    elif Standing.REVOKED in said:
        assert result.standing is Standing.REVOKED
    elif Standing.GOOD in said:
        assert result.standing is Standing.GOOD


def test_pem_is_base64() -> None:
    """The marks of the two are not mixed up: a device's certificate is no list."""
    assert crl.split(base64.b64encode(DEVICE.encode())) == [base64.b64encode(DEVICE.encode())]
