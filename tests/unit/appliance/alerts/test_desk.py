"""What is told, and when: batches, the limit, what repeats, what is over, what finds no room."""

import itertools
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.alerts.desk import FIRST_TRY, HOUR, LAST_TRY, WAITING, Desk, Result, rebased
from appliance.alerts.happening import Condition, Event, Looked
from appliance.alerts.settings import Settings
from appliance.alerts.state import Letter, State
from appliance.alerts.table import ALERTS

from .conftest import NOON, Clocks, settings_of

DOWN = Condition("backend_down", "mail", "The backend mail is down")
LINK = Condition("uem_link_down", "uem", "The UEM cannot be reached")
FULL = Condition("disk_full", "/var", "/var is full")
BACKENDS = frozenset({"backend_down"})


@dataclass
class Office:
    """A desk with clocks, and the letters that went out."""

    settings: Settings = field(default_factory=lambda: settings_of(batch_minutes=0))
    clocks: Clocks = field(default_factory=Clocks)
    state: State = field(default_factory=State)
    sent: list[Letter] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = itertools.count(1)
        self.desk = Desk(self.state, self.settings, name=lambda: f"letter-{next(names)}")

    def happen(self, alert: str = "service_restarted", subject: str = "agent") -> None:
        self.desk.happen(Event(alert, subject, f"{alert} of {subject}", self.clocks.wall), self.clocks.now)

    def look(self, *conditions: Condition, judged: frozenset[str] = frozenset(ALERTS)) -> None:
        self.desk.look(Looked(conditions, judged), self.clocks.wall, self.clocks.now)

    def post(self, result: Result = "sent") -> Letter | None:
        """Let the mail go that is due, if one is."""
        letter = self.desk.next_letter(self.clocks.now)
        if letter is not None:
            kept = msgspec.json.decode(msgspec.json.encode(letter), type=Letter)
            self.desk.came_of_it(result, "the server's word", self.clocks.now)
            if result == "sent":
                self.sent.append(kept)
        return letter

    def told(self) -> list[tuple[str, str, int, bool]]:
        """What all mails have told."""
        return [(one.alert, one.subject, one.count, one.over) for letter in self.sent for one in letter.items]


@pytest.fixture
def office() -> Office:
    return Office()


def test_an_event_is_mailed_and_its_repetition_within_the_hour_waits_and_is_counted(office: Office) -> None:
    office.happen()
    office.post()
    for _ in range(3):
        office.clocks.go_on(60)
        office.happen()
        assert office.post() is None
    office.clocks.go_on(HOUR)
    office.post()
    assert office.told() == [("service_restarted", "agent", 1, False), ("service_restarted", "agent", 3, False)]
    assert office.sent[1].items[0].last - office.sent[1].items[0].first == 120


def test_what_people_did_is_told_each_time(office: Office) -> None:
    """A second commit within the hour is no repetition of the first."""
    for _ in range(2):
        office.happen("configuration_changed", "admin")
        office.post()
        office.clocks.go_on(60)
    assert office.told() == [("configuration_changed", "admin", 1, False)] * 2


def test_a_condition_is_told_when_it_has_held_and_when_it_is_over(office: Office) -> None:
    office.look(DOWN)
    assert office.post() is None
    office.clocks.go_on(30)
    for _ in range(5):  # it goes on: nobody hears of it again
        office.look(DOWN)
        office.post()
        office.clocks.go_on(30)
    office.look()
    office.post()
    office.look()
    office.post()
    assert office.told() == [("backend_down", "mail", 1, False), ("backend_down", "mail", 1, True)]


def test_a_condition_that_did_not_hold_for_long_enough_is_nothing(office: Office) -> None:
    office.look(DOWN)
    office.clocks.go_on(10)
    office.look()
    office.clocks.go_on(60)
    office.look(DOWN)
    assert office.post() is None


def test_what_could_not_be_judged_goes_on_standing(office: Office) -> None:
    office.look(FULL)
    office.post()
    office.look(judged=BACKENDS)
    assert office.post() is None
    office.look()
    office.post()
    assert [over for *_rest, over in office.told()] == [False, True]


def test_another_level_is_told_anew(office: Office) -> None:
    for level in ("30", "30", "14", "ended"):
        office.look(Condition("certificate_ends", "gateway", f"within {level}", level))
        office.post()
        office.clocks.go_on(86_400)
    assert [letter.items[0].words for letter in office.sent] == ["within 30", "within 14", "within ended"]


def test_what_was_over_before_anybody_heard_of_it_is_one_line(office: Office) -> None:
    office = Office(settings_of(batch_minutes=10))
    for _ in range(3):
        office.look(FULL)
        office.look()
    office.clocks.go_on(600)
    office.post()
    assert office.told() == [("disk_full", "/var", 6, True)]


def test_alerts_are_gathered_until_the_batch_is_full() -> None:
    office = Office(settings_of(batch_minutes=5))
    office.happen(subject="a")
    office.clocks.go_on(299)
    office.happen(subject="b")
    assert office.post() is None
    office.clocks.go_on(1)
    office.post()
    assert len(office.sent) == 1
    assert [subject for _alert, subject, *_rest in office.told()] == ["a", "b"]


def test_what_is_critical_goes_at_once_and_takes_the_rest_with_it() -> None:
    office = Office(settings_of(batch_minutes=60))
    office.happen(subject="a")
    office.happen("audit_records_lost", "gateway")
    office.post()
    assert [alert for alert, *_rest in office.told()] == ["audit_records_lost", "service_restarted"]


def test_a_hundred_events_are_no_more_mails_than_the_limit() -> None:
    """Row 145 of the product's features."""
    office = Office(settings_of(batch_minutes=0, per_hour=4))
    for number in range(100):
        office.happen(subject=f"unit {number}")
        office.post()
        office.clocks.go_on(1)
    assert len(office.sent) == 3
    office.clocks.go_on(HOUR)
    office.post()
    assert len(office.sent) == 4
    assert sum(count for _alert, _subject, count, _over in office.told()) == 100


def test_the_hours_last_mail_is_kept_for_what_is_critical() -> None:
    office = Office(settings_of(batch_minutes=0, per_hour=2))
    for number in range(3):
        office.happen(subject=f"unit {number}")
        office.post()
    assert len(office.sent) == 1
    office.happen("audit_records_lost", "gateway")
    office.post()
    assert len(office.sent) == 2
    office.happen("audit_records_lost", "kernel")
    assert office.post() is None


def test_a_server_that_is_away_is_asked_less_and_less_often_and_then_gets_one_mail(office: Office) -> None:
    office.happen(subject="a")
    waits = []
    for _ in range(8):
        assert office.post("not_sent") is not None
        office.happen(subject="a")
        waits.append(office.state.next_try - office.clocks.now)
        office.clocks.go_on(waits[-1] - 1)
        assert office.post() is None
        office.clocks.go_on(1)
    assert waits == [FIRST_TRY * 2**number for number in range(6)] + [LAST_TRY] * 2
    assert office.state.problem == "the server's word"
    office.post()
    assert office.told() == [("service_restarted", "a", 9, False)]
    assert (office.state.problem, office.state.tries) == ("", 0)


def test_a_mail_that_may_have_arrived_is_sent_again_as_the_same_mail(office: Office) -> None:
    office.happen(subject="a")
    first = office.post("unknown")
    assert first is not None
    office.happen(subject="b")
    office.clocks.go_on(LAST_TRY)
    second = office.post()
    assert second is not None
    assert second.name == first.name
    assert [item.subject for item in second.items] == ["a"]
    office.post()
    assert [subject for _alert, subject, *_rest in office.told()] == ["a", "b"]


def test_what_finds_no_room_is_counted_and_the_next_mail_says_so() -> None:
    office = Office(settings_of(batch_minutes=60, per_hour=60))
    for number in range(WAITING + 7):
        office.happen(subject=f"unit {number}")
    office.happen("audit_records_lost", "gateway")  # critical: it takes another one's place
    assert len(office.desk.state.waiting) == WAITING
    office.post()
    assert office.sent[0].lost == 8
    assert office.sent[0].items[0].alert == "audit_records_lost"


def test_many_refused_log_ins_are_one_alert() -> None:
    office = Office(settings_of(batch_minutes=0, refused_logins=5))
    for _ in range(4):
        office.happen("logins_refused", "sshd")
    office.clocks.go_on(901)
    for _ in range(4):
        office.happen("logins_refused", "sshd")
    assert office.post() is None
    office.happen("logins_refused", "sshd")
    office.post()
    assert office.told() == [("logins_refused", "all doors", 1, False)]
    assert office.sent[0].items[0].words.startswith("5 log-ins were refused within 15 minutes")


@pytest.mark.parametrize(("action", "logged", "mailed"), [("mail", 1, 1), ("syslog", 1, 0), ("none", 0, 0)])
def test_the_action_of_an_alert(action: str, logged: int, mailed: int) -> None:
    office = Office(settings_of(batch_minutes=0, actions={"service_restarted": action}))
    office.happen()
    office.post()
    assert (len(office.desk.log), len(office.sent)) == (logged, mailed)


def test_without_recipients_everything_is_for_the_log() -> None:
    office = Office(settings_of(recipients=(), server=None))
    office.happen()
    assert office.post() is None
    assert [past.how for past in office.desk.state.past] == ["logged"]
    assert len(office.desk.log) == 1


def test_a_restart_of_the_machine_keeps_the_limit(office: Office) -> None:
    """Its clock begins anew; the time of day says how long it was off."""
    office = Office(settings_of(batch_minutes=0, per_hour=1))
    office.happen(subject="a")
    office.post()
    office.happen(subject="b")
    office.state.boot, office.state.clock, office.state.wall = "first", office.clocks.now, office.clocks.wall
    later = Clocks(now=5.0, wall=NOON + 1_800, boot="second")
    rebased(office.state, boot=later.boot, now=later.now, when=later.wall)
    again = Office(office.settings, later, office.state)
    assert again.post() is None
    later.go_on(1_801)
    assert again.post() is not None


def test_a_time_of_day_that_went_back_frees_no_mail() -> None:
    office = Office(settings_of(batch_minutes=0, per_hour=1))
    office.happen(subject="a")
    office.post()
    office.happen(subject="b")
    office.state.boot, office.state.clock, office.state.wall = "first", office.clocks.now, office.clocks.wall
    rebased(office.state, boot="second", now=2.0, when=NOON - 90_000)
    again = Office(office.settings, Clocks(now=2.0), office.state)
    assert again.post() is None
    again.clocks.go_on(HOUR + 1)
    assert again.post() is not None


# --- any order of things -------------------------------------------------------------------------------------------

EVENTS = st.sampled_from(
    [
        ("service_restarted", "agent"),
        ("account_locked", "eve"),
        ("configuration_changed", "admin"),
        ("audit_records_lost", "x"),
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), EVENTS),
        st.tuples(st.just("flood"), st.sampled_from([3, 60, 600])),
        st.tuples(st.just("holds"), st.sets(st.sampled_from([DOWN, LINK, FULL]))),
        st.tuples(st.just("post"), st.sampled_from(["sent", "not_sent", "unknown"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, 60, 600, 1_800, 3_599, 3_600, 7_200])),
        st.tuples(st.just("crash"), st.sampled_from(["service", "machine"])),
        st.tuples(st.just("turn_the_clock"), st.sampled_from([-90_000, -60, 60, 1_000_000])),
    ),
    max_size=50,
)


@dataclass
class Story:
    """An office through everything that can happen; `real` is the time that has truly passed, `came` how much came in."""

    office: Office
    real: float = 0.0
    came: int = 0
    attempts: list[float] = field(default_factory=list)
    flooded: int = 0

    def event(self, what: tuple[str, str]) -> None:
        self.came += 1
        self.office.happen(*what)

    def flood(self, count: int) -> None:
        for _ in range(count):
            self.flooded += 1
            self.event(("service_restarted", f"unit {self.flooded}"))

    def holds(self, conditions: set[Condition]) -> None:
        before = set(self.office.state.standing)
        self.office.look(*conditions)
        self.came += len(before ^ set(self.office.state.standing))

    def wait(self, seconds: int) -> None:
        self.office.clocks.go_on(seconds)
        self.real += seconds

    def turn_the_clock(self, seconds: int) -> None:
        self.office.clocks.wall += seconds

    def crash(self, what: str) -> None:
        """What is on the disk is read back; a machine's own clock begins anew."""
        state, clocks = self.office.state, self.office.clocks
        state.boot, state.clock, state.wall = clocks.boot, clocks.now, clocks.wall
        if what == "machine":
            clocks = Clocks(now=1.0, wall=clocks.wall, boot=f"{clocks.boot}+")
        state = msgspec.json.decode(msgspec.json.encode(state), type=State)
        rebased(state, boot=clocks.boot, now=clocks.now, when=clocks.wall)
        self.office = Office(self.office.settings, clocks, state, self.office.sent)

    def post(self, result: Result) -> None:
        if self.office.post(result) is not None and result != "not_sent":
            self.attempts.append(self.real)

    def accounted(self) -> int:
        """What was told, what waits, and what was said to have found no room, or will be."""
        state = self.office.state
        letters = [*self.office.sent, *([state.letter] if state.letter is not None else [])]
        told = sum(item.count for letter in letters for item in letter.items)
        return told + sum(item.count for item in state.waiting) + sum(letter.lost for letter in letters) + state.lost


@given(steps=STEPS, per_hour=st.integers(1, 5), batch=st.sampled_from([0, 5, 60]))
def test_never_more_than_the_limit_and_nothing_is_lost_without_a_word(
    steps: list[tuple[str, object]], per_hour: int, batch: int
) -> None:
    """Whatever happens in whatever order: in no hour more mails than allowed, and all that came in is accounted for."""
    story = Story(Office(settings_of(batch_minutes=batch, per_hour=per_hour)))
    for kind, what in steps:
        getattr(story, kind)(what)
    for attempt in story.attempts:
        assert len([one for one in story.attempts if attempt - HOUR < one <= attempt]) <= per_hour
    assert story.accounted() == story.came
    assert len(story.office.state.waiting) <= WAITING
