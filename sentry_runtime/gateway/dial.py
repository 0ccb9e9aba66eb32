"""A connection to one backend: resolved, dialled, and its certificate held against a name."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sentry_runtime.gateway.addresses import AddressRefusedError, Network, parsed, permitted
from sentry_runtime.gateway.channels import PlainChannel, TlsChannel, wrapped
from sentry_runtime.gateway.health import Health
from sentry_runtime.gateway.intake import Intake
from sentry_runtime.settings import Backend

Connection = TypeVar("Connection", bound=Intake)

# OpenSSL's verdicts (x509_vfy.h) by the words of the audit trail; any other is `certificate_<number>`.
_VERDICTS = {
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    18: "certificate_self_signed",
    19: "authority_unknown",
    20: "authority_unknown",
    21: "authority_unknown",
    62: "name_differs",
    64: "name_differs",
}


_KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # nothing is looked up: it takes microseconds


@dataclass(frozen=True, slots=True)
class Trust:
    """How to speak TLS with a backend. `lenient` takes any certificate; there is one where the settings want that."""

    strict: ssl.SSLContext
    lenient: ssl.SSLContext | None = None


@dataclass(slots=True)
class Target:
    """A backend with what is needed to dial it.

    One that a configured backend has redirected to has no `health`, since nothing is kept of it; the networks its address must
    lie `within`; and as its `origin` the name of that backend, on whose terms it is spoken to.
    """

    backend: Backend
    trust: Trust | None
    health: Health | None = None
    within: tuple[Network, ...] | None = None
    origin: str = ""
    literal: bool = field(init=False, repr=False)
    """Whether its host is an address, so that there is nothing to resolve."""

    def __post_init__(self) -> None:
        self.literal = self.within is None and parsed(self.backend.host) is not None

    @property
    def up(self) -> bool:
        """Whether nothing speaks against it."""
        return self.health is None or self.health.up


async def dial(
    target: Target, make: Callable[[], Connection], untrusted: Callable[[str], None] | None = None
) -> Connection:
    """Dial, and let `make` make what is at our end of the connection.

    Where the backend's certificate does not hold and need not (`Trust.lenient`), `untrusted` is told why, in one word; without
    it nobody asks. Raises `OSError` (every ssl error and time-out is one) or `UnicodeError` (a host that is no name).
    """
    places = [target.backend.host] if target.literal else await _places(target.backend, target.within)
    for place in places[:-1]:
        try:
            return await _dial_place(target, place, make, untrusted)
        except ssl.SSLError:
            raise  # it is there: its other addresses have the same certificate
        except OSError:
            continue
    return await _dial_place(target, places[-1], make, untrusted)


async def _places(backend: Backend, within: Sequence[Network] | None) -> list[str]:
    """The addresses of its host that may be dialled; these are dialled, and no name is looked up again."""
    found = await asyncio.get_running_loop().getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    allowed = addresses if within is None else permitted(addresses, within)
    if not allowed:
        raise AddressRefusedError(f"{backend.host}: no address that a redirection may lead to")
    return allowed


async def _dial_place(
    target: Target, place: str, make: Callable[[], Connection], untrusted: Callable[[str], None] | None
) -> Connection:
    trust = target.trust
    if trust is None:
        plain = make()
        PlainChannel(await _connected(target.backend, place), plain).begin()
        return plain
    if trust.lenient is None:
        return await _secured(target, place, make, trust.strict)
    if untrusted is None:
        return await _secured(target, place, make, trust.lenient)
    try:
        return await _secured(target, place, make, trust.strict)
    except ssl.SSLCertVerificationError as error:
        verdict = verdict_of(error)
    # Python's ssl ends a handshake in which verification fails, so who only wants to know of it makes a second one.
    secured = await _secured(target, place, make, trust.lenient)
    untrusted(verdict)
    return secured


async def _connected(backend: Backend, place: str) -> socket.socket:
    # An address is only read here. uvloop's sock_connect would look it up, in one of the two threads in which names are looked
    # up: two names whose server does not answer would keep us from every backend.
    family, _, _, _, address = socket.getaddrinfo(place, backend.port, type=socket.SOCK_STREAM, flags=_NUMERIC)[0]
    one = socket.socket(family, _KIND)
    try:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = one.connect_ex(address)
        if error == errno.EINPROGRESS:
            await _writable(one)
            error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        one.close()
        raise
    return one


async def _writable(one: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(one, tell)
    try:
        await ready
    finally:
        loop.remove_writer(one)


async def _secured(target: Target, place: str, make: Callable[[], Connection], context: ssl.SSLContext) -> Connection:
    backend, secured = target.backend, make()
    agreed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(error: OSError | None) -> None:
        if agreed.done():
            return
        if error is None:
            agreed.set_result(None)
        else:
            agreed.set_exception(error)

    one = await _connected(backend, place)
    try:
        channel = TlsChannel(wrapped(one, context, backend.server_name or backend.host), secured, tell)
    except BaseException:
        one.close()
        raise
    channel.agree(first=True)
    try:
        await agreed
    except BaseException:
        channel.abort()
        raise
    return secured


def verdict_of(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate does not hold, as one word."""
    return _VERDICTS.get(error.verify_code, f"certificate_{error.verify_code}")


def reason_of(error: OSError | UnicodeError) -> str:
    """Why a dial failed, as one word for the audit line."""
    match error:
        case ssl.SSLCertVerificationError():
            return "backend_certificate"
        case ssl.SSLError():
            return "backend_tls"
        case TimeoutError():
            return "backend_timeout"
        case ConnectionRefusedError():
            return "backend_refused"
        case AddressRefusedError():
            return "redirect_address"
        case _:
            return "backend_unreachable"
