"""What a certificate calls its holder, in the one form in which settings name who may call."""

import functools

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

SUBJECT_CHARS = 400
_PARSED = 256  # certificates that are kept parsed: each caller has one or two


@functools.lru_cache(_PARSED)
def subject_of(certificate: bytes) -> str:
    """The subject (RFC 4514) of this certificate (DER), which is nobody's where it is "": of one that OpenSSL reads and we do
    not, and of one without a subject. What stands in its alternative names is not looked at."""
    try:
        return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return ""


def written(subject: str) -> str | None:
    """This subject as `subject_of` writes it; None for what is none. Another spelling of a name would match no certificate."""
    try:
        return x509.Name.from_rfc4514_string(subject).rfc4514_string() or None
    except ValueError:
        return None
