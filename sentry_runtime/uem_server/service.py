"""The UEM put together: registry, API, pusher, administrators' socket."""

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path

import msgspec
from aiohttp import web

from sentry_runtime import fips
from sentry_runtime.control_server import ControlServer, bound
from sentry_runtime.eas.principal import Names
from sentry_runtime.process import CannotStartError
from sentry_runtime.settings import EnrolmentServer, Paths, SettingsError, UemServer
from sentry_runtime.systemd import Notifier
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.api import DECISIONS_PER_PAGE
from sentry_runtime.uem.cloud_api import CloudSettings
from sentry_runtime.uem.door import Bounds
from sentry_runtime.uem.http import Server
from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server import authority, peers
from sentry_runtime.uem_server.admin_api import AdminApi
from sentry_runtime.uem_server.api import CONTACT_BYTES, Api
from sentry_runtime.uem_server.authority import Authority
from sentry_runtime.uem_server.callers import EVENT, by_account
from sentry_runtime.uem_server.cloud import Cloud
from sentry_runtime.uem_server.desk import Desk
from sentry_runtime.uem_server.enrolment import Enrolment
from sentry_runtime.uem_server.enrolment_api import ENROL_BYTES, EnrolmentApi
from sentry_runtime.uem_server.judging import Security
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.pusher import PENDING
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.sentrys import Sentrys, made
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.threshold import Threshold
from sentry_runtime.uem_server.visits import Visit, Visits
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

JUDGE_SECONDS = 5.0  # a grace ends by days, and what a device says of itself may wait so long
TIDY_SECONDS = 3_600.0  # what is kept for a month goes within an hour of it
BOUNDS = Bounds(512, 64, 10.0)  # handshakes: of some hundred Sentrys that come back together, some behind one address
ENROLLING_BOUNDS = Bounds(64, 8, 10.0)  # Sentrys enrol once in their lives
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
    security = Security(settings.security_policies, settings.default_security_policy)
    _check(settings)
    signer = _signer(settings, server_tls)

    def registry() -> Registry:
        return Registry(
            open_engine(settings.database),
            auto_block=settings.auto_block_unregistered,
            devices_per_mailbox=settings.devices_per_mailbox,
            names=names,
            policies=named,
            security=security,
            grace_seconds=settings.unregistered_grace_seconds,
            sentrys=settings.sentrys,
        )

    worker = Worker(registry)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(worker.stop)
        try:
            await worker.start()
        except DatabaseError as error:
            raise CannotStartError(str(error)) from error
        sentrys = Sentrys(push_tls, audit=audit, now=time.time)
        stack.push_async_callback(sentrys.stop)
        sentrys.serve(await worker.call(lambda registry: registry.look(peers.listed)))
        await _push_news(worker, sentrys)
        enrolment = None if signer is None else await _enrolment(worker, signer, settings, audit)
        admin = AdminApi(worker, sentrys, audit, names, settings.licence, enrolment)
        cloud = Cloud(worker, _told_sentrys(settings), audit)
        ports = _Ports(settings, worker, sentrys, audit, admin, cloud, enrolment)
        api = await ports.open(stack, server_tls)
        rest = rest_socket(paths.uem_admin)
        local = Server(
            CONTACT_BYTES, ports.administering(), [by_account(allowed, Refusals(audit, time.monotonic, EVENT))]
        )
        stack.push_async_callback(local.stop)
        await local.start_local(bound(rest))
        stack.callback(rest.unlink, missing_ok=True)
        server = ControlServer(paths.uem_admin, Desk(worker, sentrys, api, audit, allowed, names).handle)
        await server.start()
        stack.push_async_callback(server.stop)
        notifier.send("READY=1")
        notifier.send(f"STATUS={fips.state()}")
        audit("uem_started")
        parts = (
            sentrys.run(),
            _warm(worker, audit),
            _stay_alive(worker, notifier),
            _tidy(worker, sentrys, admin.news, audit),
            _judge(worker, sentrys, admin.news, audit),
        )
        await _until(stop, parts)
        notifier.send("STOPPING=1")
        audit("uem_stopped")


def _signer(settings: UemServer, server_tls: ssl.SSLContext) -> Authority | None:
    """The authority of those who enrol, whom the port then believes, too. Raises `SettingsError`."""
    if settings.enrolment is None:
        return None
    signer = authority.opened(Path(settings.enrolment.authority), time.time())
    server_tls.load_verify_locations(cadata=signer.pem)
    return signer


async def _enrolment(worker: Worker, signer: Authority, settings: UemServer, audit: Audit) -> Enrolment:
    enrolment = Enrolment(worker, signer, settings.enrolment or EnrolmentServer(), audit, now=time.time)
    await enrolment.load()
    return enrolment


class _Ports:
    """The UEM's port, and that of enrolment where there is one."""

    def __init__(
        self,
        settings: UemServer,
        worker: Worker,
        sentrys: Sentrys,
        audit: Audit,
        admin: AdminApi,
        cloud: Cloud,
        enrolment: Enrolment | None,
    ) -> None:
        self._settings = settings
        self._enrolment = enrolment
        self._enrolling = None if enrolment is None else EnrolmentApi(enrolment, worker, sentrys, audit)
        self._admin = admin
        administrators = {one.subject: one.name for one in settings.administrators}
        renewing = [] if self._enrolling is None else self._enrolling.renewing()
        routes = [*renewing, *self.administering()]
        self._refusals = Refusals(audit, time.monotonic, EVENT)
        self._api = Api(worker, sentrys, audit, routes, administrators, cloud.routes(), enrolment, self._refusals)

    def administering(self) -> list[web.AbstractRouteDef]:
        """The administrators' routes."""
        return [*([] if self._enrolling is None else self._enrolling.administering()), *self._admin.routes()]

    async def open(self, stack: contextlib.AsyncExitStack, tls: ssl.SSLContext) -> Api:
        """Serve until the stack is left. Raises `OSError`, `SettingsError`."""
        stack.push_async_callback(self._api.stop)
        address, port = self._settings.address, self._settings.port
        if self._enrolment is None or self._enrolling is None or self._settings.enrolment is None:
            await self._api.start_behind(lambda make: make(), address, port, tls, BOUNDS, self._refusals.refuse)
            return self._api
        threshold = functools.partial(Threshold, enrolment=self._enrolment, refusals=self._refusals)
        await self._api.start_behind(threshold, address, port, tls, BOUNDS, self._refusals.refuse)
        # The same certificate, and nobody is asked for one: here the caller has none yet.
        open_tls = server_context(msgspec.structs.replace(self._settings.tls, client_ca=None))
        enrolling = Server(ENROL_BYTES, self._enrolling.enrolling())
        stack.push_async_callback(enrolling.stop)
        visits, port = Visits(), self._settings.enrolment.port
        await enrolling.start_behind(
            lambda make: Visit(make, visits), address, port, open_tls, ENROLLING_BOUNDS, self._enrolling.refuse
        )
        return self._api


def rest_socket(admin_socket: str) -> Path:
    """Where administrators' REST is on this machine: beside the socket of the typed messages."""
    return Path(admin_socket).with_name("rest.sock")


def _told_sentrys(settings: UemServer) -> CloudSettings:
    """What Sentrys are told that only call. In its grace an unregistered device passes."""
    passes = not settings.auto_block_unregistered or settings.unregistered_grace_seconds > 0
    return CloudSettings(fail_mode=settings.fail_mode, allow_unmanaged=passes, licence=settings.licence)


def _check(settings: UemServer) -> None:
    """Raise `SettingsError` for names that lead nowhere or stand for two."""
    for what, name, there in (
        ("default_policy", settings.default_policy, settings.policies),
        ("default_security_policy", settings.default_security_policy, settings.security_policies),
    ):
        if name is not None and name not in there:
            raise SettingsError(f"uem_server.{what}: there is no policy {name!r}")
    for place, names in (
        ("sentrys.name", [one.name for one in settings.sentrys]),
        (
            "subject of sentrys and administrators",
            [one.subject for one in settings.sentrys] + [one.subject for one in settings.administrators],
        ),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"uem_server: {place}: {twice[0]!r} is there twice")


async def _push_news(worker: Worker, sentrys: Sentrys) -> None:
    """What the settings changed while we were down is pushed like any change, as far as the pusher has room for it."""
    after, more = await worker.call(lambda registry: registry.opened_at), True
    while more and sentrys.pending < PENDING:
        page = await worker.call(lambda registry, after=after: registry.changes(after, DECISIONS_PER_PAGE))  # type: ignore[misc]
        sentrys.add(page.decisions)
        after, more = page.next, page.more


async def _until(stop: asyncio.Event, parts: Iterable[Coroutine[None, None, None]]) -> None:
    background = [asyncio.create_task(part) for part in parts]
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, *background], return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, *background):
        task.cancel()
    for outcome in await asyncio.gather(*background, return_exceptions=True):
        if isinstance(outcome, Exception):  # a part that must not end has: systemd starts the UEM anew
            raise outcome


async def _judge(worker: Worker, sentrys: Sentrys, news: asyncio.Event, audit: Audit) -> None:
    """Look anew at the devices that are due, some at a time; also at those that become so by what devices say and by time."""
    while True:
        news.clear()
        try:
            more = True
            while more:
                changed, more = await worker.call(lambda registry: registry.judge())
                made(sentrys, audit, changed)
            await _note_heard(worker, sentrys)
        except (OverloadedError, DatabaseError) as error:
            audit("uem_failed", detail=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JUDGE_SECONDS):
                await news.wait()


async def _note_heard(worker: Worker, sentrys: Sentrys) -> None:
    """Keep when which Sentry was heard, and how far it has read."""
    heard = sentrys.take_heard()
    if heard:
        await worker.call(lambda registry: registry.amend(lambda session, _next: peers.heard(session, heard)))


async def _warm(worker: Worker, audit: Audit) -> None:
    """Have the digests and the feed in memory before a Sentry asks, step by step, with contacts in between."""
    try:
        while await worker.call(lambda registry: registry.digests("")) is None:
            pass
    except (OverloadedError, DatabaseError) as error:  # then who asks first waits for it
        audit("uem_failed", detail=str(error))
    await asyncio.Event().wait()


async def _tidy(worker: Worker, sentrys: Sentrys, news: asyncio.Event, audit: Audit) -> None:
    """Remove what nobody decided about in time, a little at a time, so that contacts get their turn in between; and note who has
    been silent for too long."""
    while True:
        try:
            while gone := await worker.call(lambda registry: registry.expire()):
                sentrys.add(gone)
                audit("uem_expired", count=len(gone))
            await worker.call(lambda registry: registry.note_silent())
            news.set()
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
