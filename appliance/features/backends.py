"""The ActiveSync servers behind the gateway, and whose certificates are believed there."""

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.features import dns, interfaces, tls, values
from appliance.features.base import Feature, File, Flow, Problem, Tree
from sentry_runtime.settings import Backend, ClientTls

SERVERS = 32
TRUST = "/var/lib/sentry/tls/trust"
USER = "sentry-gateway"
SERVER_NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter or digit"
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"


def _is_name(text: str) -> bool:
    plain = text.replace("-", "a").replace("_", "a")
    return 0 < len(text) <= 32 and text[0].isalnum() and plain.isalnum() and plain.isascii() and text == text.lower()


def trust_path(name: str) -> str:
    """Where the certificates that are believed for backend `name` lie."""
    return f"{TRUST}/{name}.pem"


def verify(tree: Tree) -> Iterable[Problem]:
    """A backend's certificate is always checked, against a name, and there is a zone to reach the backend in."""
    servers = tree["backends"]["servers"]
    for name, server in sorted(servers.items()):
        path = f"backends.servers.{name}"
        if not server["tls"] and ("ca_certificates" in server or "server_name" in server):
            yield Problem(
                f"{path}.tls", "false together with server_name or ca_certificates", "true, or neither of the two"
            )
        yield from tls.verify(f"{path}.tls_versions", server["tls_versions"])
    if servers and not interfaces.in_zone(tree, "backend"):
        yield Problem("interfaces", "no interface with zone backend", "at least one, because there are backends")


def render(tree: Tree) -> Mapping[str, File]:
    """One bundle of trust anchors for each backend that has its own."""
    servers = tree["backends"]["servers"]
    return {
        trust_path(name): File(server["ca_certificates"])
        for name, server in servers.items()
        if server["tls"] and "ca_certificates" in server
    }


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The gateway's account to each backend. A name that `dns.static_hosts` does not know may be anybody in the zone."""
    return tuple(
        Flow("backends", "out", "tcp", server["port"], "backend", dns.addresses_of(tree, server["host"]), USER)
        for server in tree["backends"]["servers"].values()
    )


def settings(tree: Tree) -> tuple[Backend, ...]:
    """The backends as the data plane's settings name them."""
    return tuple(_backend(name, server) for name, server in sorted(tree["backends"]["servers"].items()))


def _backend(name: str, server: Mapping[str, Any]) -> Backend:
    client = None
    if server["tls"]:
        client = ClientTls(
            trust=trust_path(name) if "ca_certificates" in server else SYSTEM_TRUST,
            minimum=server["tls_versions"]["minimum"],
            maximum=server["tls_versions"]["maximum"],
        )
    server_name = server.get("server_name", server["host"]) if server["tls"] else None
    return Backend(name=name, host=server["host"], port=server["port"], server_name=server_name, tls=client)


SERVER = values.group(
    "Backend",
    "One ActiveSync server.",
    host=values.described(values.HOST_KIND, "Host", "Its address or name; what the gateway dials.", required=True),
    port=values.described(values.PORT_KIND, "Port", "Where it listens.", default=443),
    tls=values.switch("TLS", "Off: plain HTTP, for a backend on the same protected network only.", default=True),
    tls_versions={**tls.VERSIONS, "default": {}},
    server_name=values.described(
        values.HOST_KIND, "Server name", "The name in its certificate, if that is not `host`."
    ),
    ca_certificates=values.described(
        values.PEM_KIND,
        "CA certificates",
        "PEM of the authorities believed for this backend. Without it: the system's.",
    ),
)

FEATURE = Feature(
    name="backends",
    label="Backends",
    schema=values.group(
        "Backends",
        "What stands behind the gateway.",
        servers=values.named(
            {
                "type": "string",
                "check_with": values.check(_is_name, SERVER_NAME),
                "meta": {"allowed": SERVER_NAME},
            },
            SERVER,
            "Servers",
            "By a name of your own.",
            least=1,
            most=SERVERS,
            required=True,
        ),
    ),
    verify=verify,
    render=render,
    flows=flows,
)
