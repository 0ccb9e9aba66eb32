"""Log-ons that a backend refuses: who rests, for how long, and who does not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway import refusals
from sentry_runtime.gateway.refusals import Refusals
from sentry_runtime.settings import Limits

LIMITS = Limits(
    logons_refused_per_source=5,
    logons_refused_per_principal=3,
    logon_rest_seconds=10.0,
    logon_rest_seconds_max=35.0,
)
HERE, THERE = "192.0.2.7", "2001:db8::/64"
PHONE = "PHONE1"


class Desk:
    """The refused log-ons of a worker whose time the test tells."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.time = 1_000.0
        self.told: list[tuple[str, str, str, float]] = []
        self.refusals = Refusals(limits, lambda: self.time, lambda *words: self.told.append(words))

    def fail(self, place: str, who: str, times: int = 1) -> None:
        """So many refused attempts, each with another password."""
        for number in range(times):
            self.refusals.refused(place, who, b"wrong%d" % number)

    def wait(self, place: str, who: str, authorization: bytes = b"another", device: str = "") -> float:
        """How long this one has to."""
        return self.refusals.wait(place, who, authorization, device)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_name_rests_after_so_many_attempts(desk: Desk) -> None:
    """From wherever they come; other names from there do not, and it is told once."""
    desk.fail(HERE, "anna", 2)
    assert desk.wait(HERE, "anna") == 0.0
    desk.fail(THERE, "anna")
    assert [desk.wait(place, "anna") for place in (HERE, THERE, "elsewhere")] == [10.0] * 3
    assert desk.wait(HERE, "bert") == 0.0
    assert desk.told == [("principal", THERE, "anna", 10.0)]


def test_a_place_rests_after_so_many_attempts_at_different_names(desk: Desk) -> None:
    """Password spraying: each name is tried once."""
    for who in ("anna", "bert", "cleo", "dora", "emil"):
        assert desk.wait(HERE, "zoe") == 0.0
        desk.fail(HERE, who)
    assert (desk.wait(HERE, "zoe"), desk.wait(THERE, "zoe")) == (10.0, 0.0)
    assert desk.told == [("source", HERE, "emil", 10.0)]


def test_each_rest_is_twice_as_long_up_to_a_limit_and_all_is_forgotten_in_time(desk: Desk) -> None:
    """One more attempt after a rest is enough for the next."""
    desk.fail(HERE, "anna", 3)
    for seconds in (10.0, 20.0, 35.0, 35.0):
        assert desk.wait(THERE, "anna") == seconds
        desk.time += seconds
        assert desk.wait(THERE, "anna") == 0.0
        desk.fail(THERE, "anna")
    desk.time += refusals.FORGET_SECONDS + 1
    desk.fail(THERE, "anna", 2)
    assert desk.wait(THERE, "anna") == 0.0
    desk.fail(THERE, "anna")
    assert desk.wait(THERE, "anna") == 10.0


def test_attempts_while_it_rests_do_not_make_the_rest_longer(desk: Desk) -> None:
    """Those that were under way when it began."""
    desk.fail(HERE, "anna", 6)
    assert (desk.wait(HERE, "anna"), len(desk.told)) == (10.0, 2)


def test_a_success_takes_back_what_was_mistyped_there(desk: Desk) -> None:
    """Of this name, from this place."""
    desk.fail(HERE, "anna", 2)
    desk.refusals.accepted(HERE, "anna", b"right")
    desk.fail(HERE, "anna", 2)
    assert desk.wait(HERE, "anna") == 0.0


def test_a_log_on_of_a_connection_takes_back_as_much_and_is_not_remembered(desk: Desk) -> None:
    """Its last message never comes again."""
    desk.fail(HERE, "anna", 2)
    desk.refusals.forgive(HERE, "anna")
    desk.fail(HERE, "anna", 2)
    assert (desk.wait(HERE, "anna"), len(desk.refusals._good)) == (0.0, 0)


def test_a_success_does_not_buy_attempts_at_other_names(desk: Desk) -> None:
    """Who has an account of his own and sprays with it between is counted all the same."""
    for who in ("bert", "cleo", "dora", "emil", "fritz"):
        desk.fail(HERE, who)
        desk.refusals.accepted(HERE, "mallory", b"own")
    assert desk.wait(HERE, "zoe") == 10.0


def test_an_owners_success_does_not_buy_a_stranger_attempts(desk: Desk) -> None:
    """Attempts from elsewhere stay counted when the owner logs on."""
    desk.fail(THERE, "anna", 2)
    desk.refusals.accepted(HERE, "anna", b"right")
    desk.fail(THERE, "anna")
    assert desk.wait(THERE, "anna") == 10.0


def test_credentials_that_were_accepted_pass_whoever_rests(desk: Desk) -> None:
    """The owner of a name that a stranger tries, and the phones behind a NAT that rests; for a day."""
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    desk.fail(THERE, "anna", 3)
    desk.fail(HERE, "bert", 5)
    assert desk.wait(HERE, "anna", b"right", PHONE) == 0.0
    assert desk.wait(HERE, "anna", b"guessed", PHONE) == 10.0
    assert desk.wait(HERE, "bert", b"right", PHONE) == 10.0  # the same words of somebody else are other credentials
    desk.time += refusals.GOOD_SECONDS
    desk.fail(THERE, "anna", 3)
    assert desk.wait(HERE, "anna", b"right", PHONE) > 0.0


@pytest.mark.parametrize("device", ["PHONE2", ""])
def test_who_rests_cannot_tell_the_right_password_by_what_passes(desk: Desk, device: str) -> None:
    """Credentials are good from the device that had them; a request that names none has none that are."""
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    desk.refusals.accepted(HERE, "anna", b"right", "")
    desk.fail(THERE, "anna", 3)
    assert desk.wait(THERE, "anna", b"right", device) == desk.wait(THERE, "anna", b"wrong", device) == 10.0
    assert desk.wait(HERE, "anna", b"right", PHONE) == 0.0


def test_who_knows_the_device_has_few_guesses(desk: Desk) -> None:
    """Then even the right one waits, also when its owner has just come by; when nobody rests any more all is well again."""
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    desk.fail(THERE, "anna", 3)
    assert [desk.wait(THERE, "anna", b"guess%d" % number, PHONE) for number in range(refusals.GUESSES)] == [10.0] * 3
    assert desk.wait(THERE, "anna", b"right", PHONE) == 10.0
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    desk.fail(THERE, "anna", 3)
    assert desk.wait(THERE, "anna", b"right", PHONE) > 0.0
    desk.time += 60.0
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    desk.fail(THERE, "anna", 3)
    assert desk.wait(THERE, "anna", b"right", PHONE) == 0.0


def test_credentials_that_are_refused_are_good_no_more(desk: Desk) -> None:
    """A changed password."""
    desk.refusals.accepted(HERE, "anna", b"old", PHONE)
    desk.refusals.refused(HERE, "anna", b"old", PHONE)
    desk.fail(HERE, "anna", 2)
    assert desk.wait(HERE, "anna", b"old", PHONE) == 10.0


def test_attempts_under_way_count_beforehand(desk: Desk) -> None:
    """Different ones of one name, with what has failed; one may always be, and equal ones are one."""
    first = desk.refusals.begin("anna", b"guess0")
    assert first is not None
    others = [desk.refusals.begin("anna", guess) for guess in (b"guess0", b"guess1", b"guess2", b"guess3")]
    assert [one is None for one in others] == [False, False, False, True]
    assert desk.refusals.begin("bert", b"guess3") is not None
    for one in (first, first, *others):
        if one is not None:
            one.end()
    desk.fail(HERE, "anna", 2)
    last = desk.refusals.begin("anna", b"guess4")
    assert last is not None
    assert desk.refusals.begin("anna", b"guess5") is None
    last.end()
    assert desk.refusals.begin("anna", b"guess5") is not None


def test_good_credentials_are_no_attempt(desk: Desk) -> None:
    """However many others of the name are under way; from their device."""
    desk.refusals.accepted(HERE, "anna", b"right", PHONE)
    for number in range(3):
        assert desk.refusals.begin("anna", b"guess%d" % number) is not None
    good = desk.refusals.begin("anna", b"right", PHONE)
    assert good is not None
    assert not good.open
    assert desk.refusals.begin("anna", b"right", "PHONE2") is None


def test_nothing_is_kept_of_attempts_that_have_ended(desk: Desk) -> None:
    """Of no name."""
    for number in range(10):
        attempt = desk.refusals.begin(f"user{number}", b"guess")
        assert attempt is not None
        attempt.end()
    assert desk.refusals._under_way == {}


def test_who_does_not_wait_for_the_answer_is_counted_for_the_name_alone(desk: Desk) -> None:
    """As often as one that is refused, and forgiven alike; never for the place."""
    for _ in range(2):
        desk.refusals.unheard(HERE, "anna")
    desk.refusals.accepted(HERE, "anna", b"right")
    for _ in range(3):
        assert desk.wait(HERE, "anna") == 0.0
        desk.refusals.unheard(HERE, "anna")
    assert (desk.wait(THERE, "anna"), desk.wait(HERE, "bert")) == (10.0, 0.0)
    assert len(desk.refusals._sources) == 0


def test_nobody_is_counted_for_a_balancer_that_names_nobody(desk: Desk) -> None:
    """Its address would be everybody's; names are counted."""
    for number in range(20):
        desk.fail("", f"user{number}")
    assert desk.wait("", "zoe") == 0.0
    desk.fail("", "anna", 3)
    assert desk.wait("", "anna") == 10.0


def test_zero_does_not_count() -> None:
    """Neither kind."""
    none = msgspec.structs.replace(LIMITS, logons_refused_per_source=0, logons_refused_per_principal=0)
    desk = Desk(none)
    desk.fail(HERE, "anna", 100)
    assert (desk.wait(HERE, "anna"), desk.told, desk.refusals.resting_until) == (0.0, [], 0.0)


def test_a_request_in_quiet_times_costs_one_look_at_the_clock(desk: Desk) -> None:
    """Before the first rest not even that, and nothing is looked up after the last."""
    assert desk.refusals.resting_until == 0.0
    desk.fail(HERE, "anna", 3)
    assert desk.refusals.resting_until == desk.time + 10.0


def test_the_tables_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries make room, those that were looked at last stay."""
    monkeypatch.setattr(refusals, "ENTRIES", 10)
    monkeypatch.setattr(refusals, "GOOD_ENTRIES", 10)
    for number in range(100):
        desk.fail(f"192.0.2.{number}", f"user{number}", 2)
        desk.refusals.accepted("", f"user{number}", b"right", PHONE)
    assert (len(desk.refusals._sources), len(desk.refusals._principals), len(desk.refusals._good)) == (10, 10, 10)
    desk.fail("192.0.2.99", "user99")
    assert desk.wait("elsewhere", "user99") == 10.0
    assert max(len(entry.parts) for entry in desk.refusals._sources._entries.values()) == 1


def test_an_entry_tells_so_many_counterparts_apart_and_no_more(desk: Desk) -> None:
    """What is beyond stays counted and is forgiven to nobody."""
    limits = msgspec.structs.replace(LIMITS, logons_refused_per_source=100)
    desk = Desk(limits)
    for number in range(50):
        desk.fail(HERE, f"user{number}")
    for number in range(50):
        desk.refusals.accepted(HERE, f"user{number}", b"right")
    assert desk.refusals._sources._entries[HERE].failures == 50 - refusals.PARTS


steps = st.lists(
    st.tuples(
        st.sampled_from(["fail", "succeed", "pass"]), st.sampled_from(["a", "b", ""]), st.sampled_from(["u", "v"])
    ),
    max_size=60,
)


@given(steps)
def test_whatever_happens_no_rest_is_longer_than_the_longest_and_good_credentials_pass(
    story: list[tuple[str, str, str]],
) -> None:
    """And who has never failed from a place that never failed waits for nothing."""
    desk = Desk()
    for what, place, who in story:
        if what == "fail":
            desk.fail(place, who)
        elif what == "succeed":
            desk.refusals.accepted(place, who, b"right", PHONE)
            assert desk.wait(place, who, b"right", PHONE) == 0.0
        else:
            desk.time += 7.0
        assert 0.0 <= desk.wait(place, who) <= LIMITS.logon_rest_seconds_max
        assert desk.wait("untouched", "nobody") == 0.0
