"""The alert service put together: it looks, decides, writes down, sends, and answers configd."""

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Protocol

from appliance.alerts import conditions, entries, letter
from appliance.alerts.api import Ask, Report, Row, Status, Tested
from appliance.alerts.desk import Desk, rebased
from appliance.alerts.happening import SUBJECT_CHARACTERS, WORDS_CHARACTERS, Event, plain
from appliance.alerts.keep import Keep
from appliance.alerts.looking import LINES, LookError, Sources
from appliance.alerts.post import Delivery, Post
from appliance.alerts.settings import Settings
from appliance.alerts.state import Item
from appliance.alerts.table import ALERTS, Severity
from appliance.configd.api import Health
from appliance.system import Boot

LOOK_SECONDS = 5.0  # the journal: the longest an event waits to be noticed
HEALTH_SECONDS = 30.0  # configd's facts: a question takes it and the data plane some milliseconds
THOROUGH_SECONDS = 3_600.0  # certificates and FIPS: each takes a process with the module's self-test
PRIORITIES: dict[Severity, int] = {"critical": 2, "warning": 4, "notice": 5}  # RFC 5424 table 2

_log = logging.getLogger(__name__)


class Poster(Protocol):
    """Who takes mails to the server: `appliance.alerts.post.Post`."""

    def send(self, mail: EmailMessage, settings: Settings) -> Delivery:
        """Send it; blocking."""

    def end(self) -> None:
        """End what is being sent."""


def _new_name() -> str:
    return uuid.uuid4().hex


def _to_journal(line: str) -> None:
    """systemd reads the priority from the line's beginning (sd-daemon(3)); rsyslog gets it from the journal."""
    sys.stderr.write(line)
    sys.stderr.flush()


class Service:
    """One look after the other, and a mail whenever one is due; what is said to the disk is said before it is done."""

    def __init__(
        self,
        settings: Settings,
        keep: Keep,
        sources: Sources,
        *,
        post: Poster | None = None,
        boot: Boot | None = None,
        wall: Callable[[], float] = time.time,
        name: Callable[[], str] = _new_name,
        log: Callable[[str], object] = _to_journal,
        publish: Callable[[Health], None] = lambda _health: None,
    ) -> None:
        self._settings = settings
        self._keep = keep
        self._sources = sources
        self._post = post or Post()
        self._boot = boot or Boot()
        self._wall = wall
        self._name = name
        self._log = log
        self._publish = publish
        self._unpublished = False
        self._health_due = self._thorough_due = 0.0
        self._blind = False
        self._trial = asyncio.Lock()
        state, problem = keep.load()
        rebased(state, boot=self._boot.name(), now=self._now(), when=wall())
        self.desk = Desk(state, settings, name=name)
        if problem:
            self._incomplete("state", problem)

    def _now(self) -> float:
        return self._boot.seconds()

    # --- looking -------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """One look at everything that is due. What does not answer is an alert itself."""
        await self._read_journal()
        if self._now() >= self._health_due:
            self._health_due = self._now() + HEALTH_SECONDS
            await self._ask_configd()
        self._write_log()
        self._save()

    async def _read_journal(self) -> None:
        state = self.desk.state
        try:
            if not state.cursor:
                state.cursor = await asyncio.to_thread(self._sources.newest)
            count = LINES
            while count >= LINES:
                lines = await asyncio.to_thread(self._sources.lines, state.cursor)
                count = len(lines)
                for line in lines:
                    for event in entries.events_of(line):
                        self.desk.happen(event, self._now())
                    state.cursor = line.cursor
        except LookError as error:
            if not self._blind:
                self._incomplete("journal", f"the journal cannot be read: {error}")
            self._blind = True
            return
        self._blind = False

    async def _ask_configd(self) -> None:
        thorough = self._now() >= self._thorough_due
        try:
            health = await asyncio.to_thread(self._sources.health, thorough=thorough)
        except LookError as error:
            self.desk.look(conditions.silent(str(error)), self._wall(), self._now())
            return
        if thorough:
            self._thorough_due = self._now() + THOROUGH_SECONDS
        self._hand_on(health)
        found = conditions.looked(health, self._settings, self.desk.state.counters, self._wall())
        self.desk.look(found, self._wall(), self._now())

    def _hand_on(self, health: Health) -> None:
        """What SNMP serves. That it cannot be written is said once; snmpd then serves nothing that is old."""
        try:
            self._publish(health)
        except (OSError, ValueError) as error:
            if not self._unpublished:
                _log.error("the figures for SNMP could not be written: %s", error)
            self._unpublished = True
            return
        self._unpublished = False

    def _incomplete(self, subject: str, problem: str) -> None:
        words = plain(" ".join(problem.split()), WORDS_CHARACTERS)
        self.desk.happen(Event("alerts_incomplete", subject, words, self._wall()), self._now())

    # --- telling -------------------------------------------------------------------------------------------------

    def _write_log(self) -> None:
        """Every alert whose action is not `none` has its line in the system's log."""
        for item in self.desk.log:
            state = "over" if item.over else "raised"
            severity = ALERTS[item.alert].severity
            self._log(f"<{PRIORITIES[severity]}>alert {item.alert} {state}: {item.subject}: {item.words}\n")
        self.desk.log.clear()

    async def tell(self) -> None:
        """Send the mail that is due, if one is."""
        due = self.desk.next_letter(self._now())
        if due is None:
            return
        self._save()  # before it is sent: after a crash it is known that it may have been
        try:
            made = letter.mail(due, self._settings, self._wall())
            delivery = await asyncio.to_thread(self._post.send, made, self._settings)
        except Exception as error:  # noqa: BLE001 - a mail that cannot be made or sent must not end what looks; it is tried again
            _log.exception("a mail could not be sent")
            delivery = Delivery("not_sent", f"an error inside the alert service ({type(error).__name__})")
        if delivery.result != "sent":
            _log.warning("no mail was sent: %s", delivery.answer)
        self.desk.came_of_it(delivery.result, delivery.answer, self._now())
        self._save()

    def _save(self, *, last: bool = False) -> None:
        state = self.desk.state
        state.boot, state.clock, state.wall = self._boot.name(), self._now(), self._wall()
        self._keep.save(state, last=last)

    async def run(self, stop: asyncio.Event) -> None:
        """Look and tell until `stop`. A mail that is on its way then is cut off: what became of it is written down."""
        looking = asyncio.create_task(self._again(self.look, stop))
        telling = asyncio.create_task(self._again(self.tell, stop))
        await stop.wait()
        self._post.end()
        await asyncio.gather(looking, telling)
        self._save(last=True)

    @staticmethod
    async def _again(what: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            await what()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue

    # --- answering -----------------------------------------------------------------------------------------------

    async def answer(self, asked: Ask) -> Report | Tested:
        """What configd asks."""
        return self.report() if isinstance(asked, Status) else await self._test(asked.by)

    async def _test(self, by: str) -> Tested:
        if not self._settings.recipients:
            return Tested(sent=False, answer="no recipients are configured: set alerts recipients and email server")
        if self._trial.locked():
            return Tested(sent=False, answer="another test is being sent; try again when it is done")
        async with self._trial:
            made = letter.trial(self._name(), by, self._settings, self._wall())
            delivery = await asyncio.to_thread(self._post.send, made, self._settings)
        return Tested(sent=delivery.result == "sent", answer=delivery.answer)

    def report(self) -> Report:
        """How it stands."""
        settings, state = self._settings, self.desk.state
        waiting = [*(state.letter.items if state.letter is not None else ()), *state.waiting]
        server = settings.server
        return Report(
            server="" if server is None else f"{server.host} port {server.port} ({server.security})",
            sender="" if server is None else server.sender,
            recipients=settings.recipients,
            per_hour=settings.per_hour,
            batch_minutes=settings.batch_minutes,
            actions=dict(settings.actions),
            sent_last_hour=len(state.sent),
            rows=(
                *(_row(item, "waits") for item in waiting),
                *(_row(past.item, past.how) for past in reversed(state.past)),
            ),
            lost=state.lost,
            answer=state.answer,
            problem=state.problem,
        )


def _row(item: Item, how: str) -> Row:
    return Row(
        alert=item.alert,
        subject=plain(item.subject, SUBJECT_CHARACTERS),
        words=item.words,
        first=item.first,
        last=item.last,
        count=item.count,
        over=item.over,
        how=how,
    )
