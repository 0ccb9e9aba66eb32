"""The TLS proxy's settings file, `/etc/sentry/tls-proxy.json`: rendered by configd, read at the start.

It holds no secret: the key is named by path. An unknown key is an error, so that a setting can never be silently without effect.
"""

import ipaddress
from pathlib import Path

import msgspec

from appliance.settings_file import read
from sentry_runtime.settings import SUITES, Suites, TlsVersion

SETTINGS_PATH = Path("/etc/sentry/tls-proxy.json")
PORTAL_SOCKET = "/run/sentry-portal/portal.sock"


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server side of 8443. Paths are absolute; `certificate` may hold a chain. With `client_authorities` (PEM) clients are
    asked for a certificate of these; without it for none."""

    certificate: str
    key: str
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.3"
    suites: Suites = SUITES
    client_authorities: str | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file: where it listens, with what, and the two sockets that it dials."""

    addresses: tuple[str, ...]
    port: int = 8443
    tls: Tls
    portal_socket: str = PORTAL_SOCKET
    configd_socket: str = "/run/sentry-configd/configd.sock"

    def __post_init__(self) -> None:
        """Refuse what no proxy can be run with; msgspec turns the ValueError into one that names the place."""
        if not self.addresses:
            raise ValueError("addresses: found none; allowed: at least one IP address")
        for address in self.addresses:
            ipaddress.ip_address(address)
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"port: found {self.port}; allowed: 1 to 65535")
        if self.tls.minimum > self.tls.maximum:
            raise ValueError(f"tls.minimum: found {self.tls.minimum}; allowed: at most tls.maximum, {self.tls.maximum}")


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
