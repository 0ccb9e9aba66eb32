"""The gateway on 443, and `/etc/sentry/runtime.json`: the data plane's one settings file, put together here from
`gateway`, `backends` and `uem`.

One file for three processes costs a restart of the agent and the UEM when only the gateway's part changed: each is back
within a second, and devices that are known go on meanwhile, since the gateway reads the device list itself.
"""

from collections.abc import Iterable, Mapping

import msgspec

from appliance.features import backends, interfaces, ssh, tls, uem, values
from appliance.features.base import Feature, File, Flow, Problem, Tree, Unit
from appliance.features.tls import certificate_path, key_path
from sentry_runtime.settings import SETTINGS_PATH, Gateway, Limits, Listener, ServerTls, Settings

RUNTIME = str(SETTINGS_PATH)
GROUP = "sentry-runtime"
WORKERS = 64
USUAL_PORT = 443  # of https
DEFAULT = Limits()


def verify(tree: Tree) -> Iterable[Problem]:
    """Every zone the gateway answers in has an interface, and its port is no other service's."""
    taken = {ssh.PORT: "SSH", uem.PORT: "the UEM", uem.PUSH_PORT: "the UEM's push"}
    port = tree["gateway"]["port"]
    if port in taken:
        yield Problem("gateway.port", f"{port}, where {taken[port]} listens", "a port of its own")
    for place, zone in enumerate(tree["gateway"]["zones"]):
        if not interfaces.in_zone(tree, zone):
            yield Problem(f"gateway.zones.{place}", f"{zone}, which no interface carries", "zones of the interfaces")
    yield from tls.verify("gateway.tls", tree["gateway"]["tls"])


def settings(tree: Tree) -> Settings:
    """The data plane's settings. Decoded from what will be written, so that a value of a wrong type is seen here."""
    gateway = tree["gateway"]
    addresses = interfaces.listen_addresses(tree, gateway["zones"])
    whole = Settings(
        gateway=Gateway(
            listeners=tuple(Listener(address=address, port=gateway["port"]) for address in addresses),
            tls=ServerTls(
                certificate=certificate_path("gateway"),
                key=key_path("gateway"),
                minimum=gateway["tls"]["minimum"],
                maximum=gateway["tls"]["maximum"],
            ),
            backends=backends.settings(tree),
            workers=gateway["workers"],
            external_host=_external_host(tree),
            limits=Limits(**gateway["limits"]),
            routing=backends.routing(tree),
        ),
        agent=uem.agent(tree),
        uem_server=uem.server(tree),
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def _external_host(tree: Tree) -> str:
    """The appliance's own name, which its certificate says, with the port where clients would not guess it."""
    name, port = tree["hostname"], tree["gateway"]["port"]
    return str(name) if port == USUAL_PORT else f"{name}:{port}"


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, indented for people, with a line end."""
    text = msgspec.json.format(msgspec.json.encode(settings(tree)), indent=2).decode()
    return {RUNTIME: File(f"{text}\n", mode=0o640, group=GROUP)}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The devices' way in, in each of the gateway's zones."""
    peers = tuple(tree["firewall"]["device_networks"])
    gateway = tree["gateway"]
    return tuple(
        Flow("gateway", "in", "tcp", gateway["port"], zone, peers if zone == "device" else ())
        for zone in gateway["zones"]
    )


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
        tls={**tls.VERSIONS, "default": {}},
        limits={**LIMITS, "default": {}},
    ),
    verify=verify,
    render=render,
    flows=flows,
    units=(
        Unit("sentry-uem.service", "restart", (RUNTIME,)),
        Unit("sentry-agent.service", "restart", (RUNTIME,)),
        Unit("sentry-gateway.service", "reload", (RUNTIME, f"{backends.TRUST}/*.pem")),
    ),
)
