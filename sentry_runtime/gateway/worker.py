"""One worker process: takes connections from its sockets until it is told to stop."""

import asyncio
import contextlib
import math
import os
import random
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import uvloop

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import Reader
from sentry_runtime.eas.offer import versions_up_to
from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.agent_link import CertificateQuestions, Follower, Questions
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.badge import Examiner
from sentry_runtime.gateway.checks import Checks
from sentry_runtime.gateway.contact import Contacts
from sentry_runtime.gateway.credentials import Access, Scheme
from sentry_runtime.gateway.decide import ALLOW, Action, Unreadable
from sentry_runtime.gateway.dial import Target, Trust
from sentry_runtime.gateway.door import Crowd, Door
from sentry_runtime.gateway.front import FrontConnection
from sentry_runtime.gateway.health import Health
from sentry_runtime.gateway.judge import Judge
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.listener import Entrance
from sentry_runtime.gateway.notes import Notes
from sentry_runtime.gateway.policies import Policies, SitePolicy
from sentry_runtime.gateway.pools import pools
from sentry_runtime.gateway.redirects import Redirect, Redirections
from sentry_runtime.gateway.refusals import Refusals
from sentry_runtime.gateway.reports import Reports, Standing
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.site import Site
from sentry_runtime.gateway.teller import Teller
from sentry_runtime.gateway.throttle import Throttle
from sentry_runtime.gateway.vetting import Vetting
from sentry_runtime.gateway.wipe_marks import WipeMarks
from sentry_runtime.gateway.worker_channel import (
    DRAIN,
    ORDER_BYTES,
    QUIESCE,
    RENEW,
    RESUME,
    RETIRE,
    THROTTLED_TOLD,
    Life,
    Paused,
    read_news,
)
from sentry_runtime.metrics import Counters
from sentry_runtime.settings import SETTINGS_PATH, Settings, parse
from sentry_runtime.trail import Trail

TICK_SECONDS = 1.0  # how often deadlines are looked at and a sign of life is sent
DRAIN_TICK_SECONDS = 0.05  # how often a worker that stops looks whether it is done
RETIRED_SECONDS = 3_700.0  # a retired worker waits so long for its held Pings: the longest heartbeat is 3,540 s
LAST_WORDS_SECONDS = 1.0  # for the answers of those that had to be given up to get out


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is started with."""

    settings: Settings
    sockets: list[socket.socket]
    entrances: list[Entrance]
    backends: list[Trust | None]
    policy: SitePolicy
    examiner: Examiner | None
    channel: socket.socket
    redirections: tuple[Redirect, ...] = ()
    quiesced: bool = False


def run(post: Post) -> None:
    """Work until drained. The process is this worker's alone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's business
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Worker(post).work())


def _access(settings: Settings) -> Access:
    gateway = settings.gateway
    schemes = tuple(Scheme(one) for one in gateway.authentication)
    return Access(schemes, settings.principals.names(), pooled=gateway.pooled_connections)


class _Worker:
    def __init__(self, post: Post) -> None:
        settings, limits = post.settings, post.settings.gateway.limits
        self._post = post
        self._limits = limits
        self._crowd = Crowd(limits)
        self._trail = Trail(settings.paths.audit_socket, time.time)
        self._counters = Counters()
        account = Account(self._trail, self._counters, time.time)
        self._reports = Reports(account)
        self._backends = backends = _backends(post, self._reports)
        questions = Questions(settings.paths.agent_socket, limits.decision_seconds)
        throttle = settings.gateway.throttle
        self._throttle = None if throttle is None else Throttle(throttle, time.monotonic)
        known = Known(lambda: Reader(settings.paths.devices))
        refusals = Refusals(limits, time.monotonic, account.rests)
        self._services = Services(
            limits=limits,
            backends=backends,
            known=known,
            contacts=Contacts(backends, questions, limits.decision_seconds, refusals, self._counters),
            account=account,
            judge=Judge(Policies(post.policy, known), Site.of(settings.gateway, names=settings.principals.names())),
            refusals=refusals,
            throttle=self._throttle,
            notice=settings.gateway.block_notice,
            teller=Teller(settings.paths.agent_socket, limits.decision_seconds),
            notes=Notes(settings.paths.agent_socket, limits.decision_seconds),
            wipe_marks=WipeMarks(settings.paths.agent_socket, limits.decision_seconds),
            external_host=settings.gateway.external_host,
            access=_access(settings),
            versions=versions_up_to(settings.gateway.newest_protocol),
            vetting=self._vetting(account),
            quiesced=post.quiesced,
        )
        self._checks: asyncio.Task[None] | None = None
        self._vetting_again: dict[FrontConnection, asyncio.Task[None]] = {}
        self._doors: list[Door] = []
        self._over = asyncio.Event()
        self._ticker: asyncio.TimerHandle | None = None
        self._end = float("inf")  # loop time at which a stopping worker gives up on what still runs

    async def work(self) -> None:
        """Take connections until told to stop, then finish what runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        self._post.channel.settimeout(0)
        loop.add_reader(self._post.channel, self._told)
        follower = loop.create_task(self._follower().run())
        checks = Checks(self._backends, self._post.settings.gateway.routing.active, random.SystemRandom())
        self._checks = loop.create_task(checks.run())
        self._checks.add_done_callback(lambda done: None if done.cancelled() else self._over.set())
        self._doors = [
            Door(one, entrance, self._services, self._crowd)
            for one, entrance in zip(self._post.sockets, self._post.entrances, strict=True)
        ]
        for door in self._doors:
            door.open()
        self._tick()
        over = loop.create_task(self._over.wait())
        await asyncio.wait({over, follower}, return_when=asyncio.FIRST_COMPLETED)
        for task in (follower, self._checks):
            if task.done() and not task.cancelled():
                task.result()  # it never returns: an error, and a worker that hears or sees no changes must not go on
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._trail.close()
        self._services.known.close()

    def _vetting(self, account: Account) -> Vetting | None:
        examiner, rules = self._post.examiner, self._post.settings.gateway.device_authentication.revocation
        if examiner is None:
            return None
        questions = CertificateQuestions(self._post.settings.paths.agent_socket, self._limits.decision_seconds)
        return Vetting(
            examiner,
            rules,
            questions.ask,
            time.time,
            lambda badge, word: account.lenient(badge.fingerprint, badge.principal, word),
        )

    def _follower(self) -> Follower:
        known = self._services.known

        def begin() -> None:
            known.set_fresh(fresh=True)
            self._judge_again(None)
            self._vet_again(math.inf)
            self._services.teller.retry()

        def change(keys: tuple[DeviceKey, ...]) -> None:
            known.changed(keys)
            known.fetch([key for key in keys if self._services.account.runs(key)])
            self._judge_again(keys)

        return Follower(
            self._post.settings.paths.agent_socket,
            on_begin=begin,
            on_change=change,
            on_certificates=lambda: self._vet_again(math.inf),
            on_end=lambda: known.set_fresh(fresh=False),
        )

    def _vet_again(self, now: float) -> None:
        """Vet the certificates of those whose last vetting has run out by `now`. `inf`: of all, since what they are judged by has
        changed, or may have."""
        vetting = self._services.vetting
        if vetting is None:
            return
        if now == math.inf:
            vetting.forget()
        for front in self._crowd.fronts:
            if front.certificate is not None and front.vetted_until <= now and front not in self._vetting_again:
                task = asyncio.get_running_loop().create_task(self._vet_one(vetting, front, front.certificate))
                self._vetting_again[front] = task

    async def _vet_one(self, vetting: Vetting, front: FrontConnection, certificate: bytes) -> None:
        try:
            front.vetted(await vetting.vet(certificate))
        finally:
            del self._vetting_again[front]

    def _judge_again(self, keys: Iterable[DeviceKey] | None) -> None:
        """End what runs of these devices where it may no longer run.

        None: of all, after a time in which changes may have been missed, or when what the site says has changed. What
        cannot be read then ends nothing, since nothing says that it has changed; of an entry that has changed it does. A
        rule that denies needs no entry.
        """
        for exchange in self._services.account.running(keys):
            key = exchange.claim.key if exchange.claim is not None else None
            found = None if key is None else self._services.known.get(key)
            verdict = exchange.judged_anew(found)
            unread = isinstance(found, Unreadable) or verdict.action is Action.WAIT
            if keys is None and unread and verdict.action is not Action.BLOCK:
                continue
            policies = self._services.judge.policies
            if verdict.action not in (Action.ALLOW, Action.PROVISION):
                exchange.revoke(verdict)
            elif verdict.action is Action.PROVISION or policies.digest_of(found) != exchange.policy:
                exchange.renew(verdict)

    # Time

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._look_at_deadlines(loop.time())
            self._look_at_the_site()
            self._vet_again(time.time())
            self._tell()
        finally:  # a fault in one connection must not stop the clock of all
            pause = DRAIN_TICK_SECONDS if self._services.draining else TICK_SECONDS
            self._ticker = loop.call_later(pause, self._tick)

    def _look_at_deadlines(self, now: float) -> None:
        for front in list(self._crowd.fronts):
            front.tidy(now)
            if front.deadline < now:
                front.expire()
        if self._services.draining:
            done = not self._crowd.fronts and not self._services.wipe_marks.busy
            if done or now >= self._end + LAST_WORDS_SECONDS:
                self._over.set()
            elif now >= self._end:
                for front in list(self._crowd.fronts):
                    front.give_up()

    def _look_at_the_site(self) -> None:
        """End what a rule or observing has let through that has ended since the last look."""
        if self._services.judge.site.turn():
            self._judge_again(None)

    def _tell(self) -> None:
        self._tell_news()
        counters = self._counters
        counters.connections_now = len(self._crowd.fronts)
        counters.exchanges_now = sum(1 for _ in self._services.account.running())
        counters.audit_lines, counters.audit_dropped = self._trail.written, self._trail.dropped
        state = "draining" if self._services.draining else "running"
        life = Life(state=state, counters=counters, throttled=self._paused(), backends=self._standings())
        with contextlib.suppress(BlockingIOError, ConnectionError):  # a supervisor that is slow or gone
            self._post.channel.send(msgspec.json.encode(life))

    def _tell_news(self) -> None:
        waiting = self._reports.waiting
        with contextlib.suppress(BlockingIOError, ConnectionError):  # the rest goes with the next sign of life
            while waiting:
                self._post.channel.send(msgspec.json.encode(waiting[0]))
                waiting.popleft()

    def _standings(self) -> dict[str, Standing]:
        return {
            target.backend.name: Standing(up=target.health.up, reason=target.health.reason)
            for target in self._backends.targets
            if target.health is not None
        }

    def _paused(self) -> tuple[Paused, ...]:
        throttle = self._throttle
        if throttle is None:
            return ()
        pauses = throttle.pauses()[:THROTTLED_TOLD]
        return tuple(Paused(device=one.device, excess=one.excess, seconds=int(throttle.left(one))) for one in pauses)

    # Orders

    def _told(self) -> None:
        descriptors: list[int] = []
        try:
            orders, descriptors, _, _ = socket.recv_fds(self._post.channel, ORDER_BYTES, 1)
        except ConnectionError:
            orders = b""
        for descriptor in descriptors:
            self._take_rules(descriptor)
        if not orders:  # the supervisor is gone: its successor takes the sockets over
            asyncio.get_running_loop().remove_reader(self._post.channel)
            self._drain()
        elif orders == DRAIN:
            self._drain()
        elif orders == RETIRE:
            self._stop(RETIRED_SECONDS)
        elif orders == RENEW:
            self._renew()
        elif orders in (QUIESCE, RESUME):
            self._services.quiesced = orders == QUIESCE
        else:
            self._backends.hear(read_news(orders))

    def _renew(self) -> None:
        """The worker that has come has another policy, or other keys: whoever holds a Ping or nothing at all goes to it now."""
        for exchange in list(self._services.account.running()):
            exchange.renew(ALLOW)
        for front in list(self._crowd.fronts):
            front.drain()

    def _take_rules(self, descriptor: int) -> None:
        """Judge what runs by what the site says now."""
        try:
            # Not `read`: other workers have the same descriptor, with the one position of all.
            text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)
        # No `SettingsError` is expected: the supervisor has read the same text.
        fresh = parse(text, SETTINGS_PATH)
        self._services.judge.site = Site.of(fresh.gateway, names=fresh.principals.names())
        self._judge_again(None)

    def _drain(self) -> None:
        self._services.stopping = True
        self._stop(self._limits.drain_seconds)
        for door in self._doors:
            door.abandon()
        for front in list(self._crowd.fronts):
            front.drain()

    def _stop(self, seconds: float) -> None:
        for door in self._doors:
            if not self._services.draining:
                door.close()
        self._services.draining = True
        if self._checks is not None:
            self._checks.cancel()  # nobody new comes for whom it would matter
        loop = asyncio.get_running_loop()
        self._end = min(self._end, loop.time() + seconds)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = loop.call_later(DRAIN_TICK_SECONDS, self._tick)


def _backends(post: Post, reports: Reports) -> Backends:
    gateway = post.settings.gateway
    routing, seconds = gateway.routing, gateway.limits.backend_connect_seconds
    targets = [
        Target(backend, trust, Health(routing.passive, routing.active))
        for backend, trust in zip(gateway.backends, post.backends, strict=True)
    ]
    return Backends(targets, pools(gateway), routing, seconds, reports, Redirections(post.redirections))
