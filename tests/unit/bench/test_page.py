"""The page and its pictures."""

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import history, page, plot
from tests.bench.contest import Bar, Measure, Sample, Setting, Unit
from tests.bench.growth import Chart

SVG = "{http://www.w3.org/2000/svg}"


def unused(setting: Setting) -> Sample:
    raise AssertionError(setting)


REQUEST = Measure("request", "CPU", "µs", unused, {"haproxy": Bar(1.3, 1.0)}, beside=("nginx_map",))
BLOCK = Measure("block", "a block", "ms", unused, limit=Bar(0.1, 0.02))
CHART = Chart(
    "devices-cpu", "CPU per <request>", "devices", "µs", {"ours": [(1_000, 50.0), (100_000, 75.0)]}, logarithmic=True
)
RESULTS = {
    "request": {
        "ours": 60e-6,
        "peers": {"haproxy": 50e-6, "nginx_map": 20e-6},
        "ratio": {"haproxy": 1.2, "nginx_map": 3.0},
    },
    "memory": {"ours": 1024 * 50},
    "block_p256": {"ours": 0.25, "peers": {}, "ratio": {}},
}
RUN = page.Run("make bench", {"processor": "some", "memory": "8 GiB", "Python": "3.13.5"}, RESULTS, [CHART])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(53.4e-6, "µs", "53.4 µs"), (0.1234, "ms", "123 ms"), (54_321.0, "KiB", "53 KiB"), (1.6, "s", "1.6 s")],
)
def test_a_figure_is_shown_in_its_unit(value: float, unit: Unit, text: str) -> None:
    assert page.shown(value, unit) == text


@pytest.mark.parametrize(
    ("found", "word"), [(0.9, "aim"), (1.0, "aim"), (1.2, "bar"), (1.3, "bar"), (1.31, "**missed**")]
)
def test_a_figure_above_the_bar_is_missed(found: float, word: str) -> None:
    assert page.verdict(found, Bar(1.3, 1.0)) == word


def test_the_table_has_a_line_for_each_peer_and_key() -> None:
    assert page.table([REQUEST, BLOCK], RESULTS)[2:] == [
        "| CPU | RSA 2048 | 60 µs | haproxy 50 µs | 1.20 | 1.3 | 1 | bar |",
        "| CPU | RSA 2048 | 60 µs | nginx_map 20 µs | 3.00 |  |  |  |",
        "| a block | P-256 | 250 ms |  |  | 100 ms | 20 ms | **missed** |",
    ]


def test_the_load_of_two_workers_has_a_line_of_its_own() -> None:
    measure = Measure("workers", "two", "µs", unused, {"one_worker": Bar(1.1, 1.03)}, spread=Bar(0.6, 0.55))
    seen = [{"ours": {"value": 1.0, "spread": part}} for part in (0.9, 0.58, 0.5)]
    result = {"ours": 51e-6, "peers": {"one_worker": 50e-6}, "ratio": {"one_worker": 1.02}, "rounds": seen}
    assert page.rows(measure, "P-256", result) == [
        "| two | P-256 | 51 µs | one_worker 50 µs | 1.02 | 1.1 | 1.03 | aim |",
        "| two: the part of the busier one | P-256 | 0.58 |  |  | 0.6 | 0.55 | bar |",
    ]


def test_sizing_follows_from_the_request_and_the_ping() -> None:
    text = "\n".join(page.sizing(RESULTS))
    assert "250,000 devices a core" in text  # half a core, two exchanges of 60 µs a minute
    assert "14,680 devices a GiB" in text  # 0.7 of it, 50 KiB each
    assert page.sizing({}) == []


def test_only_the_generated_part_of_the_page_is_replaced() -> None:
    before = f"# Title\n\nwords\n\n{page.BEGIN}\nold\n{page.END}\n\nafter\n"
    after = page.put(before, page.page(RUN, [REQUEST, BLOCK]))
    assert after.startswith("# Title\n\nwords\n\n" + page.BEGIN)
    assert after.endswith(page.END + "\n\nafter\n")
    assert "old" not in after
    assert "Made with `make bench` on some, 8 GiB; Python 3.13.5." in after
    assert "![CPU per <request> against devices](performance/devices-cpu.svg)" in after
    assert page.put(after, page.page(RUN, [REQUEST, BLOCK])) == after


def test_a_run_that_is_not_whole_says_so() -> None:
    trial = page.Run("make bench ROUNDS=1", RUN.machine, RESULTS, [], whole=False)
    assert "not results" in page.page(trial, [REQUEST])
    assert "not results" not in page.page(RUN, [REQUEST])


def past(ratio: float, block: float) -> history.Past:
    """A run with one ratio and one block."""
    results = {"request": {"ours": 1.0, "ratio": {"haproxy": ratio, "nginx_map": 9.0}}, "block": {"ours": block}}
    return history.past([REQUEST, BLOCK], results, "some", datetime(2026, 11, 27, 8, 5, tzinfo=UTC))


def test_the_last_three_whole_runs_are_kept_oldest_first(tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    assert history.kept(file) == []
    for number in range(4):
        runs = history.keep(file, past(1.0 + number, 0.1))
    assert history.kept(file) == runs == [past(2.0, 0.1), past(3.0, 0.1), past(4.0, 0.1)]


def test_runs_stand_beside_each_other_and_a_bar_holds_when_it_held_in_all() -> None:
    assert page.beside([REQUEST, BLOCK], [past(1.2, 0.09), past(1.31, 0.08)]) == [
        "| measure | key | of | bar | 2026-11-27 08:05 | 2026-11-27 08:05 | holds |",
        "|---|---|---|---|---|---|---|",
        "| request | RSA 2048 | haproxy | 1.30 | 1.20 | 1.31 | **no** |",
        "| request | P-256 | haproxy | 1.30 | - | - | **no** |",
        "| block | RSA 2048 | ours | 100 ms | 90 ms | 80 ms | yes |",
        "| block | P-256 | ours | 100 ms | - | - | **no** |",
    ]


@pytest.mark.parametrize("text", ["", page.BEGIN, page.END + page.BEGIN])
def test_a_page_without_a_place_for_it_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="in this order"):
        page.put(text, page.BEGIN + page.END)


@pytest.mark.parametrize(
    ("most", "found"),
    [(0.0, [0, 1]), (10, [0, 2, 4, 6, 8, 10]), (75.0, [0, 20, 40, 60, 80]), (0.3, [0, 0.1, 0.2, 0.3])],
)
def test_an_axis_has_round_numbers_up_to_the_highest(most: float, found: list[float]) -> None:
    assert plot.ticks(most) == pytest.approx(found)


@pytest.mark.parametrize(
    ("ends", "found"), [((80, 33_000), [10, 100, 1e3, 1e4, 1e5]), ((100, 100), [100, 1e3]), ((0.2, 3), [0.1, 1, 10])]
)
def test_an_axis_of_decades_holds_all_between_its_ends(ends: tuple[float, float], found: list[float]) -> None:
    assert plot.decades(*ends) == pytest.approx(found)


def test_a_chart_has_each_point_where_it_belongs() -> None:
    root = ElementTree.fromstring(plot.svg(CHART))  # noqa: S314 - our own text
    (line,) = root.iter(SVG + "polyline")
    first, last = (tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split())
    assert first[0] == plot.LEFT
    assert last[0] == plot.WIDTH - plot.RIGHT
    high = plot.HEIGHT - plot.TOP - plot.BOTTOM
    assert first[1] == pytest.approx(plot.TOP + high * (1 - 50 / 80), abs=0.06)
    assert last[1] == pytest.approx(plot.TOP + high * (1 - 75 / 80), abs=0.06)
    words = [text.text for text in root.iter(SVG + "text")]
    assert {"CPU per <request> (µs)", "1k", "100k", "devices", "ours"} <= set(words)
