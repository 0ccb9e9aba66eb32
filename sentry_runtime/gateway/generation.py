"""What comes from one reading of the settings, and the worker processes that serve by it, as the supervisor has them."""

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sentry_runtime.devices.store import Reader
from sentry_runtime.gateway import badge, listener, policies, worker
from sentry_runtime.gateway.judge import Judge
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.policies import Policies, SitePolicy
from sentry_runtime.gateway.redirects import News, Redirect
from sentry_runtime.gateway.site import Site
from sentry_runtime.gateway.worker_channel import Life
from sentry_runtime.settings import Settings, parse, read

ORDER_SECONDS = 1.0  # for a worker to read the news before an order; it does nothing that takes so long


@dataclass(slots=True)
class Running:
    """A worker process as seen from here."""

    pid: int
    channel: socket.socket
    started: float
    seen: float
    life: Life | None = None

    def tell(self, order: bytes, *descriptors: int) -> None:
        """Give an order. Unlike news, none may be lost because the channel is full of them: then this waits for a moment."""
        with contextlib.suppress(OSError):  # it has just died or is hung: the supervisor sees to it
            self.channel.settimeout(ORDER_SECONDS)
            if descriptors:
                socket.send_fds(self.channel, [order], descriptors)
            else:
                self.channel.send(order)
        with contextlib.suppress(OSError):
            self.channel.settimeout(0)

    def pass_on(self, news: News) -> None:
        """Tell it news, unless it has very much to read: then it will learn it from a backend."""
        with contextlib.suppress(OSError):  # or it has just died
            self.channel.send(msgspec.json.encode(news))


@dataclass(slots=True)
class Place:
    """What one worker after the other works with: its sockets, and how its last ones fared."""

    sockets: list[socket.socket]
    running: Running | None = None
    early_deaths: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Generation:
    """Everything that comes from one reading of the settings: of a file with this SHA-256, at this time since the epoch.

    `start` does a worker's work with these sockets and this channel; the last argument: whether it begins quiesced.
    """

    settings: Settings
    text: bytes
    digest: str
    time: float
    judge: Judge
    policy: SitePolicy
    start: Callable[[list[socket.socket], socket.socket, tuple[Redirect, ...], bool], None]
    places: list[Place] = field(default_factory=list)


def prepare(path: Path, now: SitePolicy | None = None) -> Generation:
    """Read and check the settings at `path`; load keys, certificates, trust and fleet secret. `now` is what is in force.

    Raises `SettingsError`.
    """
    text = read(path)
    settings = parse(text, path)
    gateway = settings.gateway
    listener.check(gateway)
    entrances, backends = listener.entrances(gateway), listener.backend_trusts(gateway)
    names = settings.principals.names()
    policy, examiner = policies.load(gateway, now), badge.load(gateway, names)
    library = Known(lambda: Reader(settings.paths.devices))
    judge = Judge(Policies(policy, library), Site.of(gateway, names=names))

    def start(
        sockets: list[socket.socket],
        channel: socket.socket,
        redirections: tuple[Redirect, ...],
        quiesced: bool,  # noqa: FBT001 - see `Generation`
    ) -> None:
        worker.run(
            worker.Post(settings, sockets, entrances, backends, policy, examiner, channel, redirections, quiesced)
        )

    return Generation(settings, text, hashlib.sha256(text).hexdigest(), time.time(), judge, policy, start)
