"""Units that do not run yet are started side by side; those that run take notice one by one, as before."""

from pathlib import Path

import pytest

from appliance.features.base import Feature, File, Tree, Unit
from appliance.process import TIMED_OUT, CommandError
from appliance.vet import ApplyError
from tests.unit.appliance.workbench import Bench

NAMES = ("one", "two", "three", "four")


def _render(tree: Tree) -> dict[str, File]:
    return {f"/etc/{name}": File(f"{tree['words']}\n") for name in NAMES}


FEATURE = Feature(
    name="words",
    label="Words",
    schema={"type": "string"},
    render=_render,
    units=tuple(
        Unit(f"{name}.service", "reload" if name == "three" else "restart", (f"/etc/{name}",)) for name in NAMES
    ),
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A machine of which only the second service runs."""
    made = Bench(tmp_path / "box", (FEATURE,))
    made.commands.units["two.service"] = "active"
    return made


def test_what_does_not_run_is_started_together_with_its_neighbours(bench: Bench) -> None:
    bench.commit({"words": "a"})
    assert bench.commands.acted() == [
        "restart -- one.service",
        "restart -- two.service",
        "start -- three.service four.service",
    ]


def test_at_a_start_of_the_machine_all_are(bench: Bench) -> None:
    bench.commands.units.clear()
    assert bench.commit({"words": "a"}).units == tuple(f"{name}.service" for name in NAMES)
    assert bench.commands.acted() == ["start -- one.service two.service three.service four.service"]


def test_what_runs_takes_notice_in_its_turn(bench: Bench) -> None:
    bench.commit({"words": "a"})
    bench.commands.log.clear()
    bench.commit({"words": "b"})
    assert bench.commands.acted() == [
        "restart -- one.service",
        "restart -- two.service",
        "reload-or-restart -- three.service",
        "restart -- four.service",
    ]


def test_one_that_fails_is_named_with_its_last_words(bench: Bench) -> None:
    bench.commands.dies_after.add("four.service")
    with pytest.raises(
        ApplyError, match=r"words: four\.service \(restart for /etc/four\): is failed after its restart"
    ):
        bench.commit({"words": "a"})


def start_leaves(bench: Bench, **states: str) -> None:
    """A start of all four fails, or takes too long, and leaves them so; one that is not named was never started."""
    words = "start -- " + " ".join(f"{name}.service" for name in NAMES)

    def fail() -> None:
        bench.commands.units = {f"{name}.service": state for name, state in states.items()}
        raise CommandError(["systemctl", *words.split()], TIMED_OUT, "not all of them run")

    bench.commands.units.clear()
    bench.commands.follows[words] = fail


def test_what_runs_or_still_starts_when_the_time_is_up_is_no_failure(bench: Bench) -> None:
    start_leaves(bench, one="active", two="activating", three="active", four="activating")
    bench.commit({"words": "a"})
    assert bench.commands.acted()[1:] == ["restart -- two.service", "restart -- four.service"]


def test_what_still_starts_is_not_blamed_for_one_that_failed(bench: Bench) -> None:
    start_leaves(bench, one="activating", two="activating", three="active", four="failed")
    with pytest.raises(ApplyError, match=r"words: four\.service"):
        bench.commit({"words": "a"})
    assert bench.commands.acted()[1:3] == ["restart -- one.service", "restart -- two.service"]


def test_what_was_dropped_with_what_it_needs_is_not_taken_for_well(bench: Bench) -> None:
    emptied(bench)
    start_leaves(bench, one="failed", three="active")
    bench.commands.dies_after.add("four.service")
    made = bench.engine.lay_out()
    assert made.left == ("one.service: is failed after its restart", "four.service: is failed after its restart")
    assert bench.commands.units["two.service"] == "active"


def test_where_no_unit_says_why_each_is_started_by_itself(bench: Bench) -> None:
    bench.commands.failing.add("systemctl start")
    bench.commit({"words": "a"})
    assert bench.commands.acted()[2:] == [
        "start -- three.service four.service",
        "reload-or-restart -- three.service",
        "restart -- four.service",
    ]


def emptied(bench: Bench) -> None:
    """As a start finds the machine: configured, and with an /etc that is empty again."""
    bench.commit({"words": "a"})
    for name in NAMES:
        (bench.root / f"etc/{name}").unlink()


def test_where_systemd_does_not_tell_each_has_its_turn(bench: Bench) -> None:
    emptied(bench)
    bench.commands.log.clear()
    bench.commands.failing.add("systemctl show")
    made = bench.engine.lay_out()
    assert [one.partition(":")[0] for one in made.left] == [f"{name}.service" for name in NAMES]
    assert [one.split()[0] for one in bench.commands.acted()] == ["restart", "restart", "reload-or-restart", "restart"]


def test_after_a_start_one_that_fails_is_told_and_the_others_run(bench: Bench) -> None:
    emptied(bench)
    bench.commands.units.clear()
    bench.commands.dies_after.add("one.service")
    made = bench.engine.lay_out()
    assert made.left == ("one.service: is failed after its restart",)
    assert bench.commands.units["four.service"] == "active"
