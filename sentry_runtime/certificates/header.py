"""What a front end that has checked a device's certificate puts into a header: the certificate, or its subject.

Three forms, one per site; which it is is never guessed:

- `certificate`: base64 DER (HAProxy's `%[ssl_c_der,base64]`), the same between colons (RFC 9440 `Client-Cert`), or PEM whose
  line ends are gone, blanks, or the whole percent-encoded (nginx's `$ssl_client_escaped_cert`).
- `subject`: its name as RFC 2253 or 4514 writes it (nginx's `$ssl_client_s_dn`). OpenSSL's old form with slashes is refused:
  a slash in a name cannot be told from one between two.
- `xfcc`: Envoy's `X-Forwarded-Client-Cert`. Of several elements the last counts, which is the nearest proxy's; its `Cert`, or
  without one its `Subject`.
"""

import base64
import binascii
import re
from typing import Literal
from urllib.parse import unquote_to_bytes

from cryptography import x509

from sentry_runtime.certificates.certificate import (
    Certificate,
    CertificateError,
    Field,
    common_names,
    read,
)
from sentry_runtime.certificates.holder import NAME_ATTRIBUTES

Form = Literal["certificate", "subject", "xfcc"]
Subject = dict[Field, tuple[str, ...]]

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_BLANKS = re.compile(rb"\s+")
_PAIR = re.compile(r'(?P<key>[A-Za-z]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^",;]*))(?P<end>[,;]|$)')
_ESCAPED = re.compile(r"\\(.)")


def presented(value: bytes, form: Form) -> Certificate | Subject:
    """The certificate in a header's value, or the names in its subject. Raises `CertificateError`."""
    match form:
        case "certificate":
            return _certificate(value)
        case "subject":
            return _subject(_text(value))
        case "xfcc":
            return _forwarded(_text(value))


def _certificate(value: bytes) -> Certificate:
    if b"%" in value:
        value = unquote_to_bytes(value)
    pem = _PEM.fullmatch(value)
    if pem is not None:
        value = pem[1]
    elif len(value) > 1 and value.startswith(b":") and value.endswith(b":"):
        value = value[1:-1]
    try:
        return read(base64.b64decode(_BLANKS.sub(b"", value), validate=True))
    except binascii.Error:
        raise CertificateError("certificate_header_malformed") from None


def _subject(text: str) -> Subject:
    try:
        found = x509.Name.from_rfc4514_string(text, NAME_ATTRIBUTES)
    except ValueError:
        raise CertificateError("certificate_header_malformed") from None
    if not found.rdns:
        raise CertificateError("certificate_header_malformed")
    return {"common_name": common_names(found)}


def _forwarded(text: str) -> Certificate | Subject:
    last = _last_element(text)
    if "cert" in last:
        return _certificate(last["cert"].encode())  # what is not ASCII is no base64
    if "subject" in last:
        return _subject(last["subject"])
    raise CertificateError("certificate_header_malformed")


def _last_element(text: str) -> dict[str, str]:
    """The keys and values of the last element; every element has to be well-formed, and no key but URI and DNS doubled."""
    element: dict[str, str] = {}
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise CertificateError("certificate_header_malformed")
        at = pair.end()
        key = pair["key"].lower()
        if key in element and key not in ("uri", "dns"):
            raise CertificateError("certificate_header_malformed")
        element[key] = pair["plain"] if pair["quoted"] is None else _ESCAPED.sub(r"\1", pair["quoted"])
        if pair["end"] == ",":
            element = {}
            text = text[at:].lstrip(" ")
            at = 0
    return element


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CertificateError("certificate_header_malformed") from None
