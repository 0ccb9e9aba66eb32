"""Reading certificates, who has issued them, and whose they are."""

import base64
import datetime
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.certificates import authorities as module
from sentry_runtime.certificates import holder
from sentry_runtime.certificates.authorities import Authorities, AuthoritiesError
from sentry_runtime.certificates.certificate import (
    CERTIFICATE_BYTES,
    Certificate,
    CertificateError,
    _utf8_string,
    read,
)
from sentry_runtime.certificates.holder import Holders
from sentry_runtime.eas.principal import Names as UserNames
from sentry_runtime.settings import DeviceAuthentication, MappedCertificate, SettingsError
from tests.device_pki import UPN, DevicePki


def authorities(pki: DevicePki, *names: str) -> Authorities:
    """Those of these names."""
    return Authorities.of(b"".join((pki.folder / f"{name}.pem").read_bytes() for name in names))


def test_a_certificate_is_read(pki: DevicePki) -> None:
    """Its names, times, purpose and fingerprint, as openssl has made them."""
    found = read(pki.der("anna"))
    assert found.names == {"upn": ("Anna@Lab.Test",), "email": ("anna.b@lab.test",), "common_name": ("anna",)}
    assert (found.issuer, found.client) == ("CN=devices", True)
    assert found.fingerprint == hashlib.sha256(pki.der("anna")).hexdigest()
    assert found.ends - found.starts == 2 * 86_400
    assert read(pki.der("server")).client is read(pki.der("nothing")).client is False
    assert read(pki.der("plain")).names == {"upn": (), "email": (), "common_name": ("Anna Berg",)}


def made(*extensions: x509.ExtensionType) -> bytes:
    """A certificate with these extensions, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def principal_name(value: bytes) -> x509.SubjectAlternativeName:
    """An alternative name of Microsoft's kind with these bytes."""
    return x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), value)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x0c\x04anna", "anna"),
        (b"\x0c\x00", ""),
        (b"\x0c\x81\x80" + b"a" * 128, "a" * 128),
        (b"\x0c\x82\x01\x00" + b"a" * 256, "a" * 256),
    ],
)
def test_a_user_principal_name_is_a_utf8_string(value: bytes, text: str) -> None:
    """In DER, of any length."""
    assert read(made(principal_name(value))).names["upn"] == (text,)


@pytest.mark.parametrize(
    "value",
    [
        b"\x13\x04anna",
        b"\x0c\x05anna",
        b"\x0c\x03anna",
        b"\x0c\x81\x04anna",
        b"\x0c\x80anna\x00\x00",
        b"\x0c\x82\x00\x80" + b"a" * 128,
        b"\x0c\x02\xff\xfe",
        b"\x0c",
        b"\x0c\x84",
    ],
)
def test_a_user_principal_name_that_is_something_else_is_none(value: bytes) -> None:
    """Another type, another length, no DER, no UTF-8: it is not guessed what was meant."""
    with pytest.raises(ValueError, match=r"."):
        _utf8_string(value)


@given(st.binary(max_size=300))
def test_what_is_no_certificate_is_refused_in_one_way(data: bytes) -> None:
    """Whatever comes."""
    with pytest.raises(CertificateError, match=r"^certificate_malformed$"):
        read(data)


@given(st.data())
def test_a_certificate_with_a_changed_byte_is_read_or_refused(pki: DevicePki, data: st.DataObject) -> None:
    """In the one way; nothing else is raised."""
    der = bytearray(pki.der("anna"))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(der))
    except CertificateError as error:
        found = None
        words = str(error)
        assert words == "certificate_malformed"
    assert found is None or isinstance(found, Certificate)


def test_a_principal_name_of_another_kind_spoils_the_certificate() -> None:
    """An IA5String, say."""
    with pytest.raises(CertificateError, match="certificate_malformed"):
        read(made(principal_name(b"\x16\x04anna")))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("serial", [b"\x80\x01", b"\x00\x00"])
def test_a_serial_number_is_positive(pki: DevicePki, serial: bytes) -> None:
    """The library reads others with a warning; a list could not name them."""
    der = pki.der("anna")
    at = der.index(b"\x02\x02\x10") + 2
    with pytest.raises(CertificateError, match="certificate_malformed"):
        read(der[:at] + serial + der[at + 2 :])


def test_a_large_one_is_not_even_read() -> None:
    """The bound comes first."""
    comment = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(CERTIFICATE_BYTES))
    with pytest.raises(CertificateError, match="certificate_malformed"):
        read(made(comment))


@pytest.mark.parametrize(
    ("name", "trusted", "issuer"),
    [
        ("anna", ("root", "devices"), "devices"),
        ("anna", ("root", "servers", "devices"), "devices"),
        ("server", ("root", "servers", "devices"), "servers"),
    ],
)
def test_the_issuer_is_who_has_signed(pki: DevicePki, name: str, trusted: tuple[str, ...], issuer: str) -> None:
    """By its own key."""
    found = authorities(pki, *trusted).issuer_of(read(pki.der(name)))
    assert found.subject.rfc4514_string() == f"CN={issuer}"


@pytest.mark.parametrize(("name", "trusted"), [("anna", ("root",)), ("server", ("devices",)), ("anna", ("other",))])
def test_a_certificate_of_somebody_else_is_refused(pki: DevicePki, name: str, trusted: tuple[str, ...]) -> None:
    """Also where an authority above it is believed."""
    with pytest.raises(CertificateError, match=r"^certificate_issuer$"):
        authorities(pki, *trusted).issuer_of(read(pki.der(name)))


def test_the_name_alone_makes_no_issuer(pki: DevicePki, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An authority that calls itself the same has another key."""
    strangers = DevicePki(tmp_path_factory.mktemp("strangers"))
    strangers.authority("devices")
    strangers.issue("anna", by="devices")
    with pytest.raises(CertificateError, match=r"^certificate_issuer$"):
        authorities(pki, "root", "devices").issuer_of(read(strangers.der("anna")))
    both = authorities(pki, "devices") + authorities(strangers, "devices")
    assert both.issuer_of(read(strangers.der("anna"))) is both.held[1]


def test_the_chain_upwards_is_followed_as_far_as_it_is_known(pki: DevicePki) -> None:
    """Each with the one that has signed it; a root has nobody above it."""
    held = authorities(pki, "root", "devices")
    root, devices = held.held
    assert held.above(devices) == held.above(devices) == ((devices, root),)
    assert held.above(root) == authorities(pki, "devices").above(devices) == ()


def test_a_signature_is_checked_once(pki: DevicePki, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is remembered is bounded."""
    held, check = authorities(pki, "root", "devices"), module._signer
    checked: list[x509.Certificate] = []

    def counted(one: x509.Certificate, candidates: Iterable[x509.Certificate]) -> x509.Certificate | None:
        checked.append(one)
        return check(one, candidates)

    monkeypatch.setattr(module, "_signer", counted)
    monkeypatch.setattr(module, "REMEMBERED", 2)
    for name in ("anna", "anna", "bert", "anna", "two", "two"):
        held.issuer_of(read(pki.der(name)))
    assert (len(checked), len(held._signers)) == (3, 1)


@pytest.mark.parametrize(
    ("pem", "message"),
    [(b"", "Unable to load PEM"), (b"rubbish", "Unable to load PEM"), (b"x" * 2_000_000, "more than 1048576 bytes")],
)
def test_a_bundle_that_is_none_is_an_error(pem: bytes, message: str) -> None:
    """It says what was found."""
    with pytest.raises(AuthoritiesError, match=message):
        Authorities.of(pem)


def test_an_authority_whose_names_cannot_be_read_is_an_error(pki: DevicePki) -> None:
    """When it is loaded, not when the first device comes."""
    whole, name = pki.der("root"), b"\x0c\x04root"
    issuer, subject = whole.index(name), whole.rindex(name)
    assert issuer < subject
    for at in (issuer, subject):
        broken = whole[:at] + b"\x0c\x04\xff\xffot" + whole[at + len(name) :]
        pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(broken).decode()}\n-----END CERTIFICATE-----\n"
        with pytest.raises(AuthoritiesError, match="error parsing"):
            Authorities.of(pem.encode())


def test_a_devices_certificate_is_no_authority(pki: DevicePki) -> None:
    """However it got into the bundle."""
    with pytest.raises(AuthoritiesError, match="CN=anna,O=Lab is no authority"):
        authorities(pki, "root", "anna")


def who(pki: DevicePki, name: str, *order: str, table: tuple[MappedCertificate, ...] = ()) -> str:
    """Whose certificate this is."""
    found = read(pki.der(name))
    settings = msgspec.convert({"mapping": order}, DeviceAuthentication)
    return Holders(settings.mapping, holder.table(table, "t")).principal(found.names, found.issuer, found.serial)


@pytest.mark.parametrize(
    ("name", "order", "user"),
    [
        ("anna", ("upn",), "anna@lab.test"),
        ("anna", ("upn", "email"), "anna@lab.test"),
        ("anna", ("email", "upn"), "anna.b@lab.test"),
        ("anna", ("common_name",), "anna"),
        ("same", ("upn", "email"), "anna@lab.test"),
        ("plain", ("upn", "email", "table", "common_name"), CertificateError("certificate_names_nobody")),
        ("plain", ("upn", "email"), CertificateError("certificate_names_nobody")),
        ("two", ("email",), CertificateError("certificate_names_several")),
        ("two", ("upn", "email", "common_name"), CertificateError("certificate_names_several")),
    ],
)
def test_the_first_field_that_is_there_names_the_user(
    pki: DevicePki, name: str, order: tuple[str, ...], user: str | CertificateError
) -> None:
    """In the site's order (row 70); who would have to be guessed is nobody."""
    if isinstance(user, CertificateError):
        with pytest.raises(CertificateError, match=f"^{user}$"):
            who(pki, name, *order)
    else:
        assert who(pki, name, *order) == user


def test_the_table_names_users_by_issuer_and_serial_number(pki: DevicePki) -> None:
    """As openssl prints them; a certificate that is not in it goes on to the next field."""
    serial = f"{read(pki.der('plain')).serial:X}"
    rows = (MappedCertificate(issuer="CN=devices", serial=serial, user="LAB\\Anna"),)
    assert who(pki, "plain", "table", table=rows) == "anna@lab"
    assert who(pki, "anna", "table", "upn", table=rows) == "anna@lab.test"
    with pytest.raises(CertificateError, match="certificate_names_nobody"):
        who(pki, "anna", "table", table=rows)


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("anna", "anna@lab.test"),
        ("LAB\\Anna", "anna@lab.test"),
        ("anna@other.test", "anna@other.test"),
        (".\\anna", CertificateError("certificate_names_nobody")),
    ],
)
def test_names_are_read_as_the_site_reads_them(name: str, user: str | CertificateError) -> None:
    """As those in credentials, so that they can be one person's; the table's, too."""
    site = UserNames({"lab": "lab.test"}, "lab.test")
    rows = (MappedCertificate(issuer="CN=devices", serial="0a", user=name),)
    if isinstance(user, CertificateError):
        with pytest.raises(CertificateError, match=f"^{user}$"):
            Holders(("common_name",), {}, site).principal({"common_name": (name,)})
        with pytest.raises(SettingsError, match=r"t\[0\]: principal_of_no_domain"):
            holder.table(rows, "t", site)
    else:
        assert Holders(("common_name",), {}, site).principal({"common_name": (name,)}) == user
        assert holder.table(rows, "t", site) == {("CN=devices", 10): user}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"issuer": "devices", "serial": "01", "user": "anna"}, r"t\[0\]: 'devices' is no name such as CN="),
        ({"issuer": "CN=devices", "serial": "01", "user": "a b"}, r"t\[0\]: principal_malformed"),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error(row: dict[str, Any], message: str) -> None:
    """It names the place."""
    with pytest.raises(SettingsError, match=message):
        holder.table((MappedCertificate(**row),), "t")


def test_one_certificate_is_one_users() -> None:
    """Also when it is written in two ways."""
    rows = (
        MappedCertificate(issuer="CN=devices,O=Lab", serial="0a:0B", user="anna"),
        MappedCertificate(issuer="2.5.4.3=devices,O=Lab", serial="A0B", user="bert"),
    )
    with pytest.raises(SettingsError, match=r"t\[1\]: the same issuer and serial number a second time"):
        holder.table(rows, "t")


def test_the_prefix_of_principal_names_is_microsofts() -> None:
    """The same identifier in openssl's words and in ours."""
    assert "1.3.6.1.4.1.311.20.2.3" in UPN
