"""When a backend is down and when it is back, told by a table and held against a second telling of the same rules."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.health import Change, Health, Kind
from sentry_runtime.settings import ActiveHealth, PassiveHealth

PASSIVE = PassiveHealth(failures=3, window_seconds=30.0, dead_seconds=60.0)
ACTIVE = ActiveHealth(rise=2, fall=3)

Step = tuple[float, str]  # time, what happens

# Words of a step: "dial" and "answer" fail, "dial+" and "answer+" succeed, "answer:anna" fails for anna, "check" and "check+".
# the steps | with checks | what changed, by the number of its step
DIALOGUES: tuple[tuple[tuple[Step, ...], bool, dict[int, str]], ...] = (
    (((0, "dial"), (1, "dial")), True, {}),
    (((0, "dial"), (1, "dial"), (2, "dial")), True, {2: "down dial"}),
    (((0, "dial"), (1, "answer:a"), (2, "answer:b")), True, {2: "down answer"}),
    # Older ones do not count, and a good dial wipes out bad ones.
    (((0, "dial"), (1, "dial"), (31, "dial")), True, {}),
    (((0, "dial"), (1, "dial"), (2, "dial+"), (3, "dial")), True, {}),
    # A good answer says nothing of dials, since it came over a connection that was there.
    (((0, "dial"), (1, "dial"), (2, "answer+"), (3, "dial")), True, {3: "down dial"}),
    # One principal's bad answers count once, however many there are.
    (tuple((number, "answer:a") for number in range(9)), True, {}),
    (((0, "answer:a"), (1, "answer:a"), (2, "answer:b"), (3, "answer:c")), True, {3: "down answer"}),
    # What took it away brings it back, when the dead time is over.
    (((0, "dial"), (0, "dial"), (0, "dial"), (59, "dial+"), (60, "answer+"), (61, "dial+")), True, {2: "down dial", 5: "up"}),
    # So do good checks, those of the dead time counted.
    (((0, "dial"), (0, "dial"), (0, "dial"), (40, "check+"), (50, "check+"), (60, "check+")), True, {2: "down dial", 5: "up"}),
    (((0, "dial"), (0, "dial"), (0, "dial"), (50, "check"), (60, "check+"), (61, "check+")), True, {2: "down dial", 5: "up"}),
    # Bad checks in a row take it away, and only checks bring it back.
    (((0, "check"), (1, "check"), (2, "check+"), (3, "check"), (4, "check"), (5, "check")), True, {5: "down check"}),
    (
        ((0, "check"), (1, "check"), (2, "check"), (90, "dial+"), (91, "answer+"), (92, "check+"), (93, "check+")),
        True,
        {2: "down check", 6: "up"},
    ),
    # Without the regular ones, a check at the end of the dead time decides by itself, and a bad one begins another.
    (((0, "check"), (1, "check"), (2, "check")), False, {}),
    (((0, "dial"), (0, "dial"), (0, "dial"), (60, "check+")), False, {2: "down dial", 3: "up"}),
    (
        ((0, "dial"), (0, "dial"), (0, "dial"), (60, "check"), (119, "check+"), (120, "check+")),
        False,
        {2: "down dial", 5: "up"},
    ),
    # Back again it begins anew.
    (
        ((0, "dial"), (0, "dial"), (0, "dial"), (60, "dial+"), (61, "dial"), (62, "dial"), (63, "dial")),
        True,
        {2: "down dial", 3: "up", 6: "down dial"},
    ),
)  # fmt: skip


def take(health: Health, now: float, word: str) -> Change | None:
    """Let it see one thing."""
    kind, _, who = word.rstrip("+").partition(":")
    good = word.endswith("+")
    if kind == "check":
        return health.checked(now, "" if good else "check")
    return health.succeeded(now, Kind(kind)) if good else health.failed(now, Kind(kind), kind, who)


@pytest.mark.parametrize(("steps", "checks", "changes"), DIALOGUES)
def test_it_goes_down_and_comes_back_as_the_table_says(
    steps: tuple[Step, ...], *, checks: bool, changes: dict[int, str]
) -> None:
    """Each step changes what the table says, and nothing else."""
    health = Health(PASSIVE, ACTIVE if checks else None)
    found = {}
    for number, (now, word) in enumerate(steps):
        change = take(health, now, word)
        if change is not None:
            found[number] = "up" if change.up else f"down {change.reason}"
        assert (change is None) or change.up == health.up
    assert found == changes


def test_a_backend_that_was_never_in_trouble_costs_nothing() -> None:
    """Nothing is kept of what goes well, and after the last failure is wiped out there is no trouble any more."""
    health = Health(PASSIVE, ACTIVE)
    assert not health.troubled
    health.failed(0.0, Kind.DIAL, "refused")
    assert health.troubled
    health.succeeded(1.0, Kind.DIAL)
    assert not health.troubled


def test_it_says_why_it_is_down_and_when_a_look_at_it_is_due() -> None:
    """Until then nobody need look."""
    health = Health(PASSIVE, None)
    for _ in range(3):
        health.failed(10.0, Kind.DIAL, "backend_refused")
    assert (health.up, health.reason) == (False, "backend_refused")
    assert not health.check_due(69.9)
    assert health.check_due(70.0)
    health.checked(70.0, "")
    assert (health.up, health.reason, health.check_due(999.0)) == (True, "", False)


@dataclass
class Told:
    """The same rules told from the history alone, slowly: what has been seen, and since when it stands as it does."""

    passive: PassiveHealth
    active: ActiveHealth | None
    seen: list[tuple[float, str]] = field(default_factory=list)  # since the last change
    up: bool = True
    cause: str = ""
    dead_until: float = 0.0

    def take(self, now: float, word: str) -> str:
        """One more; what it changes."""
        self.seen.append((now, word))
        change = (self._goes_down if self.up else self._comes_back)(now, word)
        if change:
            self.seen.clear()
        return change

    def _goes_down(self, now: float, word: str) -> str:
        checks = [one for _, one in self.seen if one.startswith("check")]
        if self.active and word == "check" and checks[-self.active.fall :] == ["check"] * self.active.fall:
            return self._down(now, "check")
        counted: set[object] = set()
        for at, (when, one) in enumerate(self.seen):
            kind = one.partition(":")[0]
            wiped = any(later == f"{kind}+" for _, later in self.seen[at:])
            if kind in ("dial", "answer") and when > now - self.passive.window_seconds and not wiped:
                counted.add(one if ":" in one else at)
        if word.partition(":")[0] in ("dial", "answer") and len(counted) >= self.passive.failures:
            return self._down(now, word.partition(":")[0])
        return ""

    def _down(self, now: float, cause: str) -> str:
        self.up, self.cause, self.dead_until = False, cause, now + self.passive.dead_seconds
        return "down"

    def _comes_back(self, now: float, word: str) -> str:
        rise = self.active.rise if self.active else 1
        checks = [one for _, one in self.seen if one.startswith("check")]
        if word == "check" and self.active is None:
            self.dead_until = now + self.passive.dead_seconds
        enough = word == "check+" and checks[-rise:] == ["check+"] * rise
        cured = self.cause != "check" and word == f"{self.cause}+"
        if now >= self.dead_until and (enough or cured):
            self.up = True
            return "up"
        return ""


WORDS = st.sampled_from(
    ["dial", "dial", "dial+", "answer", "answer:a", "answer:a", "answer:b", "answer+", "check", "check", "check+"]
)
PAUSES = st.sampled_from([0.0, 0.5, 1.0, 7.0, 20.0, 31.0, 60.0])


@given(
    st.lists(st.tuples(PAUSES, WORDS), max_size=60),
    st.builds(
        PassiveHealth,
        failures=st.integers(1, 4),
        window_seconds=st.sampled_from([1.0, 10.0, 30.0]),
        dead_seconds=st.sampled_from([1.0, 25.0, 60.0]),
    ),
    st.one_of(st.none(), st.builds(ActiveHealth, rise=st.integers(1, 3), fall=st.integers(1, 3))),
)
def test_two_tellings_of_the_rules_agree(
    steps: list[tuple[float, str]], passive: PassiveHealth, active: ActiveHealth | None
) -> None:
    """Whatever is seen, in whatever order and pace; and it is never down for less than its dead time."""
    health, told, now, down_at = Health(passive, active), Told(passive, active), 0.0, 0.0
    for pause, word in steps:
        now += pause
        change = take(health, now, word)
        assert ("" if change is None else "up" if change.up else "down") == told.take(now, word)
        assert health.up == told.up
        if change is not None and not change.up:
            down_at = now
        if change is not None and change.up:
            assert now - down_at >= passive.dead_seconds
