"""Certificate revocation lists (RFC 5280 5): bytes to a list that its authority has signed."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509

from sentry_runtime.certificates.certificate import MALFORMED

SLACK_SECONDS = 300.0  # between an authority's clock and ours
CRL_BYTES = 33_554_432  # about a million entries; the largest public ones are below ten million bytes

_PEM = re.compile(rb"-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----")
_BLANKS = re.compile(rb"\s+")
# What we understand of what a list may demand to be understood (critical extensions).
_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.CRLNumber, x509.AuthorityKeyIdentifier)


class CrlError(ValueError):
    """A list that is not taken; the message says why, in words."""


@dataclass(frozen=True, slots=True)
class Crl:
    """A list of one authority; times in seconds since the epoch. `points`: of a list that is a part, the URIs by which a
    certificate says that it belongs to it (RFC 5280 5.2.5); none: all of the authority's."""

    issuer: x509.Certificate = field(repr=False)
    points: frozenset[str]
    number: int
    made: float
    ends: float
    serials: frozenset[int] = field(repr=False)

    @property
    def name(self) -> str:
        """Whose it is."""
        return self.issuer.subject.rfc4514_string()

    def covers(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate of this authority would be on this list if it were revoked."""
        return not self.points or bool(self.points & _points_of(certificate))


def split(data: bytes) -> list[bytes]:
    """The lists (DER) in a file: one in DER, or any number in PEM. Raises `CrlError`."""
    found = _PEM.findall(data)
    try:
        return [base64.b64decode(_BLANKS.sub(b"", one), validate=True) for one in found] or [data]
    except binascii.Error:
        raise CrlError("not a revocation list in PEM") from None


def read(der: bytes, authorities: tuple[x509.Certificate, ...], now: float) -> Crl:
    """Read one list. One that ends before `now` is taken, too: what it says of revoked certificates stays true.

    Raises `CrlError` for one that is malformed, of none of these authorities, not complete, from the future, or without an end.
    """
    if len(der) > CRL_BYTES:
        raise CrlError(f"more than {CRL_BYTES} bytes")
    try:
        found = x509.load_der_x509_crl(der)
        _check_complete(found)
        issuer = _issuer(found, authorities)
        ends = found.next_update_utc
        if ends is None:
            raise CrlError("it does not say until when it holds (nextUpdate)")
        made = found.last_update_utc.timestamp()
        if made > now + SLACK_SECONDS:
            raise CrlError(f"it was made at {found.last_update_utc:%Y-%m-%d %H:%M}, which has not come yet")
        return Crl(
            issuer,
            _points(found),
            _number(found),
            made,
            ends.timestamp(),
            frozenset(one.serial_number for one in found),
        )
    except CrlError:
        raise
    except MALFORMED as error:
        raise CrlError(f"not a revocation list: {error}") from None


def _issuer(found: x509.CertificateRevocationList, authorities: tuple[x509.Certificate, ...]) -> x509.Certificate:
    name = found.issuer.rfc4514_string()
    candidates = [one for one in authorities if one.subject == found.issuer]
    if not candidates:
        raise CrlError(f"it is of {name}, which is none of the authorities")
    for one in candidates:
        if _may_sign(one) and found.is_signature_valid(one.public_key()):  # type: ignore[arg-type] # it refuses others itself
            return one
    raise CrlError(f"its signature is not that of {name}")


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True  # RFC 5280 4.2.1.3: without the extension a key is not restricted


def _check_complete(found: x509.CertificateRevocationList) -> None:
    """Of the kinds of lists only those are understood that have one authority's users, for every reason."""
    for extension in found.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            raise CrlError("it is a delta: only complete lists are taken")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            point = extension.value
            if point.indirect_crl or point.only_some_reasons or point.only_contains_ca_certs:
                raise CrlError(
                    "it is indirect, for some reasons or for authorities only: only complete lists are taken"
                )
            if point.only_contains_attribute_certs:
                raise CrlError("it is of attribute certificates")
        elif extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise CrlError(f"it has the critical extension {extension.oid.dotted_string}, which is not understood")


def _points(found: x509.CertificateRevocationList) -> frozenset[str]:
    try:
        point = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return frozenset()
    if point.full_name is None and point.relative_name is None:
        return frozenset()
    uris = _uris(point.full_name)
    if not uris:
        raise CrlError("it is a part whose name is no URI")
    return uris


def _points_of(certificate: x509.Certificate) -> frozenset[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset().union(*(_uris(point.full_name) for point in points))


def _uris(names: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(one.value for one in names or () if isinstance(one, x509.UniformResourceIdentifier))


def _number(found: x509.CertificateRevocationList) -> int:
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
