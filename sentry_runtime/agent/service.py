"""The agent put together: store, link, push port, socket; started in the order in which each is needed, ended in reverse."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from sentry_runtime import control, fips
from sentry_runtime.agent import origin, to_uem
from sentry_runtime.agent.checkins import CheckIns
from sentry_runtime.agent.circuit import Circuit
from sentry_runtime.agent.crls import Crls
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.fetch import Fetcher
from sentry_runtime.agent.followers import Followers
from sentry_runtime.agent.informer import Informer
from sentry_runtime.agent.keeper import Keeper
from sentry_runtime.agent.persist import Persister
from sentry_runtime.agent.push import PushServer
from sentry_runtime.agent.questions import Bounds, Questions
from sentry_runtime.agent.reconciler import Reconciler
from sentry_runtime.agent.responder import Responder
from sentry_runtime.agent.revocation import Revocation
from sentry_runtime.agent.schedule import CheckIn
from sentry_runtime.agent.to_uem import ToUem
from sentry_runtime.agent.wipe_reports import WipeReports
from sentry_runtime.certificates import authorities
from sentry_runtime.control_server import ControlServer, Peer, Refused, page_that_fits
from sentry_runtime.devices.record import Record
from sentry_runtime.devices.store import StoreError, Writer, fits
from sentry_runtime.settings import CheckIns as CheckInSettings
from sentry_runtime.settings import Revocation as Rules
from sentry_runtime.settings import Settings
from sentry_runtime.systemd import Notifier
from sentry_runtime.tls import server_context
from sentry_runtime.uem.trail import Audit

SWEEP_SECONDS = 30.0  # housekeeping of the store where no watchdog asks for more
LIST_LIMIT = 5_000  # more than a line holds; the line's bound ends the page


@dataclass(frozen=True, slots=True)
class Access:
    """Whose messages are served, by the kernel's word for who sends them."""

    gateway: frozenset[int]
    management: frozenset[int]


@dataclass(frozen=True, slots=True)
class Parts:
    """The running agent."""

    devices: DeviceList
    questions: Questions
    informer: Informer
    wipes: WipeReports
    keeper: Keeper | CheckIns
    circuit: Circuit
    followers: Followers
    push: PushServer
    to_uem: ToUem
    persister: Persister
    reconciler: Reconciler | None = None
    revocation: Revocation | None = None
    administrators: Revocation | None = None


class Desk:
    """Serves the agent's socket: who may ask what, and which part answers."""

    def __init__(self, parts: Parts, access: Access) -> None:
        self._parts = parts
        both = access.gateway | access.management
        self._may: dict[type[control.Request], frozenset[int]] = {
            control.Ask: access.gateway,
            control.Follow: access.gateway,
            control.MarkWipe: access.gateway,
            control.Describe: access.gateway,
            control.KeepEnforcement: access.gateway,
            control.Status: both,
            control.ListDevices: access.management,
            control.ShowDevice: access.management,
            control.ShowDetails: access.management,
            control.CheckCertificate: access.gateway,
            control.ShowRevocation: access.management,
            control.PurgeRevocation: access.management,
            control.CheckAdministrator: access.management,
            control.Persist: access.management,
            control.CheckIn: access.management,
            control.Enrol: access.management,
            control.RenewEnrolment: access.management,
        }

    async def handle(self, peer: Peer, request: control.Request) -> object:
        """The result of one request. Raises `Refused` of kind `forbidden`, `invalid`, `busy` or `unavailable`."""
        if peer.uid not in self._may.get(type(request), frozenset()):
            raise Refused("forbidden", f"uid {peer.uid} may not send {type(request).__name__} here")
        match request:
            case control.Ask():
                return await self._parts.questions.ask(request)
            case control.Follow():
                return self._parts.followers.stream()
            case control.Describe() | control.KeepEnforcement() | control.MarkWipe():
                return await self._told(request)
            case control.CheckCertificate() | control.CheckAdministrator():
                return await self._checked(request)
            case (
                control.Persist()
                | control.CheckIn()
                | control.Enrol()
                | control.RenewEnrolment()
                | control.PurgeRevocation()
            ):
                return await self._ordered(request)
            case _:
                return self._shown(request)

    async def _told(self, request: control.Describe | control.KeepEnforcement | control.MarkWipe) -> object:
        """What a gateway has learned of a device."""
        match request:
            case control.MarkWipe():
                return await self._parts.wipes.take(request)
            case control.KeepEnforcement():
                return await self._keep(request)
        await self._parts.informer.take(request)
        return None

    def _shown(self, request: control.Request) -> object:
        match request:
            case control.ListDevices():
                return self._list(request)
            case control.ShowRevocation():
                return [row for one in self._judges() for row in one.shown()]
            case control.ShowDevice():
                return self._parts.devices.of_device(request.device_id)
            case control.ShowDetails():
                return [self._details(record) for record in self._parts.devices.of_device(request.device_id)]
            case _:
                return self.status()

    async def _checked(
        self, request: control.CheckCertificate | control.CheckAdministrator
    ) -> control.CertificateStatus:
        device = isinstance(request, control.CheckCertificate)
        judge = self._parts.revocation if device else self._parts.administrators
        if judge is None:
            raise Refused("unavailable", "the settings do not say how revocation is known")
        return await judge.check(request.certificate)

    def _judges(self) -> list[Revocation]:
        return [one for one in (self._parts.revocation, self._parts.administrators) if one is not None]

    async def _purged(self, request: control.PurgeRevocation) -> None:
        if not self._judges():
            raise Refused("unavailable", "the settings do not say how revocation is known")
        await asyncio.gather(*(one.purge(request.by) for one in self._judges()))

    async def _ordered(
        self,
        request: control.Persist | control.CheckIn | control.Enrol | control.RenewEnrolment | control.PurgeRevocation,
    ) -> object:
        """What an administrator has the agent do."""
        match request:
            case control.PurgeRevocation():
                await self._purged(request)
                return None
            case control.Persist():
                return await self._persist()
            case control.CheckIn():
                if not isinstance(self._parts.keeper, CheckIns):
                    raise Refused("invalid", "not applicable: there are check-ins in mode cloud only")
                return await self._parts.keeper.force()
        await self._certify(request)
        return None

    async def _certify(self, request: control.Enrol | control.RenewEnrolment) -> None:
        enrolled = self._parts.to_uem.enrolled
        if enrolled is None:
            raise Refused("invalid", "the settings do not say where this Sentry is to be enrolled")
        if isinstance(request, control.Enrol):
            await enrolled.enrolment.enrol(enrolled.link, request.token, request.by)
            self._parts.questions.link_lost.set()  # the keeper need not wait for its next round
        elif problem := await enrolled.enrolment.renew(enrolled.link):
            raise Refused("unavailable", problem)

    def _details(self, record: Record) -> control.Details:
        devices = self._parts.devices
        said = devices.said(record.key)
        return control.Details(
            key=record.key,
            policy=devices.policy(record.policy) if record.policy else None,
            tunnels=devices.tunnels(record.tunnels) if record.tunnels else (),
            information=None if said is None else said.information,
        )

    def status(self) -> dict[str, str | int]:
        """Words and counters, flat."""
        parts = self._parts
        circuit = parts.circuit
        return {
            "link": circuit.state,
            "link_seconds": circuit.held_seconds,
            "link_retry_seconds": circuit.wait_seconds,
            "link_problem": parts.keeper.problem,
            "rounds": parts.keeper.rounds,
            "devices": parts.devices.count,
            "provisional": parts.devices.provisional_count,
            "cursor": parts.devices.cursor,
            "digests": "none" if parts.reconciler is None else parts.reconciler.state,
            "repaired": 0 if parts.reconciler is None else parts.reconciler.repaired,
            "persisted": parts.persister.times,
            "list_bytes": parts.persister.bytes,
            "followers": parts.followers.count,
            "pushes": parts.push.taken,
            "push_peers_refused": parts.push.turned_away,
            "asked": parts.questions.counters.asked,
            "questions": parts.questions.counters.questions,
            "questions_open": parts.questions.open,
            "refused": parts.questions.counters.refused,
            "by_fail_mode": parts.questions.counters.by_fail_mode,
            "wipe_reports": parts.wipes.sent,
            "wipes_unreported": len(parts.devices.unreported),
            "untold": parts.informer.untold,
            **parts.to_uem.facts(),
            **(parts.keeper.facts() if isinstance(parts.keeper, CheckIns) else {}),
        }

    async def _persist(self) -> control.Persisted:
        try:
            size = await self._parts.persister.persist()
        except StoreError as error:
            raise Refused("unavailable", str(error)) from error
        return control.Persisted(devices=self._parts.devices.count, bytes=size)

    async def _keep(self, request: control.KeepEnforcement) -> bool:
        if not fits(request.key):
            raise Refused("invalid", "`key` is none that the device list can have")
        try:
            return await self._parts.devices.keep(request.key, request.enforcement, request.after)
        except StoreError as error:
            raise Refused("unavailable", str(error)) from error

    def _list(self, request: control.ListDevices) -> list[object]:
        if request.after is not None and not fits(request.after):
            raise Refused("invalid", "`after` is no key that the device list can have")
        if request.limit < 1:
            raise Refused("invalid", f"`limit` is 1 or more, found {request.limit}")
        return page_that_fits(self._parts.devices.page(request.after, min(request.limit, LIST_LIMIT)))


async def run(settings: Settings, access: Access, audit: Audit, notifier: Notifier, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises `SettingsError`, `StoreError` or `OSError` when it cannot start."""
    async with _started(settings, audit) as parts:
        server = ControlServer(settings.paths.agent_socket, Desk(parts, access).handle)
        await server.start()
        notifier.send("READY=1")
        notifier.send(f"STATUS={fips.state()}")
        audit("agent_started", count=parts.devices.count)
        background = [
            asyncio.create_task(parts.keeper.run()),
            asyncio.create_task(parts.wipes.run()),
            asyncio.create_task(parts.informer.run()),
            asyncio.create_task(parts.persister.run()),
            asyncio.create_task(_stay_alive(parts.devices, notifier)),
        ]
        held = [one for one in (parts.revocation, parts.administrators) if one is not None]
        background += [asyncio.create_task(one.run()) for one in held]
        if (enrolled := parts.to_uem.enrolled) is not None:
            background.append(asyncio.create_task(enrolled.enrolment.run(enrolled.link)))
        ended = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ended, *background], return_when=asyncio.FIRST_COMPLETED)
        finally:
            notifier.send("STOPPING=1")
            await server.stop()
            for task in (ended, *background):
                task.cancel()
            outcomes = await asyncio.gather(*background, return_exceptions=True)
        await parts.persister.at_stop()
        for outcome in outcomes:
            if isinstance(outcome, Exception):  # a part that must not end has: systemd starts the agent anew
                raise outcome
        audit("agent_stopped")


@contextlib.asynccontextmanager
async def _started(settings: Settings, audit: Audit) -> AsyncIterator[Parts]:
    uem = settings.agent.uem
    server = None if uem.push_tls is None else server_context(uem.push_tls)
    store = Writer(settings.paths.devices)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        origin.settle(store, Path(settings.paths.devices), uem, audit)
        followers = Followers()
        size = settings.agent.device_cache_size
        devices = DeviceList(store, followers.announce, cache=size)
        stack.push_async_callback(devices.close)
        way = to_uem.made(settings, devices, audit)
        link = way.link
        await stack.enter_async_context(link)
        circuit = Circuit(time.monotonic)
        bounds = Bounds(entries=size)
        mode = way.fail_mode(settings)
        questions = Questions(devices, link, circuit, mode, audit=audit, clock=time.time, bounds=bounds)
        await questions.forget_admitted()
        informer = Informer(devices, link, circuit, audit=audit)
        wipes = WipeReports(devices, link, circuit, questions.link_lost, audit=audit)

        def linked() -> None:
            informer.retry()
            wipes.wake()

        persister = Persister(devices, settings.agent.persist_seconds, audit=audit)
        reconciler: Reconciler | None = None
        keeper: Keeper | CheckIns
        if way.cloud is not None:
            keeper = CheckIns(
                *(devices, way.cloud.link, circuit, questions),
                seconds=_intervals(uem.check_ins),
                linked=linked,
                audit=audit,
                clock=time.monotonic,
            )
        else:
            reconciler = Reconciler(devices, link, audit=audit)
            keeper = Keeper(
                *(devices, link, circuit, questions),
                reconciler=reconciler,
                linked=linked,
                resync_seconds=uem.resync_seconds,
                audit=audit,
                clock=time.monotonic,
            )
        push = PushServer(
            devices, audit=audit, heard=keeper.heard, subject=uem.push_subject, networks=uem.push_networks
        )
        if server is not None:
            stack.push_async_callback(push.stop)
            await push.listen(uem.push_addresses, uem.push_port, server)
        revocation = await _revocation(settings, stack, followers, audit)
        administrators = await _administrators(settings, stack, audit)
        told = (devices, questions, informer, wipes, keeper, circuit, followers, push)
        yield Parts(*told, way, persister, reconciler, revocation, administrators)


def _intervals(settings: CheckInSettings) -> dict[CheckIn, float]:
    return {
        CheckIn.COMPLIANCE: settings.compliance_seconds,
        CheckIn.ACTIONS: settings.actions_seconds,
        CheckIn.INVENTORY: settings.inventory_seconds,
    }


async def _revocation(
    settings: Settings, stack: contextlib.AsyncExitStack, followers: Followers, audit: Audit
) -> Revocation | None:
    """What devices' certificates are judged by, where the settings want it. Raises `SettingsError`."""
    auth = settings.gateway.device_authentication
    rules = auth.revocation
    if rules is None:
        return None
    held = authorities.load(*(path for path in (auth.authorities, auth.issuers) if path is not None))
    folder = Path(settings.paths.revocation)
    return await _judging(rules, held, folder, stack, audit, followers.announce_certificates)


async def _administrators(settings: Settings, stack: contextlib.AsyncExitStack, audit: Audit) -> Revocation | None:
    """What administrators' certificates are judged by; each is asked about when it is shown, so nobody waits for news."""
    asked = settings.agent.administrators
    if asked is None:
        return None
    folder = Path(settings.paths.revocation) / "administrators"
    folder.mkdir(mode=0o700, exist_ok=True)
    held = authorities.load(asked.authorities)
    return await _judging(asked.revocation, held, folder, stack, audit, lambda: None)


async def _judging(
    rules: Rules,
    held: authorities.Authorities,
    folder: Path,
    stack: contextlib.AsyncExitStack,
    audit: Audit,
    changed: Callable[[], None],
) -> Revocation:
    fetcher = await stack.enter_async_context(Fetcher())
    crls = Crls(rules, held, folder, fetcher, now=time.time, audit=audit)
    responder = None
    if rules.ocsp_url is not None:
        responder = Responder(rules.ocsp_url, rules, fetcher, folder / "ocsp.json", now=time.time)
    made = Revocation(rules, held, crls, responder, now=time.time, audit=audit, changed=changed)
    await made.load()
    stack.callback(made.close)
    return made


async def _stay_alive(devices: DeviceList, notifier: Notifier) -> None:
    """Tell systemd that loop and disk still answer; a third of the time it gives us leaves room for one slow commit."""
    watchdog = notifier.watchdog_seconds
    while True:
        await devices.sweep()
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(SWEEP_SECONDS if watchdog is None else watchdog / 3)
