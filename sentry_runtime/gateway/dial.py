"""A connection to one backend: resolved, dialled, and its certificate held against a name."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sentry_runtime.gateway.addresses import Network, permitted
from sentry_runtime.gateway.health import Health
from sentry_runtime.settings import Backend

Connection = TypeVar("Connection")

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


class AddressRefusedError(OSError):
    """What a name was resolved to lies nowhere a redirection may lead."""


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

    @property
    def up(self) -> bool:
        """Whether nothing speaks against it."""
        return self.health is None or self.health.up


async def dial(
    target: Target, make: Callable[[], Connection], untrusted: Callable[[str], None] | None = None
) -> Connection:
    """Dial, and let `make` make the protocol of the connection.

    Where the backend's certificate does not hold and need not (`Trust.lenient`), `untrusted` is told why, in one word; without
    it nobody asks. Raises `OSError` (every ssl error and time-out is one) or `UnicodeError` (a host that is no name).
    """
    hosts = [target.backend.host] if target.within is None else await _judged(target.backend, target.within)
    for host in hosts[:-1]:
        try:
            return await _dial_host(target, host, make, untrusted)
        except ssl.SSLError:
            raise  # it is there: its other addresses have the same certificate
        except OSError:
            continue
    return await _dial_host(target, hosts[-1], make, untrusted)


async def _judged(backend: Backend, within: Sequence[Network]) -> list[str]:
    """The addresses of its host that may be dialled; these are dialled, and no name is looked up again."""
    found = await asyncio.get_running_loop().getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM)
    allowed = permitted(dict.fromkeys(str(one[4][0]) for one in found), within)
    if not allowed:
        raise AddressRefusedError(f"{backend.host}: no address that a redirection may lead to")
    return allowed


async def _dial_host(
    target: Target, host: str, make: Callable[[], Connection], untrusted: Callable[[str], None] | None
) -> Connection:
    trust = target.trust
    if trust is None:
        _, plain = await asyncio.get_running_loop().create_connection(make, host, target.backend.port)  # type: ignore[type-var]
        return plain
    if trust.lenient is None:
        return await _secured(target, host, make, trust.strict)
    if untrusted is None:
        return await _secured(target, host, make, trust.lenient)
    try:
        return await _secured(target, host, make, trust.strict)
    except ssl.SSLCertVerificationError as error:
        verdict = verdict_of(error)
    # Python's ssl ends a handshake in which verification fails, so who only wants to know of it makes a second one.
    secured = await _secured(target, host, make, trust.lenient)
    untrusted(verdict)
    return secured


async def _secured(target: Target, host: str, make: Callable[[], Connection], context: ssl.SSLContext) -> Connection:
    backend = target.backend
    _, secured = await asyncio.get_running_loop().create_connection(  # type: ignore[type-var]
        make, host, backend.port, ssl=context, server_hostname=backend.server_name or backend.host
    )
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
