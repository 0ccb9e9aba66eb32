"""The gateway's first process: opens the sockets, keeps the workers alive, renews and ends them.

It forks, so it has no event loop and no thread: one `select` over signals, the workers' channels and the control socket.
A worker that dies is replaced at once on the sockets it had, which stayed open here. New settings start new workers; the old
ones are retired: they take no new connection and go when what they hold has ended, so a reload drops no Ping.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from pathlib import Path

from sentry_runtime import control, fips
from sentry_runtime.devices.store import Reader
from sentry_runtime.gateway import explain, front, listener
from sentry_runtime.gateway.control_port import ControlPort, Handlers, Orders
from sentry_runtime.gateway.desk import RedirectDesk
from sentry_runtime.gateway.generation import Generation, Place, Running, prepare
from sentry_runtime.gateway.redirects import Forgotten, Learned, News
from sentry_runtime.gateway.reports import summed
from sentry_runtime.gateway.worker_channel import (
    DRAIN,
    PACKET_BYTES,
    QUIESCE,
    RENEW,
    RESUME,
    RETIRE,
    Life,
    PacketError,
    read_packet,
)
from sentry_runtime.metrics import Counters
from sentry_runtime.settings import SettingsError
from sentry_runtime.systemd import Notifier

HANG_SECONDS = 15.0  # without a sign of life (one each second) a worker is taken for hung and killed
AWAY_SECONDS = 5.0  # between two rounds of half a second: the machine was stopped, or had no time at all for us
EARLY_SECONDS = 1.0  # a worker that lives no longer than this did not start well
RESTART_SECONDS_MAX = 2.0  # the longest pause before another attempt; kill -9 must be mended within 3 s
GRACE_SECONDS = 5.0  # beyond drain_seconds, before a worker that will not end is killed
RETIRED_GENERATIONS = 2  # older ones are drained: each holds the memory of a worker
SELECT_SECONDS = 0.5

COMPILED = front.__file__.endswith(".so")  # the hot modules, as on the appliance; elsewhere they may be plain Python

log = logging.getLogger(__name__)


class Supervisor:
    """Runs until SIGTERM. `path` is read again on SIGHUP."""

    def __init__(self, path: Path, first: Generation, notifier: Notifier) -> None:
        self._path = path
        self._now = first
        self._notifier = notifier
        self._retired: list[Running] = []
        self._past = Counters()  # of workers that have ended
        self._restarts = 0
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._orders: set[int] = set()
        self._quiesced = False  # outlives a reload, not a restart; so does `_draining`
        self._draining = False
        self._stop_by = float("inf")
        self._ready = False
        self._looked = time.monotonic()
        self._reload_error = ""  # why the last reading of the settings changed nothing
        self._redirects = RedirectDesk(self._spread, lambda: self._now.judge.site.names)
        orders: Orders = {control.Quiesce: self.quiesce, control.Drain: self.drain, control.Resume: self.resume}
        handlers = Handlers(self.status, self.explain, self._redirects.serve, orders)
        self._control = ControlPort(first.settings.paths.gateway_control, self._selector, handlers)

    def run(self) -> None:
        """Work until SIGTERM and the end of all workers. Raises `OSError` when an address or the control socket is taken."""
        self._catch_signals()
        self._control.open()
        for _ in range(self._now.settings.gateway.worker_count):
            self._now.places.append(Place(listener.open_sockets(self._now.settings.gateway)))
        while not self._over():
            self._round()
        self._control.close()

    def status(self) -> dict[str, int | str]:
        """What the gateway is doing, as one flat object."""
        total = Counters()
        total.add(self._past)
        alive = self._all()
        for one in alive:
            if one.life is not None:
                total.add(one.life.counters)
        state = "quiesced" if self._quiesced else "running"
        if self._draining:
            state = "draining" if alive else "drained"
        words: dict[str, int | str] = {
            "state": state,
            "workers": sum(place.running is not None for place in self._now.places),
            "workers_retired": len(self._retired),
            "restarts": self._restarts,
            "compiled": COMPILED,
            "settings_digest": self._now.digest,
            "settings_time": int(self._now.time),
            "reload_error": self._reload_error,
            "rules_in_force": self._now.judge.site.in_force,
            "observing_until": self._observing_until(),
        }
        seen = [place.running.life.backends for place in self._now.places if place.running and place.running.life]
        names = (backend.name for backend in self._now.settings.gateway.backends)
        return words | {name: getattr(total, name) for name in total.__struct_fields__} | summed(names, seen)

    def _observing_until(self) -> str:
        observe = self._now.settings.gateway.observe
        return observe.until if observe is not None and self._now.judge.site.observing else ""

    def explain(self, asked: control.Explain) -> control.Explanation:
        """What would become of such a request, and why. Raises `Refused`.

        The device list is opened for this one look, so that no worker ever inherits it.
        """
        settings = self._now.settings
        lives = [one.life for one in self._all() if one.life is not None]
        notice = settings.gateway.block_notice
        return explain.explanation(asked, self._now.judge, lambda: Reader(settings.paths.devices), lives, notice)

    def quiesce(self) -> str:
        """Have `/health` say that nobody more should be sent here; everything is served as before."""
        self._quiesced = True
        for one in self._all():
            one.tell(QUIESCE)
        return ""

    def drain(self) -> str:
        """Take no new connection and finish what runs, until `resume`."""
        self._draining = True
        for one in self._all():
            one.tell(DRAIN)
        for place in self._now.places:
            _close_all(place.sockets)
        return ""

    def resume(self) -> str:
        """End what `quiesce` and `drain` began. Says why, where the addresses cannot be had any more."""
        if self._stop_by < float("inf"):
            return "the gateway is about to end"
        if self._draining:
            try:
                self._begin(self._now, [])
            except OSError as error:
                return str(error)
        self._quiesced = False
        for one in self._all():
            one.tell(RESUME)
        return ""

    # One round

    def _round(self) -> None:
        for key, _ in self._selector.select(SELECT_SECONDS):
            key.data()
        self._reap()
        now = time.monotonic()
        self._watch(now)
        if signal.SIGTERM in self._orders and self._stop_by == float("inf"):
            self._stop(now)
        if signal.SIGHUP in self._orders:
            self._orders.discard(signal.SIGHUP)
            self._reload()
        if not self._draining:
            for place in self._now.places:
                if place.running is None and now >= place.not_before:
                    self._start(place)
        if self._notifier.watchdog_seconds is not None:
            self._notifier.send("WATCHDOG=1")

    def _over(self) -> bool:
        return self._stop_by < float("inf") and not self._all()

    def _all(self) -> list[Running]:
        return [place.running for place in self._now.places if place.running is not None] + self._retired

    def _watch(self, now: float) -> None:
        if now - self._looked > AWAY_SECONDS:
            for (
                one
            ) in self._all():  # this process has been away itself, with its workers perhaps: they get their time anew
                one.seen = now
        self._looked = now
        for one in self._all():
            if now - one.seen > HANG_SECONDS or now > self._stop_by:
                log.error("worker %d shows no sign of life or does not end: killed", one.pid)
                os.kill(one.pid, signal.SIGKILL)
                one.seen = now
        if not self._ready and all(place.running and place.running.life for place in self._now.places):
            self._ready = True
            self._notifier.send("READY=1")
            self._tell_systemd()

    def _stop(self, now: float) -> None:
        self._notifier.send("STOPPING=1")
        self._stop_by = now + self._now.settings.gateway.limits.drain_seconds + GRACE_SECONDS
        self.drain()

    def _tell_systemd(self) -> None:
        force = f"{fips.state()}; settings {self._now.digest[:12]} in force"
        error = " ".join(self._reload_error.split())  # one line, whatever the error quotes
        self._notifier.send(f"STATUS={force}; the last reload changed nothing: {error}" if error else f"STATUS={force}")

    # Workers

    def _start(self, place: Place) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(place, theirs)
        theirs.close()
        ours.settimeout(0)
        now = time.monotonic()
        running = Running(pid, ours, now, now)
        place.running = running
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(running))

    def _become_worker(self, place: Place, channel: socket.socket) -> None:
        """In the child: let go of everything that is the supervisor's, work, and never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            self._control.abandon()
            for one in (self._wake_in, self._wake_out, *(other.channel for other in self._all())):
                one.close()
            for other in self._now.places:
                if other is not place:
                    _close_all(other.sockets)
            self._now.start(place.sockets, channel, tuple(self._redirects.known), self._quiesced)
            code = 0
        except Exception:  # the process boundary: told to the journal, and the supervisor sees the code
            log.exception("worker %d failed", os.getpid())
        finally:
            os._exit(code)

    def _hear(self, one: Running) -> None:
        try:
            packet = one.channel.recv(PACKET_BYTES)
        except (BlockingIOError, ConnectionError):
            return
        if not packet:  # it has ended or is about to; `_reap` hears of it from the kernel
            self._selector.unregister(one.channel)
            return
        try:
            said = read_packet(packet)
        except PacketError as error:
            log.error("worker %d says what no worker says (%s): killed", one.pid, error)
            os.kill(one.pid, signal.SIGKILL)
        else:
            self._take(one, said)

    def _take(self, one: Running, packet: Life | News) -> None:
        match packet:
            case Life():
                one.life = packet
                one.seen = time.monotonic()
            case Learned() | Forgotten():
                self._redirects.known.apply(packet)
                self._spread(packet, but=one)

    def _spread(self, news: News, but: Running | None = None) -> None:
        """Tell the workers where a device has been sent, or that it has not any more."""
        for one in self._all():
            if one is not but:
                one.pass_on(news)

    def _reap(self) -> None:
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, os.waitstatus_to_exitcode(code))

    def _ended(self, pid: int, code: int) -> None:
        for place in self._now.places:
            if place.running is not None and place.running.pid == pid:
                self._forget(place.running)
                self._replace(place, place.running, code)
                place.running = None
        for one in [one for one in self._retired if one.pid == pid]:
            self._forget(one)
            self._retired.remove(one)

    def _replace(self, place: Place, ended: Running, code: int) -> None:
        if self._draining:
            return
        now = time.monotonic()
        self._restarts += 1
        early = now - ended.started < EARLY_SECONDS
        place.early_deaths = place.early_deaths + 1 if early else 0
        pause = min(0.1 * 2**place.early_deaths, RESTART_SECONDS_MAX) if early else 0.0
        place.not_before = now + pause
        log.warning("worker %d ended with %d; the next one starts in %.1f s", ended.pid, code, pause)

    def _forget(self, one: Running) -> None:
        if one.life is not None:
            one.life.counters.connections_now = 0
            one.life.counters.exchanges_now = 0
            self._past.add(one.life.counters)
        with contextlib.suppress(KeyError):
            self._selector.unregister(one.channel)
        one.channel.close()

    # New settings

    def _reload(self) -> None:
        if self._stop_by < float("inf"):
            return
        old = self._now
        try:
            fresh = prepare(self._path, old.policy)
            if not self._draining:
                same = fresh.settings.gateway.listeners == old.settings.gateway.listeners
                self._begin(fresh, [place.sockets for place in old.places] if same else [])
        except (SettingsError, OSError, ValueError) as error:  # ValueError: a path that no file can have
            log.error("the settings in force stay: %s", error)
            self._reload_error = str(error)
            self._tell_systemd()
            return
        if self._draining:  # what was drained stays so: the settings are those that `resume` begins with
            self._retire([place.running for place in old.places if place.running is not None], fresh.text)
            self._now = fresh
        if not fresh.policy.same_keys(old.policy):
            for one in self._retired:
                one.tell(RENEW)
        self._reload_error = ""
        self._tell_systemd()
        log.info("new settings are in force")

    def _begin(self, fresh: Generation, kept: list[list[socket.socket]]) -> None:
        """Start workers of this generation, on the sockets that are kept and on new ones; those that worked so far retire.

        Raises `OSError` naming the address; then everything is as before.
        """
        gateway, old = fresh.settings.gateway, self._now.places
        places = [Place(sockets) for sockets in kept[: gateway.worker_count]]
        try:
            while len(places) < gateway.worker_count:
                places.append(Place(listener.open_sockets(gateway)))
        except OSError:
            for place in places[len(kept) :]:
                _close_all(place.sockets)
            raise
        for place in old:
            if place.sockets not in kept[: len(places)]:
                _close_all(place.sockets)
        ended = [place.running for place in old if place.running is not None]
        fresh.places = places
        self._now = fresh
        self._draining = False
        for place in places:
            self._start(place)
        self._retire(ended, fresh.text)

    def _retire(self, ended: list[Running], text: bytes) -> None:
        """Let these take no new connection. What the site says now, in the settings' `text`, is for all that still runs."""
        self._retired += ended
        descriptor = os.memfd_create("settings")  # a packet of the channel might be too small for it
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(text)
            for one in self._retired:
                one.tell(RETIRE, descriptor)
        finally:
            os.close(descriptor)
        too_many = len(self._retired) - RETIRED_GENERATIONS * max(1, len(self._now.places))
        for one in self._retired[: max(0, too_many)]:
            one.tell(DRAIN)

    # Signals

    def _catch_signals(self) -> None:
        self._wake_in.settimeout(0)
        self._wake_out.settimeout(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._caught)
        signal.set_wakeup_fd(self._wake_out.fileno())
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)

    def _caught(self, number: int, _frame: object) -> None:
        self._orders.add(signal.SIGTERM if number == signal.SIGINT else number)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(4_096)


def _close_all(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()
