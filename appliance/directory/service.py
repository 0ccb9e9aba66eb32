"""The service: which server is asked, for how long, and what is said when none answers."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from appliance.aside import aside
from appliance.directory import talk
from appliance.directory.api import WORDS_CHARACTERS, Ask, Look, Proof, Report, Standing, Status
from appliance.directory.bounds import seconds_of
from appliance.directory.failing import AccountRefusedError, DirectoryError
from appliance.directory.names import Names
from appliance.directory.settings import Server, Settings

AT_ONCE = (
    16  # talks with one server, each a thread; configd has fewer log-ins at once, so only talks that hang meet this
)
PUT_BACK_SECONDS = (
    30.0  # a server that was away is asked after the others for so long: people do not wait for it each time
)
LOOKED_SECONDS = (
    5.0  # a look is as good as the last one for so long, so that wrong log-ins do not become a stream of them
)
WATCH_SECONDS = 300.0  # between looks by the clock: an outage is known before most people come to log in
SILENT_SECONDS = 60.0  # while nobody can be asked, so that the end of it is known soon
# For so long looks by the clock leave out a server that refuses our account. Directories lock accounts by the wrong passwords of
# a quarter of an hour, some by three; a locked one stays so for a while after the right password is set here. Log-ins and
# `show directory` try it all the same.
REFUSED_SECONDS = 3_600.0

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Service:
    """`names` says where the servers are; `clock` gives monotonic seconds."""

    def __init__(
        self, settings: Settings, names: Names | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._names = names or Names()
        self._clock = clock
        self._away: dict[Server, float] = {}
        """When a server was found away last."""
        self._free = {server: threading.BoundedSemaphore(AT_ONCE) for server in settings.servers}
        """One for each: a server whose talks hang closes no other."""
        self._standings: dict[Server, Standing] = {}
        """What was found of each last."""
        self._report = Report(servers=())
        """The same for whoever asks."""
        self._looked = float("-inf")
        """When it was found of all."""
        self._refused: dict[Server, float] = {}
        """Who refused our account when they were looked at last, and when that was."""
        self._looking = asyncio.Lock()

    async def answer(self, asked: Ask) -> Proof | Report:
        """What configd asks."""
        if isinstance(asked, Status):
            return self._report
        if isinstance(asked, Look):
            return await self._look()
        return await self._prove(asked.user, asked.password)

    async def run(self, stop: asyncio.Event) -> None:
        """Look by the clock until `stop`, so that an outage is known while nobody logs in."""
        ending, watching = asyncio.create_task(stop.wait()), asyncio.create_task(self._watch())
        try:
            await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            watching.cancel()
        if watching.done():
            watching.result()  # it ends by an error alone, which nobody foresaw

    async def _watch(self) -> None:
        while True:
            report = await self.look_by_the_clock()
            await asyncio.sleep(self.pause(report))

    @staticmethod
    def pause(report: Report) -> float:
        """Seconds until the next look by the clock after the one that said this."""
        return SILENT_SECONDS if report.silent else WATCH_SECONDS

    async def look_by_the_clock(self) -> Report:
        """As whoever asks for a look has it, but without those that refused our account a while ago: what was found of them
        stands."""
        since = self._clock() - REFUSED_SECONDS
        known = self._refused.keys() & self._standings.keys()
        return await self._look({server for server in known if self._refused[server] > since})

    async def _prove(self, user: str, password: str) -> Proof:
        """The word of the first server that has one."""
        problems = []
        for server in self._order():
            try:
                return await self._talk(server, partial(self._proof, server, user, password))
            except DirectoryError as error:
                problems.append(f"{_name(server)}: {_line(str(error))}")
        words = _line("; ".join(problems))
        _log.warning("nobody of the directory answers: %s", words)
        return Proof(outcome="silent", problem=words)

    def _proof(self, server: Server, user: str, password: str, secret: str) -> Proof:
        return talk.prove(self._settings, server, secret, user, password, names=self._names)

    async def _look(self, spared: Collection[Server] = ()) -> Report:
        """Every server that is not spared, all at once; one look at a time."""
        async with self._looking:
            if self._clock() < self._looked + LOOKED_SECONDS:
                return self._report
            asked = [server for server in self._settings.servers if server not in spared]
            self._found(dict(zip(asked, await asyncio.gather(*map(self._standing, asked)), strict=True)))
            if not spared:
                self._looked = self._clock()
            return self._report

    def _found(self, standings: Mapping[Server, Standing]) -> None:
        self._standings |= standings
        every = (self._standings.get(server) for server in self._settings.servers)
        self._report = Report(servers=tuple(one for one in every if one is not None))

    async def _standing(self, server: Server) -> Standing:
        began, problem, refused = self._clock(), "", False
        try:
            await self._talk(server, lambda secret: talk.look(self._settings, server, secret, names=self._names))
        except DirectoryError as error:
            problem = _line(str(error))
            refused = isinstance(error, AccountRefusedError)
        if refused:
            self._refused[server] = self._clock()
        else:
            self._refused.pop(server, None)
        return Standing(server=_name(server), problem=problem, seconds=self._clock() - began)

    async def _talk(self, server: Server, work: Callable[[str], Result]) -> Result:
        """Talk in a thread of its own, for a bounded time; `work` gets the password of the appliance's account. Raises
        `DirectoryError`, and remembers that."""
        began, secret = self._clock(), self._secret()
        free = self._free[server]
        if not free.acquire(blocking=False):
            raise DirectoryError(f"{AT_ONCE} talks are under way already")

        def held() -> Result:
            try:
                return work(secret)
            finally:
                free.release()

        limit = seconds_of(self._settings)  # the thread ends by itself by then
        try:
            talking = aside(held, "directory")
        except RuntimeError as error:  # no thread, as at TasksMax
            free.release()
            raise DirectoryError(f"it cannot be asked now: {error}") from error
        try:
            async with asyncio.timeout(limit):
                said = await talking
        except TimeoutError as error:
            self._away[server] = self._clock()
            raise DirectoryError(f"no answer within {limit:.0f} seconds") from error
        except DirectoryError:
            self._away[server] = self._clock()
            raise
        self._away.pop(server, None)
        if self._refused.pop(server, None) is not None:  # it takes our account again, and nobody needs to look
            self._found({server: Standing(server=_name(server), seconds=self._clock() - began)})
        return said

    def _order(self) -> list[Server]:
        """The servers as they are set, those behind that were away a moment ago."""
        now = self._clock()
        return sorted(
            self._settings.servers,
            key=lambda server: now < self._away.get(server, float("-inf")) + PUT_BACK_SECONDS,
        )

    def _secret(self) -> str:
        """The password of the appliance's account, as it lies there now; "" where there is no account. Raises
        `DirectoryError`, which says nothing of it."""
        if self._settings.bind == "user":
            return ""
        try:
            return Path(self._settings.password_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise DirectoryError("the password of the appliance's own account cannot be read") from None


def _name(server: Server) -> str:
    return f"{server.host}:{server.port}"


def _line(text: str) -> str:
    """One printable line: a server elsewhere may have had a word in it."""
    plain = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return plain[:WORDS_CHARACTERS]
