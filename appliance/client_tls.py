"""TLS to a server elsewhere, checked strictly: its certificate must be of a believed authority and for its name."""

import ssl
from typing import Literal, Protocol

TlsVersion = Literal["1.2", "1.3"]

CIPHERS = "ECDHE+AESGCM"  # what SP 800-52 leaves for TLS 1.2, and what the FIPS provider has
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Server(Protocol):
    """What settings say of a server."""

    @property
    def trust(self) -> str:
        """The file of the authorities that are believed for it (PEM)."""

    @property
    def minimum(self) -> TlsVersion:
        """The lowest version of TLS."""

    @property
    def maximum(self) -> TlsVersion:
        """The highest."""


def client_context(server: Server, error: type[Exception]) -> ssl.SSLContext:
    """The context of connections to `server`. Raises the caller's own `error` with words where the authorities cannot be used."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=server.trust)
    except OSError as problem:
        words = f"the trust anchors in {server.trust} cannot be used: {problem.strerror or problem}"
        raise error(words) from problem
    context.minimum_version, context.maximum_version = _VERSIONS[server.minimum], _VERSIONS[server.maximum]
    context.set_ciphers(CIPHERS)
    return context
