"""Redirections (451, MS-ASHTTP 3.1.5.2.2) that the gateway follows itself, and where each device has been sent.

A device must never learn of a server behind the gateway, so what `X-MS-Location` says is for the gateway: it goes there, and
remembers it for the device and principal. The tables of all workers are kept alike by the supervisor (`Learned`, `Forgotten`).
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.identify import ACTIVESYNC_PATH
from sentry_runtime.settings import Backend
from sentry_runtime.settings import Redirects as Rules

WRONG_SERVER = 451  # MS-ASHTTP 2.2.2.1.1
HOPS = 3  # one is usual, a second comes while a mailbox moves; more is a circle
REMEMBERED_SECONDS = 86_400.0  # a moved mailbox is told of by a 451 again, so this only bounds what is kept
ENTRIES = 20_000  # about 10 MB; beyond it the oldest goes, and that device is redirected once more
UNTIL_MAX = float(1 << 40)  # seconds: no machine runs for so long
LOCATION_BYTES = 2_048  # real ones are below 200

_LOCATION = re.compile(
    r"(?i:(https?)://(\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?))(?::([0-9]{1,5}))?(/[^?#]*)?(?:\?[^#]*)?"
)
_PATHS = frozenset({ACTIVESYNC_PATH.lower(), ACTIVESYNC_PATH.lower() + "/default.eas"})
_USUAL_PORT = {"http": 80, "https": 443}


class RedirectError(ValueError):
    """A redirection that is not followed; the message is one word for the audit line. `host`: as far as there is one."""

    def __init__(self, reason: str, host: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.host = host


class Location(NamedTuple):
    """What a 451 names."""

    scheme: str
    host: str
    port: int


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """A device's server. `backend` names the configured one whose trust and TLS versions hold there, `until` is of the
    machine's monotonic clock, which all processes share."""

    key: DeviceKey
    backend: str
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    until: Annotated[float, msgspec.Meta(ge=0, le=UNTIL_MAX)]


class Learned(msgspec.Struct, frozen=True, kw_only=True, tag_field="news", tag="learned"):
    """A device has been sent there."""

    redirect: Redirect


class Forgotten(msgspec.Struct, frozen=True, kw_only=True, tag_field="news", tag="forgotten"):
    """These are over; None: all of them."""

    keys: tuple[DeviceKey, ...] | None


News = Learned | Forgotten


class Redirections:
    """What is remembered of each device and principal; bounded, and each for a time."""

    def __init__(self, known: Iterable[Redirect] = (), now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries: dict[DeviceKey, Redirect] = {}
        for one in known:
            self.apply(Learned(redirect=one))

    def __iter__(self) -> Iterator[Redirect]:
        """Those that hold, in key order."""
        now = self._now()
        return iter(sorted((one for one in self._entries.values() if one.until > now), key=lambda one: one.key))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: DeviceKey) -> Redirect | None:
        """Where this device has been sent."""
        found = self._entries.get(key)
        if found is not None and found.until <= self._now():
            del self._entries[key]
            return None
        return found

    def learn(self, key: DeviceKey, to: Location, backend: str) -> Learned:
        """Remember that the device belongs there from now on, on terms with the configured `backend`."""
        until = self._now() + REMEMBERED_SECONDS
        news = Learned(redirect=Redirect(key=key, backend=backend, host=to.host, port=to.port, until=until))
        self.apply(news)
        return news

    def apply(self, news: News) -> None:
        """Take over what another process has learned or forgotten."""
        match news:
            case Learned(redirect=redirect):
                self._entries.pop(redirect.key, None)  # it becomes the youngest
                if len(self._entries) >= ENTRIES:
                    del self._entries[next(iter(self._entries))]
                self._entries[redirect.key] = redirect
            case Forgotten(keys=None):
                self._entries.clear()
            case Forgotten(keys=keys):
                for key in keys or ():
                    self._entries.pop(key, None)


def read(location: bytes) -> Location:
    """The value of `X-MS-Location`, in lower case and with its port. Raises `RedirectError`.

    Its path must be ActiveSync's; a query in it is of no account, since the device's own goes along.
    """
    found = _LOCATION.fullmatch(location.decode("latin-1")) if len(location) <= LOCATION_BYTES else None
    if found is None:
        raise RedirectError("redirect_malformed")
    scheme, host = found[1].lower(), found[2].lower().strip("[]")
    if (found[4] or "").lower().rstrip("/") not in _PATHS:
        raise RedirectError("redirect_path", host)
    return Location(scheme, host, int(found[3] or _USUAL_PORT[scheme]))


def permitted(to: Location, sender: Backend, rules: Rules) -> Backend:
    """The server to go to when `sender` names `to`. Raises `RedirectError`.

    It is spoken to as `sender` is: by the same scheme, on the port of the scheme or of `sender`, with its trust and TLS
    versions. Only the name is the other's, which its certificate must say.
    """
    if to.scheme != ("http" if sender.tls is None else "https"):
        raise RedirectError("redirect_scheme", to.host)
    if to.port not in (_USUAL_PORT[to.scheme], sender.port):
        raise RedirectError("redirect_port", to.host)
    if not permitted_host(to.host, rules.hosts):
        raise RedirectError("redirect_host", to.host)
    return place(sender, to.host, to.port)


def place(backend: Backend, host: str, port: int) -> Backend:
    """Another server that is spoken to as `backend` is."""
    return msgspec.structs.replace(backend, name=host, host=host, port=port, server_name=None)


def permitted_host(host: str, listed: Iterable[str]) -> bool:
    """Whether this lower-case name is listed, or is below a listed one with a dot in front."""
    return any(host.endswith(one) and host != one if one.startswith(".") else host == one for one in listed)


def location_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What a 451 says; b"" where it says nothing or more than one thing."""
    said = [value for name, value in fields if name.lower() == b"x-ms-location"]
    return said[0] if len(said) == 1 else b""
