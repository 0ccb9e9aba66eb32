"""When backends are checked."""

import asyncio
import random
from typing import Any, cast

import pytest

from sentry_runtime.gateway import checks
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.checks import JITTER, LOOK_SECONDS, Checks
from sentry_runtime.gateway.dial import Target
from sentry_runtime.settings import ActiveHealth, Backend

TARGETS = tuple(Target(Backend(name=name, host="192.0.2.1"), None) for name in "ab")


class Enough(Exception):  # noqa: N818 - an end, no error
    """The test has seen what it wants."""


class Pauses:
    """Stands for `asyncio.sleep`: notes how long, and lets nobody wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.seconds: list[float] = []
        self._most = most
        self._yield = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._most:
            raise Enough
        await self._yield(0)


class Watched:
    """Backends that note how they were found."""

    targets = TARGETS

    def __init__(self, due: list[bool] | None = None) -> None:
        self.found: list[tuple[str, str]] = []
        self._due = due or []

    def checked(self, target: Target, fault: str) -> None:
        self.found.append((target.backend.name, fault))

    def check_due(self, target: Target) -> bool:
        return self._due.pop(0) if target is TARGETS[0] and self._due else False


@pytest.fixture(autouse=True)
def always_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is dialled here."""

    async def fault_of(_target: Target, _seconds: float) -> str:
        return "backend_refused"

    monkeypatch.setattr(checks, "fault_of", fault_of)


async def run(watched: Watched, rules: ActiveHealth | None, seed: int = 1) -> None:
    """Until the pauses are over."""
    with pytest.raises(BaseExceptionGroup) as ended:
        await Checks(cast(Backends, cast(Any, watched)), rules, random.Random(seed)).run()  # noqa: S311 - a test's dice
    assert ended.value.subgroup(Enough) is not None


async def test_each_backend_is_checked_at_an_interval_that_is_never_quite_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first time after a part of it, so that workers which start together do not check together."""
    pauses, watched = Pauses(monkeypatch, 42), Watched()
    await run(watched, ActiveHealth(interval_seconds=10.0))
    first, later = pauses.seconds[:2], pauses.seconds[2:]
    assert all(0.0 <= one < 10.0 for one in first)
    assert len(set(first)) == 2
    assert all(10.0 * (1 - JITTER) <= one <= 10.0 * (1 + JITTER) for one in later)
    assert len(set(later)) == len(later)
    assert watched.found[:2] == [("a", "backend_refused"), ("b", "backend_refused")]
    assert len(watched.found) >= 40


async def test_two_workers_have_beats_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their own dice."""
    beats = []
    for seed in (1, 2):
        with monkeypatch.context() as patched:
            pauses = Pauses(patched, 10)
            await run(Watched(), ActiveHealth(), seed)
            beats.append(pauses.seconds)
    assert beats[0] != beats[1]


async def test_without_rules_a_backend_is_checked_once_each_time_that_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And otherwise left alone."""
    pauses, watched = Pauses(monkeypatch, 20), Watched(due=[False, True, False, False, True])
    await run(watched, None)
    assert set(pauses.seconds) == {LOOK_SECONDS}
    assert watched.found == [("a", "backend_refused")] * 2
