"""What is kept of services that hung: the newest, for a week, and never much."""

from pathlib import Path

import pytest

from appliance.support.records import BYTES, KEPT_SECONDS, MOST, Records
from tests.unit.appliance.workbench import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(tmp_path: Path, clock: Clock) -> Records:
    return Records(tmp_path / "hung", clock=clock)


def test_one_is_root_s_alone_and_named_by_service_and_second(records: Records, clock: Clock, tmp_path: Path) -> None:
    name = records.put("sentry-tls-proxy", clock.now, "stacks\n")
    assert name == "sentry-tls-proxy-20270115T080000Z.txt"
    assert (tmp_path / "hung" / name).stat().st_mode & 0o777 == 0o600
    (one,) = records.all()
    assert (one.service, one.when) == ("sentry-tls-proxy", clock.now)
    assert records.has("sentry-tls-proxy", clock.now)
    assert not records.has("sentry-agent", clock.now)
    assert records.read(name) == "stacks\n"


def test_a_long_one_loses_its_beginning(records: Records, clock: Clock) -> None:
    text = records.read(records.put("sentry-agent", clock.now, "x" * BYTES + "the end"))
    assert len(text) == BYTES
    assert text.endswith("the end")


def test_the_newest_stay_and_none_for_long(records: Records, clock: Clock) -> None:
    for second in range(MOST + 3):
        records.put("sentry-agent", clock.now + second, "x")
    assert [one.when - clock.now for one in records.all()] == [float(second) for second in range(MOST + 2, 2, -1)]
    clock.now += KEPT_SECONDS + 5
    records.sweep()
    assert [one.when for one in records.all()] == [clock.now - KEPT_SECONDS + second for second in range(5, -1, -1)]


@pytest.mark.parametrize("name", ["", "../config/running.json", "sentry-agent-20270115T080000Z.txt"])
def test_a_name_is_looked_up(records: Records, name: str) -> None:
    with pytest.raises(KeyError):
        records.read(name)
