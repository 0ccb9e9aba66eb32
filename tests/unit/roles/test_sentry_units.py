"""Which systemctl calls follow from what is wanted and what systemd says."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[3]
NOTHING: dict[str, list[str]] = {"enabled": [], "started": [], "disabled": [], "masked": [], "retired": []}


@pytest.fixture(scope="module")
def units() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sentry_units", REPO / "roles/base/library/sentry_units.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def unit(
    *, load: str = "loaded", file: str = "disabled", active: str = "inactive", condition: str = "yes"
) -> dict[str, str]:
    return {"LoadState": load, "UnitFileState": file, "ActiveState": active, "ConditionResult": condition}


def plan(units: ModuleType, state: dict[str, str], **wanted: list[str]) -> Any:
    return units.plan({**NOTHING, **wanted}, {"a.service": state})


A = ["a.service"]


@pytest.mark.parametrize(
    ("state", "wanted", "calls"),
    [
        (unit(file="disabled"), {"enabled": A}, {"enable": A}),
        (unit(file="enabled"), {"enabled": A}, {}),
        (unit(file="static"), {"enabled": A}, {}),
        (unit(active="inactive"), {"started": A}, {"start": A}),
        (unit(active="failed"), {"started": A}, {"start": A}),
        (unit(active="activating"), {"started": A}, {}),
        (unit(active="active"), {"started": A}, {}),
        (unit(file="enabled", active="active"), {"disabled": A}, {"stop": A, "disable": A}),
        (unit(load="not-found", file=""), {"disabled": A}, {}),
        (unit(load="not-found", file=""), {"masked": A}, {"mask": A}),
        (unit(load="masked", file="masked"), {"masked": A}, {}),
        (unit(file="enabled", active="active"), {"masked": A}, {"stop": A, "mask": A}),
        (unit(active="failed"), {"masked": A}, {"reset-failed": A, "mask": A}),
        (unit(file="enabled", active="active"), {"retired": A}, {"disable": A}),
        (unit(load="not-found", file=""), {"retired": A}, {}),
    ],
)
def test_each_wish_asks_for_no_more_calls_than_the_state_lacks(
    units: ModuleType, state: dict[str, str], wanted: dict[str, list[str]], calls: dict[str, list[str]]
) -> None:
    assert plan(units, state, **wanted) == calls


def test_a_unit_is_stopped_before_it_is_masked_because_a_masked_timer_would_end_as_failed(units: ModuleType) -> None:
    calls = plan(units, unit(file="enabled", active="active"), masked=A)
    assert list(calls) == ["stop", "mask"]


class Systemctl:
    """Stands for AnsibleModule: answers `systemctl show` with a state and remembers the other calls."""

    def __init__(self, after: dict[str, str]) -> None:
        self.after = after
        self.calls: list[list[str]] = []

    def run_command(self, argv: list[str], *, check_rc: bool = False) -> tuple[int, str, str]:
        assert check_rc, "a failing systemctl must fail the task"
        if argv[1] == "show":
            return 0, "\n".join(f"{key}={value}" for key, value in self.after.items()) + "\n", ""
        self.calls.append(argv)
        return 0, "", ""


def test_a_start_that_the_units_conditions_refused_is_no_change(units: ModuleType) -> None:
    systemctl = Systemctl(unit(active="inactive", condition="no"))
    assert units.apply({"start": A}, systemctl) == []
    assert systemctl.calls == [["systemctl", "start", "a.service"]]


def test_a_start_that_worked_is_a_change(units: ModuleType) -> None:
    assert units.apply({"start": A}, Systemctl(unit(active="active"))) == [["start", "a.service"]]
