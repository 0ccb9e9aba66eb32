"""A certificate as far as it matters here: when it holds, what for, and the names in it (RFC 5280)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE_BYTES = 16_384  # a device's has one or two thousand; with a photograph (PIV) a few more

Field = Literal["upn", "email", "common_name"]
"""Where in a certificate a user's name may stand."""
Names = Mapping[Field, tuple[str, ...]]

_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # szOID_NT_PRINCIPAL_NAME: Microsoft's user principal name
_UTF8_STRING = 0x0C
_SHORT_FORM = 0x80  # lengths below stand in one byte (X.690 8.1.3.4)


MALFORMED = (
    ValueError,
    TypeError,
    KeyError,  # a name's text of a type that it has no entry for
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,  # where warnings are errors: what it still reads, and soon will not
)
"""What `cryptography` raises for what is no X.509, and for kinds of keys and signatures that it, or OpenSSL, does not take."""


class CertificateError(ValueError):
    """A certificate that is not taken; the message is one word for the audit line."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`issuer` as RFC 4514 writes it; `starts` and `ends` in seconds since the epoch; `client`: it is for authenticating
    clients, and says so."""

    fingerprint: str
    issuer: str
    serial: int
    starts: float
    ends: float
    client: bool
    names: Names
    parsed: x509.Certificate = field(repr=False, compare=False)


def read(der: bytes) -> Certificate:
    """Read one certificate. Raises `CertificateError` (`certificate_malformed`)."""
    if len(der) > CERTIFICATE_BYTES:
        raise CertificateError("certificate_malformed")
    try:
        parsed = x509.load_der_x509_certificate(der)
        if parsed.serial_number <= 0:  # RFC 5280 4.1.2.2; the library only warns
            raise CertificateError("certificate_malformed")
        usage, alternatives = _usage(parsed), _alternatives(parsed)
        return Certificate(
            fingerprint=hashlib.sha256(der).hexdigest(),
            issuer=parsed.issuer.rfc4514_string(),
            serial=parsed.serial_number,
            starts=parsed.not_valid_before_utc.timestamp(),
            ends=parsed.not_valid_after_utc.timestamp(),
            client=ExtendedKeyUsageOID.CLIENT_AUTH in usage,
            names={
                "upn": _principal_names(alternatives),
                "email": tuple(alternatives.get_values_for_type(x509.RFC822Name)),
                "common_name": common_names(parsed.subject),
            },
            parsed=parsed,
        )
    except MALFORMED:
        raise CertificateError("certificate_malformed") from None


def common_names(subject: x509.Name) -> tuple[str, ...]:
    """The common names in a subject."""
    return tuple(str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _usage(parsed: x509.Certificate) -> x509.ExtendedKeyUsage | tuple[()]:
    try:
        return parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ()


def _alternatives(parsed: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _principal_names(alternatives: x509.SubjectAlternativeName) -> tuple[str, ...]:
    others = alternatives.get_values_for_type(x509.OtherName)
    return tuple(_utf8_string(one.value) for one in others if one.type_id == _UPN)


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String, which is what a user principal name is. Raises `ValueError` for anything else."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError("not a UTF8String")
    size, begin = der[1], 2
    if size > _SHORT_FORM:
        begin += size - _SHORT_FORM
        size = int.from_bytes(der[2:begin], "big")
        if size < _SHORT_FORM or der[2] == 0:  # DER: the shortest form and no other
            raise ValueError("not DER")
    if (size == _SHORT_FORM and begin == 2) or begin + size != len(der):
        raise ValueError("not DER")
    return der[begin:].decode()
