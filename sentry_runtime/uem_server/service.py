"""The UEM put together: registry, API, pusher, administrators' socket."""

import asyncio
import contextlib

from sentry_runtime.control_server import ControlServer
from sentry_runtime.eas.principal import Names
from sentry_runtime.process import CannotStartError
from sentry_runtime.settings import Paths, SettingsError, UemServer
from sentry_runtime.systemd import Notifier
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.api import DECISIONS_PER_PAGE
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.api import Api
from sentry_runtime.uem_server.desk import Desk
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.pusher import PENDING, Pusher
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

TIDY_SECONDS = 3_600.0  # what is kept for a month goes within an hour of it
BEAT_SECONDS = 30.0  # how often the loop shows that it lives where no watchdog asks


async def run(
    settings: UemServer,
    names: Names,
    paths: Paths,
    allowed: frozenset[int],
    audit: Audit,
    notifier: Notifier,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set. Raises `SettingsError`, `CannotStartError` or `OSError` when it cannot start."""
    server_tls, push_tls = server_context(settings.tls), client_context(settings.push_tls)
    named = Policies(settings.policies, settings.default_policy)
    if settings.default_policy is not None and settings.default_policy not in settings.policies:
        raise SettingsError(f"uem_server.default_policy: there is no policy {settings.default_policy!r}")

    def registry() -> Registry:
        return Registry(
            open_engine(settings.database),
            auto_block=settings.auto_block_unregistered,
            devices_per_mailbox=settings.devices_per_mailbox,
            names=names,
            policies=named,
        )

    worker = Worker(registry)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(worker.stop)
        try:
            await worker.start()
        except DatabaseError as error:
            raise CannotStartError(str(error)) from error
        pusher = Pusher(settings.push_url, push_tls, audit=audit)
        await _push_news(worker, pusher)
        api = Api(worker, pusher, audit)
        stack.push_async_callback(api.stop)
        await api.start(settings.address, settings.port, server_tls)
        server = ControlServer(paths.uem_admin, Desk(worker, pusher, api, audit, allowed, names).handle)
        await server.start()
        stack.push_async_callback(server.stop)
        notifier.send("READY=1")
        audit("uem_started")
        await _until(stop, pusher, worker, notifier, audit)
        notifier.send("STOPPING=1")
        audit("uem_stopped")


async def _push_news(worker: Worker, pusher: Pusher) -> None:
    """What the settings changed while we were down is pushed like any change, as far as the pusher has room for it."""
    after, more = await worker.call(lambda registry: registry.opened_at), True
    while more and pusher.pending < PENDING:
        page = await worker.call(lambda registry, after=after: registry.changes(after, DECISIONS_PER_PAGE))  # type: ignore[misc]
        pusher.add(page.decisions)
        after, more = page.next, page.more


async def _until(stop: asyncio.Event, pusher: Pusher, worker: Worker, notifier: Notifier, audit: Audit) -> None:
    parts = (pusher.run(), _warm(worker, audit), _stay_alive(worker, notifier), _tidy(worker, pusher, audit))
    background = [asyncio.create_task(part) for part in parts]
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, *background], return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, *background):
        task.cancel()
    for outcome in await asyncio.gather(*background, return_exceptions=True):
        if isinstance(outcome, Exception):  # a part that must not end has: systemd starts the UEM anew
            raise outcome


async def _warm(worker: Worker, audit: Audit) -> None:
    """Have the digests and the feed in memory before a Sentry asks, step by step, with contacts in between."""
    try:
        while await worker.call(lambda registry: registry.digests("")) is None:
            pass
    except (OverloadedError, DatabaseError) as error:  # then who asks first waits for it
        audit("uem_failed", detail=str(error))
    await asyncio.Event().wait()


async def _tidy(worker: Worker, pusher: Pusher, audit: Audit) -> None:
    """Remove what nobody decided about in time, a little at a time, so that contacts get their turn in between."""
    while True:
        try:
            while gone := await worker.call(lambda registry: registry.expire()):
                pusher.add(gone)
                audit("uem_expired", count=len(gone))
        except (OverloadedError, DatabaseError) as error:
            audit("uem_failed", detail=str(error))
        await asyncio.sleep(TIDY_SECONDS)


async def _stay_alive(worker: Worker, notifier: Notifier) -> None:
    """Tell systemd that loop and database still answer."""
    watchdog = notifier.watchdog_seconds
    while True:
        with contextlib.suppress(DatabaseError):  # an answer all the same; requests report it where it matters
            await worker.call(lambda registry: registry.counts())
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(BEAT_SECONDS if watchdog is None else watchdog / 3)
