"""What configd does about certificates from an ACME server: it makes key and request, has the ACME service ask, and judges.

    due -> a key and a request are made -> the service is asked for the chain, again and again -> judged -> taken over, or refused

The service is asked as a stranger would be: whatever it answers, nothing is shown that would not be taken as an upload.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance import chains, keyring, obtained
from appliance.acme import api as acme_api
from appliance.alerts.happening import plain
from appliance.apply import ConflictError, Engine, stamp
from appliance.chains import Chain, ChainError
from appliance.configd.bringing import bring
from appliance.configd.gate import Gate
from appliance.configd.ordering import order
from appliance.configd.sessions import Sessions
from appliance.features.base import Tree
from appliance.process import CommandError
from appliance.system import Machine
from sentry_runtime import control

EVERY_SECONDS = 5.0  # between looks: how long a chain that came waits for being shown
IDLE_SECONDS = 60.0  # between looks at certificates that are not due: each is read and checked
TELL_SECONDS = 60.0  # between two lines of the audit trail on one service: the ACME service must not be able to fill it
AHEAD = timedelta(
    minutes=5
)  # by which an authority's clock may be ahead of ours: so long its certificate is waited for
CONFIGD = "configd"

_log = logging.getLogger(__name__)


class Acme:
    """`tick` is called once a second. `call` asks the ACME service; `clock` is monotonic, `wall_clock` says what time it is."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        sessions: Sessions,
        *,
        call: Callable[..., Any] = control.call,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._sessions = sessions
        self._call = call
        self._clock = clock
        self._wall_clock = wall_clock
        self._look_at = clock()
        self._seen = -1
        self._tree: Tree = {}
        self._idle_until: dict[str, float] = {}
        """Until when nothing is due for a service unless somebody orders it."""
        self._taken: dict[str, datetime] = {}
        """When the last certificate of a service was taken over."""
        self._told: dict[str, tuple[float, str, int]] = {}
        """Of each service, when the audit trail was told last, and what: the words, and after how many attempts."""
        self._refused: dict[str, tuple[str, str]] = {}
        """Of each service, the chain that was refused last, and why."""

    def tick(self) -> None:
        """Whatever is due. Raises what reading the store raises."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + EVERY_SECONDS
        running = self._engine.store.running()
        if running is None:
            return
        if running.revision != self._seen:
            current = self._engine.store.current()
            self._tree, self._seen = current.tree if current else {}, running.revision
            self._idle_until.clear()
        for service in obtained.places(self._tree):
            try:
                self._tend(service)
            except CommandError as error:
                self._tell(service, f"no request could be made: {error}")

    def _tend(self, service: str) -> None:
        machine, tree = self._engine.machine, self._tree
        request = keyring.ordered(service, machine)
        if request and not obtained.asks_for(request, tree, service):
            request = ""
        if not request:
            if self._clock() < self._idle_until.get(service, 0.0):
                return
            if not obtained.due(tree, service, machine, self._now(), since=self._taken.get(service)):
                self._idle_until[service] = self._clock() + IDLE_SECONDS
                return
            request = order(tree, service, machine, self._engine.store.trees())
        try:
            said = self._call(acme_api.SOCKET, acme_api.Obtain(service=service, request=request), acme_api.Standing)
        except control.ControlError as error:  # its unit says the rest; a fault of ours would be here
            _log.info("the ACME service is not to be asked: %s", error)
            return
        if said.state == "ready":
            self._take(service, said.chain, request)
        elif said.problem:
            self._tell(service, plain(said.problem, acme_api.WORDS_CHARACTERS), said.tries)

    def _take(self, service: str, text: str, request: str) -> None:
        """Judge a chain that came, and have it shown. One that was refused is not tried again."""
        refused = self._refused.get(service)
        if refused is not None and refused[0] == text:
            self._answer(service, refused[1])
            return
        try:
            chain = self._judged(service, text, request)
            if chain is None:
                return
            made = bring(self._engine, clock=self._now, first=lambda machine: _put(service, chain, machine))
        except ConflictError:  # the next look comes soon
            return
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being shown, it is said, and another one is asked for
            words = plain(" ".join(str(error).split()), acme_api.WORDS_CHARACTERS)
            self._refused[service] = (text, words)
            self._tell(service, words)
            self._answer(service, words)
            return
        self._taken[service] = self._now()
        self._told.pop(service, None)
        self._refused.pop(service, None)
        self._answer(service, "")
        notice = f"new certificates at {stamp(self._wall_clock())}: {', '.join(made) or service}, from the ACME server"
        self._sessions.tell_all(notice)
        self._gate.note("certificate.changed", CONFIGD, detail=notice)

    def _judged(self, service: str, text: str, request: str) -> Chain | None:
        """The chain up to a root that is believed; None while it is waited for its beginning. Raises `ChainError` with what
        is wrong first."""
        chain = chains.up_to(text, obtained.anchors(self._tree, self._engine.machine))
        if self._now() < chain[0].not_valid_before_utc <= self._now() + AHEAD:
            return None
        for flaw in obtained.flaws(chain, self._tree, service, request, self._now()):
            raise ChainError(flaw.found, flaw.allowed)
        return chain

    def _answer(self, service: str, problem: str) -> None:
        try:
            self._call(acme_api.SOCKET, acme_api.Judge(service=service, problem=problem))
        except control.ControlError as error:  # it asks again, or is asked for something else
            _log.info("the ACME service is not to be told: %s", error)

    def _tell(self, service: str, words: str, tries: int = 0) -> None:
        """Have the audit trail say of an attempt, once, why it came to nothing. `tries`: after how many, as the service counts;
        what configd found itself comes back from there as the words of the next."""
        when, last, counted = self._told.get(service, (-TELL_SECONDS, "", 0))
        if last == words and counted in (0, tries):
            self._told[service] = (when, words, tries)
            return
        if self._clock() < when + TELL_SECONDS:
            return
        self._told[service] = (self._clock(), words, tries)
        notice = f"no certificate for {service} from the ACME server: {words}; it is tried again"
        self._gate.note("certificate.not_obtained", CONFIGD, result="failed", detail=notice)
        _log.warning("%s", notice)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), UTC)


def _put(service: str, chain: Chain, machine: Machine) -> None:
    """Have a chain be the one that was taken over last; its request is answered."""
    place = obtained.path(service)
    new = f"{place}.new"
    argv = ["install", "-o", "root", "-g", "root", "-m", "0644", "--", "/dev/stdin", new]
    machine.run(argv, stdin=chains.pem(chain))
    machine.run(["mv", "-f", "-T", "--", new, place])
    machine.run(["rm", "-f", "--", keyring.order_path(service)])
