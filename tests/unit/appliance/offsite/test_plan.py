"""When a backup is sent to whom: at once, again for a while, then with the next one or when a person asks."""

from appliance.offsite import plan
from appliance.offsite.settings import Sftp

OLD, NEW = "20260131T180000Z-7.backup", "20260201T180000Z-8.backup"
NOON = 1_800_000_000.0
VAULT = Sftp(host="vault.example.test", port=22, user="gw1", host_keys=("ecdsa-sha2-nistp256 AAAA",))


def fresh() -> plan.State:
    return plan.settled(plan.State(), {"vault": VAULT, "attic": VAULT})


def attempt(state: plan.State, file: str, now: float, *, problem: str = "") -> None:
    copy = state.copies["vault"]
    plan.begin(copy, file, now)
    if problem:
        plan.fail(copy, problem)
    else:
        plan.succeed(copy, file, now)


def test_a_new_one_is_due_everywhere_and_no_more_where_it_was_sent() -> None:
    state = fresh()
    assert list(plan.due(state, NEW, NOON)) == ["vault", "attic"]
    attempt(state, NEW, NOON)
    assert list(plan.due(state, NEW, NOON)) == ["attic"]
    assert list(plan.due(state, OLD, NOON)) == ["vault", "attic"]


def test_what_failed_is_tried_again_later_each_time_and_not_for_ever() -> None:
    state, now, waited = fresh(), NOON, []
    while "vault" in plan.due(state, NEW, now):
        attempt(state, NEW, now, problem="refused")
        wait = 0.0
        while "vault" not in plan.due(state, NEW, now + wait) and wait <= max(plan.WAITS):
            wait += 1.0
        waited.append(wait)
        now += wait
    assert tuple(waited[:-1]) == plan.WAITS
    assert len(waited) == plan.TRIES
    said = plan.standing(state.copies["vault"], NEW)
    assert (said.tries, said.problem, said.next_try, said.sent) == (plan.TRIES, "refused", 0.0, "")


def test_the_next_backup_and_a_person_begin_anew() -> None:
    state = fresh()
    for _ in range(plan.TRIES):
        attempt(state, OLD, NOON, problem="refused")
    assert "vault" not in plan.due(state, OLD, NOON + 86_400)
    assert "vault" in plan.due(state, NEW, NOON)
    plan.again(state)
    assert list(plan.due(state, OLD, NOON)) == ["vault", "attic"]
    attempt(state, OLD, NOON)
    assert plan.standing(state.copies["vault"], OLD).sent == OLD
    assert list(plan.due(state, OLD, NOON)) == ["attic"]


def test_a_person_has_what_was_sent_sent_once_more_and_it_is_still_known_to_lie_there() -> None:
    state = fresh()
    attempt(state, NEW, NOON)
    plan.again(state)
    assert "vault" in plan.due(state, NEW, NOON)
    attempt(state, NEW, NOON + 1, problem="refused")
    said = plan.standing(state.copies["vault"], NEW)
    assert (said.sent, said.sent_at, said.problem) == (NEW, NOON, "refused")


def test_a_clock_that_is_set_back_makes_nothing_wait() -> None:
    state = fresh()
    attempt(state, NEW, NOON, problem="refused")
    assert "vault" in plan.due(state, NEW, NOON - 86_400)


def test_other_settings_begin_anew_and_what_is_gone_is_forgotten() -> None:
    state = fresh()
    attempt(state, NEW, NOON)
    other = Sftp(host="vault2.example.test", port=22, user="gw1", host_keys=VAULT.host_keys)
    assert plan.settled(state, {"vault": VAULT}).copies["vault"].sent == NEW
    assert list(plan.settled(state, {"vault": VAULT}).copies) == ["vault"]
    assert plan.settled(state, {"vault": other}).copies["vault"].sent == ""
