"""Who may have issued a device's certificate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sentry_runtime.certificates.certificate import MALFORMED, Certificate, CertificateError
from sentry_runtime.settings import SettingsError

BUNDLE_BYTES = 1_048_576  # some 500 certificates; a company has a handful of authorities


REMEMBERED = 50_000  # certificates whose issuer is known: a fleet's, about 8 MB

Chain = tuple[tuple[x509.Certificate, x509.Certificate], ...]


class AuthoritiesError(ValueError):
    """What was given as authorities holds something else; the message says what."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificates of authorities; a device's must be signed by one of these themselves.

    Who has signed what is remembered: a signature takes a millisecond to check, and after each new revocation list every
    certificate is looked at again.
    """

    held: tuple[x509.Certificate, ...] = field(repr=False)
    _signers: dict[str, x509.Certificate] = field(default_factory=dict, repr=False, compare=False)
    _chains: dict[x509.Certificate, Chain] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, pem: bytes) -> "Authorities":
        """Of a PEM bundle. Raises `AuthoritiesError`."""
        if len(pem) > BUNDLE_BYTES:
            raise AuthoritiesError(f"more than {BUNDLE_BYTES} bytes")
        try:
            found = tuple(x509.load_pem_x509_certificates(pem))
            for one in found:
                # The library reads names when they are asked for: both are, so that nobody stumbles over one later.
                name, _ = one.subject.rfc4514_string(), one.issuer
                if not _is_authority(one):
                    raise AuthoritiesError(f"{name} is no authority (CA:TRUE)")
        except AuthoritiesError:
            raise
        except MALFORMED as error:
            raise AuthoritiesError(str(error)) from None
        return cls(found)

    def __iter__(self) -> Iterator[x509.Certificate]:
        return iter(self.held)

    def __add__(self, other: "Authorities") -> "Authorities":
        return Authorities((*self.held, *(one for one in other.held if one not in self.held)))

    def issuer_of(self, certificate: Certificate) -> x509.Certificate:
        """The one that has signed it. Raises `CertificateError` (`certificate_issuer`)."""
        found = self._signers.get(certificate.fingerprint) or _signer(certificate.parsed, self.held)
        if found is None:
            raise CertificateError("certificate_issuer")
        if len(self._signers) >= REMEMBERED:
            self._signers.clear()
        self._signers[certificate.fingerprint] = found
        return found

    def above(self, authority: x509.Certificate) -> Chain:
        """The chain from this authority upwards, as far as it is known here: each with the one that has signed it."""
        found = self._chains.get(authority)
        if found is None:
            found = self._chains[authority] = tuple(self._above(authority))
        return found

    def _above(self, authority: x509.Certificate) -> Iterator[tuple[x509.Certificate, x509.Certificate]]:
        seen = {authority}
        while authority.issuer != authority.subject:
            signer = _signer(authority, self.held)
            if signer is None or signer in seen:
                return
            yield authority, signer
            seen.add(signer)
            authority = signer


def load(*paths: str) -> Authorities:
    """Those in the bundles at these paths. Raises `SettingsError` naming the file."""
    found = Authorities(())
    for path in paths:
        try:
            found += Authorities.of(Path(path).read_bytes())
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except AuthoritiesError as error:
            raise SettingsError(f"{path}: {error}") from error
    return found


def _signer(one: x509.Certificate, candidates: Iterable[x509.Certificate]) -> x509.Certificate | None:
    for candidate in candidates:
        if candidate.subject == one.issuer:
            try:
                one.verify_directly_issued_by(candidate)
            except (InvalidSignature, *MALFORMED):  # another key of the same name; a key or hash we do not take
                continue
            return candidate
    return None


def _is_authority(one: x509.Certificate) -> bool:
    try:
        return bool(one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False
