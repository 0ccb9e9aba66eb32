"""What TLS is spoken with on 8443, as an OpenSSL context.

It is pyOpenSSL's and not Python's `ssl`, which can neither send the names of the authorities that a client may show a
certificate of, nor turn resumption off. Nothing here takes a callback: those of cffi need memory that is writable and executable,
which the unit forbids.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from appliance.settings_file import SettingsError
from appliance.tls_proxy.settings import Tls
from appliance.tls_proxy.tls_server import words

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_SESSION_ID = b"sentry-tls-proxy"
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL has no name for


def server_context(tls: Tls) -> SSL.Context:
    """The context for new connections. Raises `SettingsError` naming the files that cannot be used."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[tls.minimum])
    context.set_max_proto_version(_VERSIONS[tls.maximum])
    context.set_cipher_list(":".join(tls.suites).encode())
    # A session that is taken up again would bring the certificate of an earlier handshake, without the card.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)  # the order of `suites` is the site's
    context.set_session_id(_SESSION_ID)
    try:
        context.use_certificate_chain_file(tls.certificate)
        context.use_privatekey(_key(tls.key))
        context.check_privatekey()
    except (SSL.Error, crypto.Error, OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"certificate {tls.certificate} with key {tls.key}: {words(error)}") from error
    if tls.client_authorities is not None:
        _ask(context, tls.client_authorities)
    return context


def _key(path: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """The private key in a file (PEM). One with a password is an error: nobody is there to type it."""
    key = load_pem_private_key(Path(path).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("a key that is neither EC nor RSA")
    return key


def _ask(context: SSL.Context, authorities: str) -> None:
    """Have clients asked for a certificate, and who shows one prove to hold its key (RFC 5246 7.4.8, RFC 8446 4.4.3).

    A chain to the authorities and the purpose are looked at in the handshake already, which keeps strangers' certificates from
    configd. One that has ended passes here: configd judges everything, and says so in words that a page can show.
    """
    try:
        context.load_client_ca(authorities.encode())
        context.load_verify_locations(authorities)
    except (SSL.Error, crypto.Error) as error:
        raise SettingsError(f"authorities {authorities}: {words(error)}") from error
    store = context.get_cert_store()
    assert store is not None  # noqa: S101 - every context has one
    store.set_flags(_NO_CHECK_TIME)
    context.set_verify(SSL.VERIFY_PEER)
