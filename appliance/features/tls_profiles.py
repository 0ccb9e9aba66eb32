"""What is spoken by TLS: one profile for each of the four kinds of connections, which an auditor looks at one by one (V-251013).

Where a profile ends up: `incoming` at the gateway's listeners, `outgoing` at its backends, `uem` on the link to the UEM (and
in the UEM in the box), `management` at the portal (8443) and where a UEM pushes (9090).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from appliance.features import certificates, tls, values
from appliance.features.base import Feature, Problem, Tree
from appliance.features.tls import Connection
from appliance.features.values import Rules
from sentry_runtime.settings import SUITES

CONNECTIONS: tuple[Connection, ...] = get_args(Connection)
SHOWN_BY: Mapping[str, Connection] = {"gateway": "incoming", "portal": "management", "uem_push": "management"}
"""Which profile the certificate of a service is shown with."""


def verify(tree: Tree) -> Iterable[Problem]:
    """Versions in order, and of TLS 1.2 a suite for the kind of key that the service's certificate has: without it nobody
    could connect any more."""
    for connection in CONNECTIONS:
        yield from tls.verify(f"tls.{connection}", tree["tls"][connection])
    for service, connection in SHOWN_BY.items():
        yield from _verify_suites(service, connection, tree)


def _verify_suites(service: str, connection: Connection, tree: Tree) -> Iterator[Problem]:
    held = tls.profile(tree, connection)
    kinds = certificates.key_kinds(tree, service)
    for kind in sorted({"RSA" if one.startswith("rsa") else "ECDSA" for one in kinds}):
        if held.minimum == "1.2" and not any(f"-{kind}-" in suite for suite in held.suites):
            allowed = f"one with {kind} among them: the certificate of {service.replace('_', '-')} has such a key"
            yield Problem(f"tls.{connection}.ciphers", ", ".join(held.suites), allowed)


def _profile(label: str, text: str) -> Rules:
    ciphers = values.several(
        {"type": "string", "allowed": list(SUITES)},
        "Cipher suites",
        "Of TLS 1.2, in the order in which they are preferred; those of TLS 1.3 are AES-GCM and not chosen here.",
        least=1,
        most=len(SUITES),
        default=list(SUITES),
    )
    return {**values.group(label, text, **tls.RANGE, ciphers=ciphers), "default": {}}


FEATURE = Feature(
    name="tls",
    label="TLS",
    default={},
    schema=values.group(
        "TLS",
        "What is spoken on each kind of connection. TLS 1.2 and nothing else is what V-251013 wants.",
        incoming=_profile("Incoming", "Devices' connections to the gateway."),
        outgoing=_profile(
            "Outgoing", "The gateway's connections to backends, except those with `tls_versions` of their own."
        ),
        uem=_profile("UEM", "The connections to the UEM, and to the one in the box."),
        management=_profile("Management", "Connections to the portal (8443) and of the UEM to us (9090)."),
    ),
    verify=verify,
)
