"""What has happened in, which mails to send out (pure: both clocks are given).

    an event or condition -> the action of its alert -> waiting -> a letter -> sent, or back to waiting

What repeats is counted and not told again: while it waits it is one item, and after its mail it waits for an hour. What is
over says so. A mail takes all that waits; there are never more in an hour than the settings say, and the last one of an hour is
kept for what is critical. Nothing leaves unnoticed: what finds no room is counted, and the next mail says how much that was.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from appliance.alerts.happening import Condition, Event, Looked
from appliance.alerts.settings import Settings
from appliance.alerts.state import Item, Key, Letter, Past, Standing, State, key_of
from appliance.alerts.table import ALERTS, Action

HOUR = 3_600.0
WAITING = 500  # items; each is below 2 KiB on the disk. Beyond it a machine has one trouble, not hundreds
LETTER_ITEMS = 100  # lines that somebody reads; the rest goes with the next mail
STANDING = 500  # conditions: the services, backends, disks and certificates of a large site are a tenth of it
LATELY = 1_000
PAST = 100  # what `show alerts` tells of the past
REFUSED_SECONDS = 900.0  # within this time refused log-ins count together (V-250986 counts so, too)
FIRST_TRY, LAST_TRY = 15.0, 900.0  # between attempts: doubled from the one to the other

Result = Literal["sent", "not_sent", "unknown"]
"""What became of a mail. `unknown`: the server may have taken it before the connection ended."""


class Desk:
    """Decides over `state`. `now` is a clock that nobody can set, `when` the time of day; `name` makes a mail's name."""

    def __init__(self, state: State, settings: Settings, *, name: Callable[[], str]) -> None:
        self.state = state
        self._settings = settings
        self._name = name
        self.log: list[Item] = []
        """What is to be written to the system's log; whoever writes it empties this."""

    # --- in ------------------------------------------------------------------------------------------------------

    def happen(self, event: Event, now: float) -> None:
        """Take one event."""
        if event.alert == "logins_refused":
            event_of_many = self._many_refused(event)
            if event_of_many is None:
                return
            event = event_of_many
        self._tell(event.alert, event.subject, event.words, event.when, now)

    def look(self, looked: Looked, when: float, now: float) -> None:
        """Take what holds now: what is new and has held for long enough is raised, what is gone is over."""
        for event in looked.events:
            self.happen(event, now)
        found = {key_of(one.alert, one.subject): one for one in looked.conditions}
        for key, condition in found.items():
            self._holds(key, condition, when, now)
        for key in [key for key in self.state.holding if key not in found and _alert_of(key) in looked.judged]:
            del self.state.holding[key]
        for key in [key for key in self.state.standing if key not in found and _alert_of(key) in looked.judged]:
            self._over(key, when, now)

    def _holds(self, key: Key, condition: Condition, when: float, now: float) -> None:
        standing = self.state.standing.get(key)
        if standing is not None and standing.level == condition.level:
            return
        if standing is None:
            began = self.state.holding.setdefault(key, now)
            if now - began < ALERTS[condition.alert].hold_seconds:
                return
            if len(self.state.standing) >= STANDING:  # it goes on being held, and is raised when there is room
                return
        self.state.holding.pop(key, None)
        self.state.standing[key] = Standing(words=condition.words, since=when, level=condition.level)
        self._tell(condition.alert, condition.subject, condition.words, when, now)

    def _over(self, key: Key, when: float, now: float) -> None:
        standing = self.state.standing.pop(key)
        self._tell(_alert_of(key), key.partition(" ")[2], standing.words, when, now, over=True)

    def _many_refused(self, event: Event) -> Event | None:
        """The event of so many refused log-ins that they are worth telling; then counting begins anew."""
        most = self._settings.refused_logins
        kept = [one for one in self.state.refusals if event.when - REFUSED_SECONDS < one <= event.when]
        self.state.refusals = [*kept, event.when][-most:]
        if len(self.state.refusals) < most:
            return None
        self.state.refusals = []
        words = f"{most} log-ins were refused within {REFUSED_SECONDS / 60:.0f} minutes, the last one of {event.words}"
        return Event(event.alert, "all doors", words, event.when)

    def _tell(self, alert: str, subject: str, words: str, when: float, now: float, *, over: bool = False) -> None:
        action = self._action(alert)
        if action == "none":
            return
        item = Item(alert=alert, subject=subject, words=words, first=when, last=when, since=now, over=over)
        self.log.append(item)
        if action == "syslog":
            self._remember(item, "logged")
            return
        mailed = self.state.lately.get(item.key)
        if mailed is not None:
            item.not_before = mailed + HOUR
        self._wait(item)

    def _action(self, alert: str) -> Action:
        """What is done with it; where nobody gets mail, everything is for the log."""
        action = self._settings.action(alert)
        return "syslog" if action == "mail" and not self._settings.recipients else action

    # --- waiting -------------------------------------------------------------------------------------------------

    def _wait(self, item: Item) -> None:
        waiting = self.state.waiting
        same = next((one for one in waiting if one.key == item.key), None)
        if same is not None:
            _merge(same, item)
            return
        if len(waiting) >= WAITING:
            victim = item
            if _critical(item):
                victim = next((one for one in reversed(waiting) if not _critical(one)), item)
            self.state.lost += victim.count
            if victim is item:
                return
            waiting.remove(victim)
        waiting.append(item)

    def _remember(self, item: Item, how: str) -> None:
        self.state.past = [*self.state.past, Past(item=item, how=how)][-PAST:]

    # --- out -----------------------------------------------------------------------------------------------------

    def next_letter(self, now: float) -> Letter | None:
        """The mail to send now, or None. What becomes of it must be said by `came_of_it` before the next question."""
        self._settle_clocks(now)
        if not self._settings.recipients or now < self.state.next_try:
            return None
        letter = self.state.letter
        items = letter.items if letter is not None else self._due(now)
        if not items or not self._room(items):
            return None
        if letter is None:
            letter = self._compose(items)
        self.state.sent.append(now)
        return letter

    def came_of_it(self, result: Result, answer: str, now: float) -> None:
        """Take what became of the mail that `next_letter` gave."""
        state, letter = self.state, self.state.letter
        if letter is None:
            return
        state.answer = answer
        state.problem = "" if result == "sent" else answer
        if result == "sent":
            self._told(letter, now)
            state.letter, state.tries, state.next_try = None, 0, 0.0
            return
        if result == "not_sent":
            # It does not count, and what it held goes with what has come meanwhile.
            state.sent.pop()
            state.letter = None
            state.lost += letter.lost
            for item in letter.items:
                self._put_back(item)
        state.tries += 1
        state.next_try = now + min(LAST_TRY, FIRST_TRY * 2 ** min(state.tries - 1, 10))

    def _due(self, now: float) -> list[Item]:
        """What goes now: nothing before the batch is full in time, but for what is critical."""
        due = [one for one in self.state.waiting if one.not_before <= now]
        if not due:
            return []
        oldest = min(max(one.since, one.not_before) for one in due)
        if not any(map(_critical, due)) and now < oldest + 60 * self._settings.batch_minutes:
            return []
        return sorted(due, key=lambda one: not _critical(one))[:LETTER_ITEMS]

    def _room(self, items: Iterable[Item]) -> bool:
        most = self._settings.per_hour
        if most > 1 and not any(map(_critical, items)):
            most -= 1
        return len(self.state.sent) < most

    def _compose(self, items: list[Item]) -> Letter:
        letter = Letter(name=self._name(), items=items, lost=self.state.lost)
        self.state.waiting = [one for one in self.state.waiting if not any(one is gone for gone in items)]
        self.state.lost = 0
        self.state.letter = letter
        return letter

    def _told(self, letter: Letter, now: float) -> None:
        for item in letter.items:
            self._remember(item, "mailed")
            if not ALERTS[item.alert].lasts and not ALERTS[item.alert].always:
                self.state.lately[item.key] = now
        surplus = len(self.state.lately) - LATELY
        if surplus > 0:
            for key in sorted(self.state.lately, key=lambda key: self.state.lately[key])[:surplus]:
                del self.state.lately[key]

    def _put_back(self, item: Item) -> None:
        newer = next((one for one in self.state.waiting if one.key == item.key), None)
        if newer is None:
            self._wait(item)
            return
        _merge(item, newer)
        self.state.waiting = [item if one is newer else one for one in self.state.waiting]

    def _settle_clocks(self, now: float) -> None:
        """Forget what is older than an hour. What lies ahead of the clock cannot be: it counts from now."""
        state = self.state
        state.sent = [min(one, now) for one in state.sent if now - one < HOUR]
        state.lately = {key: min(one, now) for key, one in state.lately.items() if now - one < HOUR}
        state.next_try = min(state.next_try, now + LAST_TRY)
        for item in state.waiting:
            item.since = min(item.since, now)
            item.not_before = min(item.not_before, now + HOUR)


def _merge(kept: Item, newer: Item) -> None:
    """Count `newer` in `kept`: its words, its end and whether it is over are those of the latest."""
    kept.count += newer.count
    kept.last = max(kept.last, newer.last)
    kept.words, kept.over = newer.words, newer.over


def _critical(item: Item) -> bool:
    return ALERTS[item.alert].severity == "critical" and not item.over


def _alert_of(key: Key) -> str:
    return key.partition(" ")[0]


def rebased(state: State, *, boot: str, now: float, when: float) -> None:
    """Bring a state that was read from the disk to this start of the machine: its clock began anew, and only the time of day
    says how long it was off. A time of day that went back says nothing: then no time has passed."""
    if state.boot == boot:
        return
    shift = now - state.clock - max(0.0, when - state.wall)
    state.boot = boot
    state.sent = [one + shift for one in state.sent]
    state.lately = {key: one + shift for key, one in state.lately.items()}
    state.holding = {}
    state.next_try = 0.0
    held = [*state.waiting, *(state.letter.items if state.letter is not None else ())]
    for item in held:
        item.since += shift
        item.not_before = item.not_before + shift if item.not_before else 0.0
