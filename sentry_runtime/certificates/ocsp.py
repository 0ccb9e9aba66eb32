"""OCSP (RFC 6960, RFC 5019): the question about one certificate, and what a responder's answer is worth."""

from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sentry_runtime.certificates.certificate import MALFORMED

RESPONSE_BYTES = 65_536  # an answer with the responder's certificates has two or three thousand
NONCE_BYTES = 16  # RFC 8954 2.1 wants 1 to 32; every responder takes 16
SLACK_SECONDS = 300.0  # between a responder's clock and ours

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class OcspError(ValueError):
    """An answer that proves nothing; the message says why, in words."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what the answer to it is known by."""

    data: bytes
    nonce: bytes
    certificate: x509.Certificate
    issuer: x509.Certificate


@dataclass(frozen=True, slots=True)
class Answer:
    """What the authority says of a certificate; times in seconds since the epoch. `ends` None: it may change at any time."""

    status: Literal["good", "revoked", "unknown"]
    made: float
    ends: float | None


def question(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes) -> Question:
    """The request about `certificate`.

    It names the certificate by SHA-1, as RFC 5019 2.1.1 has it and many responders alone know it: that is a name, no signature.
    """
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - see above
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return Question(request.public_bytes(Encoding.DER), nonce, certificate, issuer)


def read(data: bytes, asked: Question, now: float) -> Answer:
    """Read the answer to `asked`. Raises `OcspError` unless it is about this certificate, signed by its authority or by who
    that has named for it, and of now."""
    if len(data) > RESPONSE_BYTES:
        raise OcspError(f"more than {RESPONSE_BYTES} bytes")
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspError(f"the responder says {response.response_status.name.lower()}")
        _check_signature(response, asked.issuer, now)
        _check_nonce(response, asked.nonce)
        return _answer(_about(response, asked), now)
    except OcspError:
        raise
    except MALFORMED as error:
        raise OcspError(f"not an OCSP response: {error}") from None


def _about(response: ocsp.OCSPResponse, asked: Question) -> ocsp.OCSPSingleResponse:
    wanted = ocsp.load_der_ocsp_request(asked.data)
    for one in response.responses:
        same_issuer = (one.issuer_name_hash, one.issuer_key_hash) == (wanted.issuer_name_hash, wanted.issuer_key_hash)
        if one.serial_number == wanted.serial_number and same_issuer:
            return one
    raise OcspError("it is about another certificate")


def _answer(one: ocsp.OCSPSingleResponse, now: float) -> Answer:
    made = one.this_update_utc.timestamp()
    ends = None if one.next_update_utc is None else one.next_update_utc.timestamp()
    if made > now + SLACK_SECONDS:
        raise OcspError("it is of a time that has not come yet")
    if ends is not None and ends < now:
        raise OcspError("it does not hold any more (nextUpdate)")
    status: Literal["good", "revoked", "unknown"] = "unknown"
    if one.certificate_status is ocsp.OCSPCertStatus.GOOD:
        status = "good"
    elif one.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        status = "revoked"
    return Answer(status, made, ends)


def _check_nonce(response: ocsp.OCSPResponse, nonce: bytes) -> None:
    """An answer made in advance has none (RFC 5019 4); one with another nonce was made for somebody else's question."""
    try:
        found = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return
    if found != nonce:
        raise OcspError("it answers another question (nonce)")


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> None:
    signer = _signer(response, issuer, now)
    key, made_with = signer.public_key(), response.signature_hash_algorithm
    if not isinstance(made_with, _HASHES):
        raise OcspError("it is signed with a hash that is not taken; SHA-256, SHA-384 and SHA-512 are")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(made_with))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), made_with)
        else:
            raise OcspError("it is signed by a kind of key that is not taken; ECDSA and RSA are")
    except InvalidSignature:
        raise OcspError("its signature is wrong") from None


def _signer(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> x509.Certificate:
    """Who has signed: the authority itself, or one with a certificate of it that says so (RFC 6960 4.2.2.2)."""
    if _is(response, issuer):
        return issuer
    for one in response.certificates:
        if _is(response, one) and _may_answer(one, issuer, now):
            return one
    raise OcspError("it is signed by nobody who may answer for this authority")


def _is(response: ocsp.OCSPResponse, one: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return one.subject == response.responder_name
    return response.responder_key_hash == _key_hash(one)


def _key_hash(one: x509.Certificate) -> bytes:
    """RFC 6960 4.2.1: SHA-1 of the public key's bits, as a name."""
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        bits = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        return b""
    digest = hashes.Hash(hashes.SHA1())  # noqa: S303 - a name, no signature
    digest.update(bits)
    return digest.finalize()


def _may_answer(one: x509.Certificate, issuer: x509.Certificate, now: float) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
        usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, x509.ExtensionNotFound, *MALFORMED):
        return False
    in_time = one.not_valid_before_utc.timestamp() <= now <= one.not_valid_after_utc.timestamp()
    return in_time and ExtendedKeyUsageOID.OCSP_SIGNING in usage
