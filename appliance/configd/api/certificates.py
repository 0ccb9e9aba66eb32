"""Certificates of the services: requested, uploaded, made anew."""

from typing import Annotated, Literal

import msgspec

from appliance.configd.api.words import Secret, SessionVerb, Word

Certificates = Annotated[str, msgspec.Meta(max_length=131_072)]
"""PEM, or PKCS12 in base64: twice what is taken, so that what is a little too long is told so by who takes it."""
Served = Literal["gateway", "portal", "uem-push"]
"""The services whose certificate may be the site's: 443, 8443, and 9090 for a UEM on another machine."""


class RequestCertificate(SessionVerb, frozen=True, kw_only=True, tag="certificate.request"):
    """Make a key, which stays here, and a request (PKCS #10) to have it certified, with the candidate's names. Result: Text."""

    service: Served


class UploadCertificate(SessionVerb, frozen=True, kw_only=True, tag="certificate.upload"):
    """Put a certificate with the authorities above it (PEM), whose key was made here, into the candidate: as the first one, or
    as the second, which takes over when the first ends or at `moment` (2026-01-31T18:00Z). Result: Text."""

    service: Served
    certificate: Certificates
    second: bool = False
    moment: Word = ""


class UploadPkcs12(SessionVerb, frozen=True, kw_only=True, tag="certificate.upload_pkcs12"):
    """The same for a PKCS12 file (base64), which holds the key too. Result: Text."""

    service: Served
    pkcs12: Certificates
    password: Secret
    second: bool = False
    moment: Word = ""


class RenewCertificate(SessionVerb, frozen=True, kw_only=True, tag="certificate.renew"):
    """Make a certificate of the appliance's own anew now, or order one from the ACME server where it comes from there; `client`
    is the one shown to the UEM. Result: Text."""

    service: Literal["gateway", "portal", "uem-push", "client"]
