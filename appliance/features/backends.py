"""The ActiveSync servers behind the gateway: who is served by which, how they are watched, whose certificates are believed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.features import dns, interfaces, tls, values
from appliance.features.base import Feature, File, Flow, Problem, Tree
from sentry_runtime.settings import (
    ActiveHealth,
    Backend,
    ClientTls,
    PassiveHealth,
    Redirects,
    Routing,
    default_servers,
)

SERVERS = 32
TRUST = "/var/lib/sentry/tls/trust"
USER = "sentry-gateway"
SERVER_NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter or digit"
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
DOMAINS = 256
REDIRECT_HOSTS = 64
REDIRECT_NETWORKS = 64
REDIRECT_HOST = "a lower-case DNS name, an address, or with a dot in front all names below one, such as .example.com"
USUAL_PORTS = {True: 443, False: 80}  # of a backend with TLS, and of one without
PASSIVE, ACTIVE = PassiveHealth(), ActiveHealth()


def _is_name(text: str) -> bool:
    plain = text.replace("-", "a").replace("_", "a")
    return 0 < len(text) <= 32 and text[0].isalnum() and plain.isalnum() and plain.isascii() and text == text.lower()


def _is_redirect_host(text: str) -> bool:
    return text == text.lower() and (values.is_host(text) or (text[:1] == "." and values.is_dns_name(text[1:])))


def trust_path(name: str) -> str:
    """Where the certificates that are believed for backend `name` lie."""
    return f"{TRUST}/{name}.pem"


def verify(tree: Tree) -> Iterable[Problem]:
    """A backend's certificate is looked at, against a name; there is a zone to reach the backend in, and a pool for everybody."""
    servers = tree["backends"]["servers"]
    for name, server in sorted(servers.items()):
        path = f"backends.servers.{name}"
        if not server["tls"] and ("ca_certificates" in server or "server_name" in server):
            yield Problem(
                f"{path}.tls", "false together with server_name or ca_certificates", "true, or neither of the two"
            )
        if not server["tls"] and server["verify"] != "strict":
            yield Problem(f"{path}.verify", f"{server['verify']} together with tls false", "strict, or tls true")
        if "tls_versions" in server:
            yield from tls.verify(f"{path}.tls_versions", server["tls_versions"])
    yield from _verify_pools(tree["backends"])
    yield from _verify_domains(tree["backends"]["domains"], tree["principals"]["domains"])
    yield from _verify_redirects(tree["backends"])
    if servers and not interfaces.in_zone(tree, "backend"):
        yield Problem("interfaces", "no interface with zone backend", "at least one, because there are backends")


def _verify_pools(backends: Tree) -> Iterator[Problem]:
    servers = backends["servers"]
    named = {"backends.default": backends["default"]}
    seen: set[str] = set()
    for domain, names in sorted(backends["domains"].items()):
        named[f"backends.domains.{domain}"] = names
        if domain.lower() in seen:
            yield Problem(
                f"backends.domains.{domain}", "the same domain a second time", "every domain once, in either case"
            )
        seen.add(domain.lower())
    for path, names in named.items():
        for place, name in enumerate(names):
            if name not in servers:
                yield Problem(f"{path}.{place}", repr(name), f"names of backends.servers: {', '.join(sorted(servers))}")
    if not default_servers(backends["default"], backends["domains"], servers):
        yield Problem(
            "backends.default",
            "nothing, and every server is some domain's",
            "the servers for users of no listed domain, or a server that no domain names",
        )


def _verify_domains(pools: Mapping[str, Any], shorts: Mapping[str, str]) -> Iterator[Problem]:
    """Nobody's name ends in a NetBIOS domain that is known to be a DNS domain: such a pool would have no user."""
    known = {short.lower(): long for short, long in shorts.items()}
    for domain in sorted(pools):
        if domain.lower() in known:
            long = known[domain.lower()]
            yield Problem(
                f"backends.domains.{domain}", f"a NetBIOS domain, which principals.domains makes {long}", long
            )


def _verify_redirects(backends: Tree) -> Iterator[Problem]:
    if backends["redirect_hosts"] and not backends["redirect_networks"]:
        yield Problem(
            "backends.redirect_networks",
            "none, although redirect_hosts names somebody",
            "the networks in which these hosts are",
        )


def render(tree: Tree) -> Mapping[str, File]:
    """One bundle of trust anchors for each backend that has its own."""
    servers = tree["backends"]["servers"]
    return {
        trust_path(name): File(server["ca_certificates"])
        for name, server in servers.items()
        if server["tls"] and "ca_certificates" in server
    }


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The gateway's account to each backend, and to where these may redirect.

    A backend's name that `dns.static_hosts` does not know may be anybody in the zone. A redirection leads to the usual port of
    the scheme or to the redirecting backend's own, and always into the listed networks.
    """
    servers = tree["backends"]["servers"].values()
    listed = tuple(
        Flow("backends", "out", "tcp", server["port"], "backend", dns.addresses_of(tree, server["host"]), USER)
        for server in servers
    )
    if not tree["backends"]["redirect_hosts"]:
        return listed
    ports = sorted({port for server in servers for port in (USUAL_PORTS[server["tls"]], server["port"])})
    networks = tuple(tree["backends"]["redirect_networks"])
    return (*listed, *(Flow("backends", "out", "tcp", port, "backend", networks, USER) for port in ports))


def settings(tree: Tree) -> tuple[Backend, ...]:
    """The backends as the data plane's settings name them."""
    outgoing = tls.profile(tree, "outgoing")
    return tuple(_backend(name, server, outgoing) for name, server in sorted(tree["backends"]["servers"].items()))


def routing(tree: Tree) -> Routing:
    """Who is served by which backend and how they are watched, as the data plane's settings say it."""
    held = tree["backends"]
    active = held["active_health"]
    return Routing(
        scheduling=held["scheduling"],
        default=tuple(held["default"]),
        domains={domain.lower(): tuple(names) for domain, names in sorted(held["domains"].items())},
        passive=PassiveHealth(**held["passive_health"]),
        active=ActiveHealth(**{name: active[name] for name in active if name != "enabled"})
        if active["enabled"]
        else None,
        redirects=Redirects(hosts=tuple(held["redirect_hosts"]), networks=tuple(held["redirect_networks"])),
    )


def _backend(name: str, server: Mapping[str, Any], outgoing: tls.Profile) -> Backend:
    client = None
    if server["tls"]:
        spoken = outgoing._replace(**server.get("tls_versions", {}))
        client = ClientTls(trust=trust_path(name) if "ca_certificates" in server else SYSTEM_TRUST, **spoken._asdict())
    server_name = server.get("server_name", server["host"]) if server["tls"] else None
    return Backend(
        name=name,
        host=server["host"],
        port=server["port"],
        server_name=server_name,
        tls=client,
        verify=server["verify"],
        priority=server["priority"],
    )


SERVER = values.group(
    "Backend",
    "One ActiveSync server.",
    host=values.described(values.HOST_KIND, "Host", "Its address or name; what the gateway dials.", required=True),
    port=values.described(values.PORT_KIND, "Port", "Where it listens.", default=443),
    tls=values.switch("TLS", "Off: plain HTTP, for a backend on the same protected network only.", default=True),
    tls_versions=values.group(
        "TLS versions", "Of this server alone, which cannot do what `tls.outgoing` says.", **tls.RANGE
    ),
    server_name=values.described(
        values.HOST_KIND, "Server name", "The name in its certificate, if that is not `host`."
    ),
    ca_certificates=values.described(
        values.PEM_KIND,
        "CA certificates",
        "PEM of the authorities believed for this backend. Without it: the system's.",
    ),
    verify=values.described(
        {"type": "string", "allowed": ["strict", "log"]},
        "Verification",
        "strict: nothing is sent to a backend whose certificate does not hold. log: it is, and each such connection is audited.",
        default="strict",
    ),
    priority=values.number(
        "Priority", "With scheduling by priority the lowest number is used first.", low=1, high=100, default=10
    ),
)

SERVER_NAME_KIND = {
    "type": "string",
    "check_with": values.check(_is_name, SERVER_NAME),
    "meta": {"allowed": SERVER_NAME},
}
REDIRECT_HOST_KIND = values.text_kind(_is_redirect_host, REDIRECT_HOST)

POOL_SERVERS = f"1 to {SERVERS} names of backends.servers, each once"
_POOL = values.several(SERVER_NAME_KIND, "Servers of the domain", "Who serves its users.", least=1, most=SERVERS)
POOL = {**_POOL, "meta": {**_POOL["meta"], "allowed": POOL_SERVERS}}

PASSIVE_HEALTH = values.group(
    "Passive health",
    "What is seen of a backend in the work. It is passed over while another can serve, and never refused where none can.",
    failures=values.number(
        "Failures", "So many dials or answers that fail take it out of use.", low=1, high=100, default=PASSIVE.failures
    ),
    window_seconds=values.number(
        "Window (seconds)",
        "Within this time.",
        low=1,
        high=3_600,
        default=int(PASSIVE.window_seconds),
    ),
    dead_seconds=values.number(
        "Dead time (seconds)",
        "How long it stays out of use at least.",
        low=1,
        high=3_600,
        default=int(PASSIVE.dead_seconds),
    ),
)
ACTIVE_HEALTH = values.group(
    "Active health",
    "The gateway's own checks: an OPTIONS without credentials; 401 and 2xx are good answers.",
    enabled=values.switch("Enabled", "Off: a backend is looked at only when its dead time is over.", default=True),
    interval_seconds=values.number(
        "Interval (seconds)", "Of each worker's checks.", low=1, high=3_600, default=int(ACTIVE.interval_seconds)
    ),
    timeout_seconds=values.number(
        "Time-out (seconds)", "Of a check.", low=1, high=60, default=int(ACTIVE.timeout_seconds)
    ),
    rise=values.number("Rise", "So many good checks in a row bring it back.", low=1, high=20, default=ACTIVE.rise),
    fall=values.number("Fall", "So many bad ones take it out of use.", low=1, high=20, default=ACTIVE.fall),
)

FEATURE = Feature(
    name="backends",
    label="Backends",
    schema=values.group(
        "Backends",
        "What stands behind the gateway.",
        servers=values.named(
            SERVER_NAME_KIND,
            SERVER,
            "Servers",
            "By a name of your own.",
            least=1,
            most=SERVERS,
            required=True,
        ),
        scheduling=values.described(
            {"type": "string", "allowed": ["round_robin", "priority"]},
            "Scheduling",
            "round_robin: devices spread evenly, each keeps to its server. priority: the lowest number that is up serves.",
            default="round_robin",
        ),
        default=values.several(
            SERVER_NAME_KIND,
            "Default servers",
            "For users of no listed domain and, without a default domain, bare names. Empty: the servers that no domain names.",
            most=SERVERS,
            default=[],
        ),
        domains=values.named(
            values.NAME_KIND,
            POOL,
            "Mail domains",
            "The servers of users whose name ends in @ and this domain.",
            most=DOMAINS,
            default={},
        ),
        passive_health={**PASSIVE_HEALTH, "default": {}},
        active_health={**ACTIVE_HEALTH, "default": {}},
        redirect_hosts=values.several(
            REDIRECT_HOST_KIND,
            "Redirect hosts",
            "Where a server may send a device with 451; the gateway goes there, the device learns nothing. Empty: nowhere.",
            most=REDIRECT_HOSTS,
            default=[],
        ),
        redirect_networks=values.several(
            values.NETWORK_KIND,
            "Redirect networks",
            "In which these hosts' addresses must lie. Loopback, link-local and the appliance's own need a network of their own.",
            most=REDIRECT_NETWORKS,
            default=[],
        ),
    ),
    verify=verify,
    render=render,
    flows=flows,
)
