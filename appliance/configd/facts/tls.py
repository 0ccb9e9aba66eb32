"""Which TLS versions the appliance's own ports take, found by asking them: one version offered, and what is answered."""

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator

from appliance.configd.api import Table
from appliance.configd.facts.context import Context, Topic, word
from appliance.features import interfaces, listeners, uem
from appliance.features.values import TLS_VERSIONS

SECONDS = 2.0  # our own ports answer in milliseconds
HELLO_BYTES = 6  # a record's head (RFC 8446 5.1) and the type of its first message
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_HANDSHAKE, _SERVER_HELLO = 22, 2


def takes(address: str, port: int, version: str) -> bool | None:
    """Whether a server goes on with a handshake that offers this version alone; None where nobody answers.

    Seen from the first record it sends: it is a ServerHello or an alert. Whether the handshake succeeds is another matter; on
    9090 it does not without the UEM's certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = _VERSIONS[version]
    answer, question = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(answer, question)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as connection:
            connection.sendall(question.read())
            head = _first(connection)
    except OSError:
        return None
    return len(head) == HELLO_BYTES and head[0] == _HANDSHAKE and head[5] == _SERVER_HELLO


def _first(connection: socket.socket) -> bytes:
    head = b""
    while len(head) < HELLO_BYTES and (part := connection.recv(HELLO_BYTES - len(head))):
        head += part
    return head


def httpd_protocol(context: Context, _argument: str) -> Table:
    """Each port with its profile's versions, and those that it takes in a handshake made now."""
    rows = tuple(_row(context, *place) for place in _places(context)) if context.running else ()
    columns = ("Port", "service", "TLS Protocols Enabled", "profile", "configured")
    return Table(title="httpd protocol", columns=columns, rows=rows)


def _places(context: Context) -> Iterator[tuple[int, str, str, tuple[str, ...]]]:
    tree = context.tree
    if "tls" not in tree:
        return
    first = next((one for one in listeners.listeners(tree) if one.tls), None)
    if first is not None:
        yield first.port, "gateway", "incoming", (first.address,)
    yield tree["portal"]["port"], "portal", "management", interfaces.listen_addresses(tree, ("management",))
    pushed = uem.agent(tree).uem
    if pushed.push_tls is not None:
        yield pushed.push_port, "UEM's pushes", "management", pushed.push_addresses


def _row(context: Context, port: int, service: str, profile: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    spoken = context.tree["tls"][profile]
    configured = [version for version in TLS_VERSIONS if spoken["minimum"] <= version <= spoken["maximum"]]
    return (str(port), service, _enabled(addresses[0], port), f"tls.{profile}", _named(configured))


def _enabled(address: str, port: int) -> str:
    place = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - what it listens on, not what we do
    asked = {version: takes(place, port, version) for version in TLS_VERSIONS}
    if None in asked.values():
        return "does not answer"
    return _named(version for version, taken in asked.items() if taken) or "none"


def _named(versions: Iterable[str]) -> str:
    return word([f"TLSv{version}" for version in versions])


TOPICS = {"httpd-protocol": Topic("the TLS versions that our ports take", httpd_protocol)}
