"""TLS as features share it: how a connection's profile is asked for, and where keys and certificates lie."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from appliance.features import values
from appliance.features.base import Problem, Tree
from sentry_runtime.settings import Suite, TlsVersion

FOLDER = "/var/lib/sentry/tls"
AUTHORITY = f"{FOLDER}/ca.pem"

Connection = Literal["incoming", "outgoing", "uem", "management"]
"""The kinds of connections that have a profile: devices', to backends, to the UEM, and administrators' and the UEM's to us."""

# TLS 1.2 only is what V-251013 says; `minimum` and `maximum` are there for sites that are not bound to it.
RANGE = {
    "minimum": values.described(values.TLS_VERSION_KIND, "Oldest", "Oldest TLS version.", default="1.2"),
    "maximum": values.described(
        values.TLS_VERSION_KIND, "Newest", "Newest TLS version. V-251013 wants 1.2 and no other.", default="1.2"
    ),
}

VERSIONS = values.group("TLS", "The TLS versions spoken.", **RANGE)
"""For what has no profile of its own: mail and log servers."""


class Profile(NamedTuple):
    """What is spoken on one kind of connection."""

    minimum: TlsVersion
    maximum: TlsVersion
    suites: tuple[Suite, ...]


def profile(tree: Tree, connection: Connection) -> Profile:
    """The profile of a kind of connection (`appliance.features.tls_profiles` has the settings)."""
    held = tree["tls"][connection]
    return Profile(held["minimum"], held["maximum"], tuple(held["ciphers"]))


def certificate_path(service: str) -> str:
    """Where the certificate of `service` (a name of `appliance.pki.LEAVES`) lies."""
    return f"{FOLDER}/{service}/cert.pem"


def key_path(service: str) -> str:
    """Where its private key lies, readable by the service's group."""
    return f"{FOLDER}/{service}/key.pem"


def subject(service: str) -> str:
    """The subject of its certificate (RFC 4514), where it is one of loopback alone (`appliance.pki`)."""
    return f"CN={service},O=Sentry"


def verify(path: str, versions: Mapping[str, Any]) -> Iterator[Problem]:
    """The oldest version is not newer than the newest."""
    if versions["minimum"] > versions["maximum"]:
        yield Problem(f"{path}.minimum", versions["minimum"], f"at most {path}.maximum, which is {versions['maximum']}")
