"""What the role sentry starts is there to be started."""

import importlib.util
import re
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[3]
ROLE = REPO / "roles/sentry"


def test_every_launcher_names_a_module_that_can_be_run() -> None:
    launchers = yaml.safe_load((ROLE / "vars/main.yml").read_text())["sentry_launchers"]
    modules = [re.search(r"'module': '([\w.]+)'", launcher["content"]) for launcher in launchers]
    names = [module[1] for module in modules if module is not None]
    assert len(names) == len(launchers) > 0
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        package = spec.submodule_search_locations is not None
        assert not package or importlib.util.find_spec(f"{name}.__main__") is not None, f"python -m {name}"


def test_every_service_has_a_unit_that_starts_one_of_the_launchers_and_comes_back() -> None:
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    paths = {launcher["path"] for launcher in variables["sentry_launchers"]}
    assert len(variables["sentry_services"]) == 10
    for name in variables["sentry_services"]:
        unit = (ROLE / "files" / name).read_text()
        started = re.search(r"^ExecStart=(\S+)$", unit, re.MULTILINE)
        assert started is not None
        assert started[1] in paths
        for line in ("Type=notify", "Restart=always", "StartLimitIntervalSec=0", "NoNewPrivileges=yes"):
            assert f"{line}\n" in unit, (name, line)
        pause = re.search(r"^RestartSec=(\d+)ms$", unit, re.MULTILINE)
        assert pause is not None
        assert int(pause[1]) <= 1000, "back within 3 s, start included"
