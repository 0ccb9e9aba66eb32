"""Rounds, medians and ratios."""

import pytest

from tests.bench import rounds
from tests.bench.contest import Bar, Measure, Sample, Setting
from tests.bench.cores import TooFewCoresError, split
from tests.bench.rounds import Round
from tests.bench.table import MEASURES


def unused(setting: Setting) -> Sample:
    raise AssertionError(setting)


MEASURE = Measure("request", "CPU", "µs", unused, {"haproxy": Bar(1.3, 1.0)}, beside=("nginx_map",))


def taken(*figures: tuple[float, float, float]) -> list[Round]:
    return [{"ours": Sample(ours), "haproxy": Sample(one), "nginx_map": Sample(two)} for ours, one, two in figures]


def test_every_contestant_is_first_once() -> None:
    assert [rounds.order(("a", "b", "c"), number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_rounds_are_interleaved() -> None:
    asked: list[str] = []

    def take(name: str) -> Sample:
        asked.append(name)
        return Sample(float(len(asked)))

    played = rounds.play(("ours", "haproxy"), 3, take)
    assert asked == ["ours", "haproxy", "haproxy", "ours", "ours", "haproxy"]
    assert [(one["ours"].value, one["haproxy"].value) for one in played] == [(1, 2), (4, 3), (5, 6)]
    assert all(list(one) == ["ours", "haproxy"] for one in played)


def test_a_result_is_of_medians_and_of_the_ratios_of_each_round() -> None:
    played = taken((1.0, 1.0, 2.0), (30.0, 20.0, 2.0), (2.0, 1.0, 2.0))
    assert rounds.result(MEASURE, played) == {
        "ours": 2.0,
        "peers": {"haproxy": 1.0, "nginx_map": 2.0},
        "ratio": {"haproxy": 1.5, "nginx_map": 1.0},
        "rounds": [
            {"ours": {"value": 1.0}, "haproxy": {"value": 1.0}, "nginx_map": {"value": 2.0}},
            {"ours": {"value": 30.0}, "haproxy": {"value": 20.0}, "nginx_map": {"value": 2.0}},
            {"ours": {"value": 2.0}, "haproxy": {"value": 1.0}, "nginx_map": {"value": 2.0}},
        ],
    }


def test_what_was_seen_beside_a_figure_stands_with_it() -> None:
    result = rounds.result(
        Measure("block", "block", "ms", unused, limit=Bar(1, 1)), [{"ours": Sample(1.0, {"last": 2.0})}]
    )
    assert result["rounds"] == [{"ours": {"value": 1.0, "last": 2.0}}]


def test_each_measure_has_a_name_of_its_own_and_something_to_be_held_to() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES) == 9
    assert all(measure.bars or measure.limit for measure in MEASURES)
    assert all(bar.aim <= bar.most for measure in MEASURES for bar in measure.bars.values())


def test_the_proxy_has_a_core_of_its_own() -> None:
    assert split({5, 3, 4}) == (frozenset({3}), frozenset({4, 5}))
    with pytest.raises(TooFewCoresError, match="one core for the proxy and one for the load"):
        split({3})
