"""Listening sockets and their TLS.

Each worker's place has a socket of its own on every address (SO_REUSEPORT). The supervisor keeps all of them open: when a
worker dies, the connections that wait in its queue wait for its successor.
"""

import socket
import ssl
from dataclasses import dataclass

import msgspec

from sentry_runtime import tls
from sentry_runtime.gateway.addresses import networks_of
from sentry_runtime.gateway.badge import HANDSHAKE_MODES
from sentry_runtime.gateway.dial import Trust
from sentry_runtime.gateway.gate import Gate
from sentry_runtime.gateway.pools import pools
from sentry_runtime.settings import Backend, Gateway, Listener, SettingsError

BACKLOG = 1_024  # a fleet that reconnects after an outage; the kernel's own bound (somaxconn) is 4,096
HANDSHAKE_SECONDS = 10.0  # a phone on a poor link needs two or three
IP_FREEBIND = 15  # linux/in.h; Python has no name for it


def open_sockets(gateway: Gateway) -> list[socket.socket]:
    """One worker's sockets, one for each listener. Raises `OSError` naming the address."""
    opened: list[socket.socket] = []
    try:
        opened.extend(_open(listener) for listener in gateway.listeners)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _open(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # An address that networkd is still putting on its interface can be bound already (ip(7)).
        one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        one.bind((listener.address, listener.port))
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"{listener.address} port {listener.port}: {error.strerror}") from error
    return one


@dataclass(frozen=True, slots=True)
class Entrance:
    """One listener's gate, and the TLS of what comes through it: of devices, and of balancers' own connections, which have no
    device's certificate. None: plain HTTP."""

    gate: Gate
    devices: ssl.SSLContext | None
    balancers: ssl.SSLContext | None


def entrances(gateway: Gateway) -> list[Entrance]:
    """One for each listener. Made before the workers are forked, so that they share the keys of session tickets.

    Raises `SettingsError`.
    """
    own = devices = _restricted(tls.server_context(gateway.tls))
    if gateway.device_authentication.mode in HANDSHAKE_MODES:
        devices = _asking(gateway)
    made = []
    for number, listener in enumerate(gateway.listeners):
        gate = Gate.of(listener, f"gateway.listeners[{number}]")
        made.append(Entrance(gate, devices, own) if gate.tls else Entrance(gate, None, None))
    return made


def _asking(gateway: Gateway) -> ssl.SSLContext:
    """A context that takes nobody without a certificate whose chain holds, from a root down (RFC 5280 6, all of it), and which is
    for authenticating clients. What else is asked of it is `badge`'s."""
    auth = gateway.device_authentication
    context = _restricted(tls.server_context(msgspec.structs.replace(gateway.tls, client_ca=auth.authorities)))
    if auth.issuers is not None:
        tls.load_trust(context, auth.issuers)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def backend_trusts(gateway: Gateway) -> list[Trust | None]:
    """For each backend how to speak TLS with it, None for plain HTTP. Raises `SettingsError`."""
    return [_trust(backend) for backend in gateway.backends]


def _trust(backend: Backend) -> Trust | None:
    if backend.tls is None:
        return None
    strict = _restricted(tls.client_context(backend.tls))
    lenient = _restricted(tls.unverified_context(backend.tls)) if backend.verify == "log" else None
    return Trust(strict, lenient)


def _restricted(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options &= (
        ~ssl.OP_IGNORE_UNEXPECTED_EOF
    )  # which Python sets: an end without a close_notify would look like one
    return context


def check(gateway: Gateway) -> None:
    """What the types of the settings cannot say. Raises `SettingsError`."""
    if not gateway.listeners:
        raise SettingsError("gateway.listeners: at least one address is needed")
    places = [(one.address, one.port) for one in gateway.listeners]
    for number, place in enumerate(places):
        if place in places[:number]:  # SO_REUSEPORT would let both have it, and each would get some of the connections
            raise SettingsError(f"gateway.listeners[{number}]: {place[0]} port {place[1]} a second time")
    if not gateway.backends:
        raise SettingsError("gateway.backends: at least one backend is needed")
    if not 0 <= gateway.workers <= 64:
        raise SettingsError(f"gateway.workers: {gateway.workers}; 1 to 64 are allowed, and 0 for one for each core")
    pools(gateway)
    try:
        networks_of(gateway.routing.redirects.networks)
    except ValueError as error:
        raise SettingsError(f"gateway.routing.redirects.networks: {error}") from error
