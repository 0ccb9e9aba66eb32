"""The Sentrys that the UEM serves now: who they are by their certificates, and a pusher for each that takes pushes."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.settings import SentryPeer
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server import peers
from sentry_runtime.uem_server.pusher import Pusher
from sentry_runtime.uem_server.worker import Worker

Heard = tuple[str, int, int | None]
"""A Sentry's name, when it called (epoch), and the cursor from which it read the feed, if it did."""


class Sentrys:
    """`serve` says whom; `run` pushes to them until cancelled. `now` gives seconds since the epoch."""

    def __init__(self, tls: ssl.SSLContext, *, audit: Audit, now: Callable[[], float]) -> None:
        self._tls = tls
        self._audit = audit
        self._now = now
        self._peers: dict[str, SentryPeer] = {}
        self._names: dict[str, str] = {}
        self._pushers: dict[str, Pusher] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heard: dict[str, Heard] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def pending(self) -> int:
        """How many devices' changes wait for the Sentry that has most to hear."""
        return max((pusher.pending for pusher in self._pushers.values()), default=0)

    @property
    def sent(self) -> int:
        """How many pushes have been confirmed."""
        return sum(pusher.sent for pusher in self._pushers.values())

    def name_of(self, subject: str) -> str | None:
        """The Sentry whose certificate has this subject (RFC 4514); None: nobody's."""
        return self._names.get(subject)

    def serve(self, served: Iterable[SentryPeer]) -> None:
        """From now on these and no others. One that stays as it was keeps what waits for it."""
        wanted = {peer.name: peer for peer in served}
        for name in [name for name, peer in self._peers.items() if wanted.get(name) != peer]:
            self._pushers.pop(name, None)
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()
        for name, peer in wanted.items():
            if peer.push_url and name not in self._pushers:
                self._pushers[name] = Pusher(peer.push_url, self._tls, audit=self._audit)
                self._tasks[name] = asyncio.create_task(self._pushers[name].run())
                self._tasks[name].add_done_callback(self._ended)
        self._peers = wanted
        self._names = {peer.subject: name for name, peer in wanted.items()}

    def serves(self, name: str) -> bool:
        """Whether a Sentry of this name is served."""
        return name in self._peers

    async def reload(self, worker: Worker) -> None:
        """Serve those that are in the database now. Raises `DatabaseError`, `OverloadedError`."""
        self.serve(await worker.call(lambda registry: registry.look(peers.listed)))

    def add(self, decisions: Sequence[Decision]) -> None:
        """Push these to every Sentry as soon as possible. Returns at once."""
        for pusher in self._pushers.values():
            pusher.add(decisions)

    def heard(self, name: str, cursor: int | None) -> None:
        """This Sentry has just called; `cursor`: from where it read the feed, if it did."""
        before = self._heard.get(name)
        kept = before[2] if cursor is None and before is not None else cursor
        self._heard[name] = (name, int(self._now()), kept)

    def take_heard(self) -> list[Heard]:
        """What was heard since it was taken last."""
        news = list(self._heard.values())
        self._heard.clear()
        return news

    async def run(self) -> None:
        """Until cancelled; raises what ended a pusher that must not end."""
        await self._failed

    async def stop(self) -> None:
        """Push no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)


def made(sentrys: Sentrys, audit: Audit, decisions: Sequence[Decision], by: str = "", detail: str = "") -> None:
    """Push these changes and write them down; `detail` is for the audit line of the first."""
    sentrys.add(decisions)
    for decision in decisions:
        key = DeviceKey(decision.device_id, decision.principal)
        action, said = "removed" if decision.removed else decision.state, detail if decision is decisions[0] else ""
        version, reasons = decision.version, decision.reasons
        audit("uem_changed", key=key, action=action, reasons=reasons, version=version, by=by, detail=said)
