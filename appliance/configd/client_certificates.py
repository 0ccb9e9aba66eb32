"""Whom a client certificate names, and whose account that is. Pure: bytes and the configuration in, an account's name out.

Whether the certificate is good is not looked at here (`appliance.configd.examining`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # user principal name, an otherName among the alternative names
UTF8_STRING = 0x0C  # its DER tag (X.690 8.23)
SHOWN_CHARACTERS = 120  # of a subject, in the audit trail and on a page

# A DoD person's number: alone before `@mil`, or followed by the six digits that tell apart what the person is there as.
_EDIPI_UPN = re.compile(r"([0-9]{10})(?:[0-9]{6})?@mil", re.IGNORECASE)
_EDIPI_NAME = re.compile(r".+\.([0-9]{10})", re.DOTALL)
_MALFORMED = (ValueError, TypeError, KeyError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


class CertificateError(ValueError):
    """A certificate that cannot be read, or that names nobody or more than one; the message says why, in a person's words."""


@dataclass(frozen=True, slots=True)
class Client:
    """What of a certificate says whose it is. `edipis` and `upns` are all that it states."""

    subject: str
    serial: str
    edipis: frozenset[str]
    upns: frozenset[str]
    pem: str

    @property
    def shown(self) -> str:
        """The certificate in one line, for the audit trail."""
        return f"{self.subject[:SHOWN_CHARACTERS] or '(no subject)'}, serial {self.serial}"


@dataclass(frozen=True, slots=True)
class Identity:
    """By what an account is known: the person's EDIPI, and a user principal name or a subject; "" where it has none."""

    edipi: str = ""
    certificate: str = ""


def read(der: bytes) -> Client:
    """The names in a certificate (DER). Raises `CertificateError`."""
    try:
        found = x509.load_der_x509_certificate(der)
        upns = frozenset(_upns(found))
        return Client(
            subject=found.subject.rfc4514_string(),
            serial=f"{found.serial_number:X}",
            edipis=frozenset(_edipis(found, upns)),
            upns=upns,
            pem=found.public_bytes(Encoding.PEM).decode(),
        )
    except _MALFORMED as error:
        raise CertificateError("Your certificate cannot be read.") from error


def _upns(found: x509.Certificate) -> Iterable[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names.get_values_for_type(x509.OtherName):
        if name.type_id == UPN:
            yield _text(name.value)


def _text(value: bytes) -> str:
    """A short UTF8String (DER); a name of 128 bytes or more has another form of length, and is none of ours."""
    if len(value) < 2 or value[0] != UTF8_STRING or value[1] != len(value) - 2 or value[1] >= 0x80:
        raise ValueError("a user principal name that is no short UTF8String")
    return value[2:].decode()


def _edipis(found: x509.Certificate, upns: frozenset[str]) -> Iterable[str]:
    for upn in upns:
        if match := _EDIPI_UPN.fullmatch(upn):
            yield match[1]
    for attribute in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if match := _EDIPI_NAME.fullmatch(str(attribute.value)):
            yield match[1]


def owner(client: Client, accounts: Mapping[str, Identity], mapping: Iterable[str]) -> str:
    """The one account that the certificate names, by the ways of `mapping` (`edipi`, `upn`, `subject`). Raises `CertificateError`
    where it is none, or where two ways lead to two."""
    ways = {
        "edipi": client.edipis,
        "upn": frozenset(map(str.lower, client.upns)),
        "subject": frozenset({client.subject}),
    }
    found = {name for name, known in accounts.items() for way in mapping if _known_as(known, way) & ways[way]}
    if not found:
        raise CertificateError("Your certificate belongs to no account of this appliance. Ask an administrator.")
    if len(found) > 1:
        raise CertificateError("Your certificate names more than one account of this appliance. Ask an administrator.")
    return found.pop()


def _known_as(known: Identity, way: str) -> frozenset[str]:
    text = {"edipi": known.edipi, "upn": known.certificate.lower(), "subject": known.certificate}[way]
    return frozenset({text}) if text else frozenset()
