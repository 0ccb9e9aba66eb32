"""The gateway on 443, and `/etc/sentry/runtime.json`: the data plane's one settings file, put together here from
`gateway`, `backends`, `principals` and `uem`.

One file for three processes costs a restart of the agent and the UEM when only the gateway's part changed: each is back
within a second, and devices that are known go on meanwhile, since the gateway reads the device list itself.
"""

import re
from collections.abc import Iterable, Mapping
from typing import get_args

import msgspec

from appliance import fleet_secret
from appliance.features import (
    backends,
    decision,
    device_certificates,
    interfaces,
    listeners,
    policy,
    principals,
    service_file,
    ssh,
    tls,
    uem,
    values,
)
from appliance.features.base import Feature, File, Flow, Problem, System, Tree, Unit
from appliance.features.tls import certificate_path, key_path
from sentry_runtime.settings import SETTINGS_PATH, Gateway, Limits, Protocol, Scheme, ServerTls, Settings

RUNTIME = str(SETTINGS_PATH)
GROUP = "sentry-runtime"
WORKERS = 64
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
USUAL_PORT = 443  # of https
DEFAULT = Limits()
FLEET_SECRET = "32 to 4096 letters, digits and signs, as `openssl rand -hex 32` prints them"  # noqa: S105 - words about it
_SECRET = re.compile(r"[!-~]{32,4096}")


def verify(tree: Tree) -> Iterable[Problem]:
    """Every zone the gateway answers in has an interface, and its ports are no other service's."""
    taken = {ssh.PORT: "SSH", uem.PORT: "the UEM", uem.PUSH_PORT: "the UEM's push"}
    for port, path in listeners.ports(tree).items():
        if port in taken:
            yield Problem(path, f"{port}, where {taken[port]} listens", "a port of its own")
    for place, zone in enumerate(tree["gateway"]["zones"]):
        if not interfaces.in_zone(tree, zone):
            yield Problem(f"gateway.zones.{place}", f"{zone}, which no interface carries", "zones of the interfaces")
    yield from listeners.verify(tree)
    yield from device_certificates.verify(tree)
    yield from decision.verify(tree)
    yield from policy.verify("gateway.policy", tree["gateway"].get("policy", {}))


def settings(tree: Tree) -> Settings:
    """The data plane's settings. Decoded from what will be written, so that a value of a wrong type is seen here."""
    gateway, incoming = tree["gateway"], tls.profile(tree, "incoming")
    whole = Settings(
        gateway=Gateway(
            listeners=listeners.listeners(tree),
            tls=ServerTls(
                certificate=certificate_path("gateway"),
                key=key_path("gateway"),
                **incoming._asdict(),
            ),
            backends=backends.settings(tree),
            workers=gateway["workers"],
            external_host=_external_host(tree),
            authentication=tuple(gateway["authentication"]),
            pooled_connections=gateway["pooled_connections"],
            newest_protocol=gateway["newest_protocol"],
            limits=Limits(**gateway["limits"]),
            device_authentication=device_certificates.authentication(tree),
            rules=decision.rules(tree),
            observe=decision.observe(tree),
            throttle=decision.throttle(tree),
            block_notice=gateway["block_notice"],
            # A group without a setting is one that all settings were taken out of again.
            policy=policy.made(gateway["policy"]) if gateway.get("policy") else None,
            fleet_secret=fleet_secret.path(tree),
            non_provisionable=gateway["non_provisionable"],
            routing=backends.routing(tree),
        ),
        agent=uem.agent(tree),
        uem_server=uem.server(tree),
        principals=principals.settings(tree),
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def _external_host(tree: Tree) -> str:
    """The appliance's own name, which its certificate says, with the port where clients would not guess it."""
    name, port = tree["hostname"], tree["gateway"]["port"]
    return str(name) if port == USUAL_PORT else f"{name}:{port}"


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, indented for people, with a line end; and the files that it names."""
    return {RUNTIME: service_file.readable_by(GROUP, settings(tree)), **device_certificates.render(tree)}


def reconcile(tree: Tree, system: System) -> bool:
    """The secret of the policy keys is there before a gateway looks for it."""
    return fleet_secret.ensure(tree, system)


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The ways in, and the agent's ways to what devices' certificates are judged by."""
    return (*listeners.flows(tree), *device_certificates.flows(tree))


LIMITS = values.group(
    "Limits",
    "Bounds of one request and one connection.",
    head_bytes=values.number(
        "Head (bytes)", "Longest head of a request.", low=4_096, high=65_536, default=DEFAULT.head_bytes
    ),
    head_seconds=values.number(
        "Head (seconds)", "How long a head may take.", low=1, high=120, default=int(DEFAULT.head_seconds)
    ),
    idle_seconds=values.number(
        "Idle (seconds)",
        "How long a connection may be silent; longer than a Ping's heartbeat.",
        low=60,
        high=7_200,
        default=int(DEFAULT.idle_seconds),
    ),
    backend_connect_seconds=values.number(
        "Backend (seconds)",
        "How long a backend may take to answer a dial.",
        low=1,
        high=60,
        default=int(DEFAULT.backend_connect_seconds),
    ),
    drain_seconds=values.number(
        "Drain (seconds)",
        "How long a stop lets running requests finish.",
        low=0,
        high=120,
        default=int(DEFAULT.drain_seconds),
    ),
    connections_per_worker=values.number(
        "Connections", "Of one worker.", low=100, high=100_000, default=DEFAULT.connections_per_worker
    ),
    connections_per_source=values.number(
        "Connections of one source",
        "Of one address (IPv6: /64) and worker; listed balancers have no such bound.",
        low=10,
        high=100_000,
        default=DEFAULT.connections_per_source,
    ),
    logons_refused_per_source=values.number(
        "Refused log-ons of one source",
        "How many a backend may refuse to one address (IPv6: /64) and worker before it rests; 0: any number.",
        low=0,
        high=10_000,
        default=DEFAULT.logons_refused_per_source,
    ),
    logons_refused_per_principal=values.number(
        "Refused log-ons of one user",
        "The same for one name; below the number at which the directory locks an account. 0: any number.",
        low=0,
        high=1_000,
        default=DEFAULT.logons_refused_per_principal,
    ),
    logon_rest_seconds=values.number(
        "Rest (seconds)",
        "How long the first rest is; each further one is twice as long.",
        low=1,
        high=3_600,
        default=int(DEFAULT.logon_rest_seconds),
    ),
    logon_rest_seconds_max=values.number(
        "Longest rest (seconds)",
        "No rest is longer.",
        low=1,
        high=86_400,
        default=int(DEFAULT.logon_rest_seconds_max),
    ),
)

FEATURE = Feature(
    name="gateway",
    label="Gateway",
    default={},
    schema=values.group(
        "Gateway",
        "Where devices connect.",
        zones=values.several(
            {"type": "string", "allowed": list(interfaces.ZONES)},
            "Zones",
            "In which zones it answers.",
            least=1,
            most=len(interfaces.ZONES),
            default=["device"],
        ),
        port=values.described(values.PORT_KIND, "Port", "Where it listens.", default=443),
        workers=values.number("Workers", "Worker processes; 0: one for each core.", low=0, high=WORKERS, default=0),
        authentication=values.several(
            {"type": "string", "allowed": list(SCHEMES)},
            "Authentication",
            "How phones may log on, in the order in which they are offered it; what the mail servers do not take is of no"
            " use here. ntlm and negotiate (with NTLM, not with Kerberos) log a connection on.",
            least=1,
            most=len(SCHEMES),
            default=["basic"],
        ),
        pooled_connections=values.switch(
            "Pooled connections",
            "Whether a balancer of which nothing else is said here puts requests of several phones on one connection. Then"
            " no request goes by an earlier log-on of its connection (ntlm, negotiate): each logs on.",
            default=False,
        ),
        newest_protocol=values.described(
            {"type": "string", "coerce": values.version_text, "allowed": list(PROTOCOLS)},
            "Newest protocol",
            "The newest version of ActiveSync that phones are offered.",
            default="16.1",
        ),
        require_client_tls=listeners.REQUIRE_CLIENT_TLS,
        **listeners.PLAIN,
        listeners=listeners.LISTENERS,
        balancers={**listeners.BALANCERS, "default": {}},
        device_authentication={**device_certificates.AUTHENTICATION, "default": {}},
        limits={**LIMITS, "default": {}},
        **decision.FIELDS,
        policy=policy.group(
            "Policy",
            "What every device must apply that the UEM wants no policy on. Without a setting in it, provisioning such a "
            "device is the backend's business. A policy that restricts nothing is `device_password_enabled: false`.",
        ),
        fleet_secret=values.described(
            values.text_kind(_SECRET.fullmatch, FLEET_SECRET, secret=True),
            "Fleet secret",
            "What policy keys are made with; the same on all gateways that serve the same devices. Without it: one of this "
            "appliance's own. With another one all devices provision anew.",
        ),
        non_provisionable=values.described(
            {"type": "string", "allowed": ["allow", "block"]},
            "Non-provisionable devices",
            "What becomes of a device that cannot apply all of its policy, or that sends no policy key at all.",
            default="block",
        ),
    ),
    verify=verify,
    on_machine=decision.on_machine,
    render=render,
    reconcile=reconcile,
    flows=flows,
    units=(
        Unit("sentry-uem.service", "restart", (RUNTIME,)),
        Unit("sentry-agent.service", "restart", (RUNTIME, f"{device_certificates.FOLDER}/*.pem")),
        Unit(
            "sentry-gateway.service",
            "reload",
            (RUNTIME, f"{backends.TRUST}/*.pem", f"{device_certificates.FOLDER}/*.pem"),
        ),
    ),
)
