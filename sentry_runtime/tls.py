"""TLS contexts from the settings. What they allow beyond that (curves, suites of TLS 1.3, FIPS) is OpenSSL's configuration."""

import ssl

from sentry_runtime.settings import ClientTls, ServerTls, SettingsError, TlsVersion

_VERSIONS: dict[TlsVersion, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """A listener's context. With `client_ca` a client without a certificate signed by it never gets past the handshake.

    Raises `SettingsError` naming the files when one cannot be read or the key does not belong to the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _bound(context, tls)
    _load_chain(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        load_trust(context, tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """A dialler's context: the peer's certificate and name are always checked, against `trust` alone.

    Raises `SettingsError` like `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _bound(context, tls)
    load_trust(context, tls.trust)
    if tls.certificate is not None and tls.key is not None:
        _load_chain(context, tls.certificate, tls.key)
    elif tls.certificate is not None or tls.key is not None:
        raise SettingsError(f"a client's certificate and key come together; found {tls.certificate} and {tls.key}")
    return context


def unverified_context(tls: ClientTls) -> ssl.SSLContext:
    """A dialler's context that takes any certificate: for a site that wants to reach a backend all the same, and to be told.

    Raises `SettingsError` like `client_context`.
    """
    context = client_context(tls)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bound(context: ssl.SSLContext, tls: ServerTls | ClientTls) -> None:
    if tls.minimum > tls.maximum:
        raise SettingsError(f"TLS versions from {tls.minimum} to {tls.maximum}: the lowest is above the highest")
    context.minimum_version = _VERSIONS[tls.minimum]
    context.maximum_version = _VERSIONS[tls.maximum]
    context.set_ciphers(":".join(tls.suites))


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # An encrypted key would make OpenSSL ask on the terminal: an empty password makes it an error instead.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"certificate {certificate} with key {key}: {error.strerror or error}") from error


def load_trust(context: ssl.SSLContext, bundle: str) -> None:
    """Believe the authorities in this PEM bundle, too. Raises `SettingsError`."""
    try:
        context.load_verify_locations(cafile=bundle)
    except OSError as error:
        raise SettingsError(f"trust anchors {bundle}: {error.strerror or error}") from error
