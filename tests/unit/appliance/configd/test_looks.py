"""One look at the machine's health at a time, however many ask."""

import threading
import time
from typing import Any

import pytest

from appliance.configd import health
from appliance.configd.looks import Looks

ASKING = 8


class _Slow:
    """A machine whose health takes as long to find out as the test wants; each answer is another object."""

    def __init__(self) -> None:
        self.go, self.at_once, self.most, self.count = threading.Event(), 0, 0, 0
        self._lock = threading.Lock()

    def look(self, _context: object, *, thorough: bool) -> Any:
        with self._lock:
            self.at_once += 1
            self.count += 1
            self.most = max(self.most, self.at_once)
            number = self.count
        self.go.wait(30)
        with self._lock:
            self.at_once -= 1
        return number, thorough


def test_who_asks_meanwhile_shares_the_look_that_begins_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _Slow()
    monkeypatch.setattr(health, "health", machine.look)
    shared = Looks(lambda: None)  # type: ignore[arg-type, return-value]  # nothing of it is used here
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(shared.health(thorough=False)))
    first.start()
    while not machine.count:
        time.sleep(0.01)
    others = [threading.Thread(target=lambda: answers.append(shared.health(thorough=False))) for _ in range(ASKING)]
    for one in others:
        one.start()
    time.sleep(0.2)  # all of them have asked
    machine.go.set()
    for one in (first, *others):
        one.join(30)
    assert (machine.most, machine.count) == (1, 2)
    assert sorted(answers) == [(1, False), *[(2, False)] * ASKING]


def test_a_look_that_began_before_it_was_asked_for_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _Slow()
    machine.go.set()
    monkeypatch.setattr(health, "health", machine.look)
    shared = Looks(lambda: None)  # type: ignore[arg-type, return-value]  # nothing of it is used here
    assert [shared.health(thorough=word)[0] for word in (False, False, True)] == [1, 2, 3]  # type: ignore[index]  # a number


def test_a_look_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _Slow()
    machine.go.set()
    shared = Looks(lambda: None)  # type: ignore[arg-type, return-value]  # nothing of it is used here

    def fails(_context: object, *, thorough: bool) -> Any:
        raise OSError(str(thorough))

    monkeypatch.setattr(health, "health", fails)
    with pytest.raises(OSError, match="True"):
        shared.health(thorough=True)
    monkeypatch.setattr(health, "health", machine.look)
    answer: Any = shared.health(thorough=True)
    assert answer == (1, True)
