"""Whom a client certificate names, and whose account that is."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.configd.client_certificates import UPN, CertificateError, Identity, owner, read
from tests.site_pki import NOW, Signed, authority, new_key

ACCOUNTS = {
    "alice": Identity(edipi="1111111111", certificate="Alice@Lab.Test"),
    "olga": Identity(edipi="2222222222", certificate="CN=Olga,O=Lab"),
    "nobody": Identity(),
}


@pytest.fixture(scope="module")
def cards() -> Signed:
    return authority("Cards")


def card(by: Signed, names: dict[x509.ObjectIdentifier, str], *upns: bytes) -> bytes:
    """A certificate with this subject, and these user principal names (DER) as alternative names."""
    subject = x509.Name([x509.NameAttribute(kind, text) for kind, text in names.items()])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject)
        .public_key(new_key().public_key())
        .serial_number(0xABC)
        .not_valid_before(NOW)
        .not_valid_after(NOW.replace(year=NOW.year + 1))
    )
    if upns:
        names_of = x509.SubjectAlternativeName([x509.OtherName(UPN, upn) for upn in upns])
        builder = builder.add_extension(names_of, critical=False)
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


def utf8(text: str) -> bytes:
    """A UTF8String (X.690 8.23)."""
    return bytes((0x0C, len(text))) + text.encode()


CN, O = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME  # noqa: E741 - as X.520 writes it


@pytest.mark.parametrize(
    ("names", "upns", "ways", "found"),
    [
        ({CN: "DOE.ALICE.Q.1111111111"}, (), ["edipi"], "alice"),
        ({CN: "Alice"}, ("1111111111@mil",), ["edipi"], "alice"),
        ({CN: "Alice"}, ("1111111111117004@MIL",), ["edipi"], "alice"),
        ({CN: "DOE.ALICE.Q.1111111111"}, ("1111111111@mil",), ["edipi"], "alice"),
        ({CN: "x"}, ("ALICE@lab.test",), ["upn"], "alice"),
        ({O: "Lab", CN: "Olga"}, (), ["subject"], "olga"),
        ({O: "Lab", CN: "Olga"}, ("nobody@lab.test",), ["upn", "subject"], "olga"),
    ],
)
def test_a_certificate_leads_to_the_account_that_it_names(
    cards: Signed, names: dict[x509.ObjectIdentifier, str], upns: tuple[str, ...], ways: list[str], found: str
) -> None:
    client = read(card(cards, names, *map(utf8, upns)))
    assert owner(client, ACCOUNTS, ways) == found
    assert client.serial == "ABC"


@pytest.mark.parametrize(
    ("names", "upns", "ways"),
    [
        ({CN: "1111111111"}, (), ["edipi"]),  # the last of several words, and not the only one
        ({CN: "DOE.ALICE.11111111111"}, (), ["edipi"]),
        ({CN: "DOE.ALICE.1111111111 "}, (), ["edipi"]),
        ({CN: "x"}, ("1111111111@mil.example",), ["edipi"]),
        ({CN: "x"}, ("x1111111111@mil",), ["edipi"]),
        ({CN: "x"}, ("11111111112@mil",), ["edipi"]),
        ({O: "DOE.ALICE.Q.1111111111", CN: "x"}, (), ["edipi"]),
        ({CN: "x"}, ("alice@lab.test",), ["edipi"]),
        ({CN: "x"}, ("alice@lab.test",), ["subject"]),
        ({CN: "Alice@Lab.Test"}, (), ["upn", "subject"]),
        ({CN: "Olga"}, (), ["subject"]),
        ({CN: "x"}, (), ["edipi", "upn", "subject"]),  # an account without any is not everybody's
    ],
)
def test_what_is_only_like_a_name_is_none(
    cards: Signed, names: dict[x509.ObjectIdentifier, str], upns: tuple[str, ...], ways: list[str]
) -> None:
    with pytest.raises(CertificateError, match="belongs to no account"):
        owner(read(card(cards, names, *map(utf8, upns))), ACCOUNTS, ways)


def test_a_certificate_that_names_two_people_is_nobodys(cards: Signed) -> None:
    """Two numbers in one certificate, or a number and a name that lead to two."""
    both = read(card(cards, {CN: "DOE.ALICE.Q.1111111111"}, utf8("2222222222@mil")))
    with pytest.raises(CertificateError, match="more than one account"):
        owner(both, ACCOUNTS, ["edipi"])
    mixed = read(card(cards, {CN: "ROE.OLGA.2222222222"}, utf8("alice@lab.test")))
    with pytest.raises(CertificateError, match="more than one account"):
        owner(mixed, ACCOUNTS, ["edipi", "upn"])


@pytest.mark.parametrize("upn", [b"\x16\x0e1111111111@mil", b"\x0c\x81\x80" + b"a" * 128])
def test_a_name_that_is_not_written_as_one_makes_the_certificate_unreadable(cards: Signed, upn: bytes) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        read(card(cards, {CN: "x"}, upn))


@pytest.mark.parametrize("der", [b"", b"\x30\x03", b"-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate_is_told_so(der: bytes) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        read(der)
