"""The ACME service put together: it takes configd's orders, tries them one after the other, and says how they stand."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable

import msgspec

from appliance.acme import orders
from appliance.acme.answering import answering
from appliance.acme.api import CHAIN_CHARACTERS, Ask, Judge, Obtain, Report, Standing, Status
from appliance.acme.keep import Keep
from appliance.acme.orders import State
from appliance.acme.settings import Settings
from appliance.acme.talk import Notes, TalkError, obtain
from appliance.aside import aside
from appliance.state_file import KeepError

LOOK_SECONDS = 1.0  # between looks at what is due; a look costs nothing
WANTED_SECONDS = 60.0  # after configd asked last; it asks every five seconds for as long as it wants a certificate
ATTEMPT_SECONDS = 600.0  # for a whole attempt; the waits within one are four minutes together

_log = logging.getLogger(__name__)


class StuckError(RuntimeError):
    """An attempt does not end: the server keeps its thread, so the process must go."""


class Service:
    """One attempt after the other; what must outlive the process is on the disk before it is acted on."""

    def __init__(
        self,
        settings: Settings,
        keep: Keep,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self._settings = settings
        self._keep = keep
        self._wall = wall
        self._clock = clock
        self._asked: dict[str, float] = {}
        """When configd asked for each service last."""
        self._attempt_seconds = attempt_seconds
        self._working: str | None = None
        self._proofs: dict[str, str] = {}
        digest = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()
        self._state = keep.load()
        if self._state.settings != digest:  # another server, another account, or a mistake that was mended
            self._state = State(settings=digest)
            keep.save(self._state)

    # --- answering -----------------------------------------------------------------------------------------------

    async def answer(self, asked: Ask) -> Standing | Report | None:
        """What configd asks."""
        state, now = self._state, self._wall()
        if isinstance(asked, Status):
            return orders.report(state, self._settings.directory, now, working=self._working)
        before = msgspec.json.encode(state)
        if isinstance(asked, Obtain):
            self._asked[asked.service] = self._clock()
            known = orders.ask(state, asked.service, asked.request)
            said = self._standing(asked) if known is not None else Standing(state="waits", problem="too many orders")
        else:
            said = None
            self._judged(asked, now)
        if msgspec.json.encode(state) != before:
            self._save()
        return said

    def _standing(self, asked: Obtain) -> Standing:
        return orders.standing(self._state, asked.service, self._wall(), working=self._working, chain=True)

    def _judged(self, asked: Judge, now: float) -> None:
        orders.judge(self._state, asked.service, asked.problem, now)
        if asked.problem:
            _log.warning("%s: configd refuses the certificate: %s", asked.service, asked.problem)

    def _save(self) -> None:
        """A disk that takes nothing ends no talk: it goes on from memory, and a restart asks again."""
        try:
            self._keep.save(self._state)
        except KeepError as error:
            _log.error("%s", error)

    # --- trying --------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Try what is due until `stop`. An attempt that is under way then is left: it is made again. Raises `StuckError`."""
        while not stop.is_set():
            ending = asyncio.create_task(stop.wait())
            trying = asyncio.create_task(self.look())
            await asyncio.wait({ending, trying}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                trying.cancel()
            else:
                await trying
                await asyncio.wait({ending}, timeout=LOOK_SECONDS)
            ending.cancel()

    async def look(self) -> None:
        """Try the order that is due, if one is. What configd does not ask for any more is wanted by nobody."""
        wanted = [name for name, when in self._asked.items() if self._clock() < when + WANTED_SECONDS]
        service = orders.due(self._state, self._wall(), wanted)
        if service is None:
            return
        order = self._state.orders[service]
        self._working = service
        orders.begin(self._state, service, self._wall())
        self._save()
        try:
            chain = await self._attempt(service, order)
        except TalkError as error:
            _log.warning("%s: no certificate: %s", service, error)
            self._failed(service, order, str(error), error.hold)
        except StuckError as error:
            self._failed(service, order, str(error), None)
            raise
        else:
            if self._state.orders.get(service) is order:
                orders.obtain(self._state, service, chain, self._wall())
            self._save()
        finally:
            self._working = None

    def _failed(self, service: str, order: orders.Order, words: str, hold: float | None) -> None:
        if self._state.orders.get(service) is order:  # else another request has taken its place
            orders.fail(self._state, service, words, self._wall(), hold=hold)
        self._save()

    async def _attempt(self, service: str, order: orders.Order) -> str:
        """The chain for an order; raises `TalkError` or `StuckError`."""
        settings, loop = self._settings, asyncio.get_running_loop()

        def noted(change: Callable[[str], None]) -> Callable[[str], None]:
            async def write(words: str) -> None:
                change(words)
                self._save()

            return lambda words: asyncio.run_coroutine_threadsafe(write(words), loop).result()

        notes = Notes(
            account=noted(lambda url: setattr(self._state, "account", url)),
            finalizing=noted(lambda url: setattr(order, "finalizing", url)),
        )
        _log.info("%s: asking %s for a certificate", service, settings.directory)
        try:
            async with answering(settings.listen, settings.port, self._proofs):
                account = self._state.account
                chain = await asyncio.wait_for(
                    aside(lambda: obtain(settings, self._keep, account, order, self._proofs, notes), "acme"),
                    self._attempt_seconds,
                )
        except TimeoutError as error:
            raise StuckError(f"no end within {self._attempt_seconds:.0f} seconds") from error
        except OSError as error:
            raise TalkError(f"port {settings.port} cannot be listened on: {error.strerror or error}") from error
        if len(chain) > CHAIN_CHARACTERS:
            raise TalkError(f"the chain has {len(chain)} characters; allowed: {CHAIN_CHARACTERS}")
        return chain
