"""The modules `appliance_config` and `appliance_facts` as Ansible starts them, against a real configd."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.configd import api, facts
from appliance.configd.passwords import hashed
from tests.unit.appliance.cli.desk import REPO, SITE, WAIT_SECONDS, Running, accepted, public_key, without_effects
from tests.unit.appliance.workbench import Daemon

LIBRARY = REPO / "roles" / "management" / "library"
PROGRAM = Path(__file__).with_name("module_program.py")
HASH = hashed("Canary-Password-12345")

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """configd with the appliance's schema, in which whoever runs the tests is root."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", os.getuid())
    made = Daemon(tmp_path / "box", features=without_effects())
    running = Running(made, tmp_path / "socket")
    yield made
    running.stop()


@pytest.fixture
def site(daemon: Daemon, tmp_path: Path) -> dict[str, Any]:
    """A whole configuration, which runs."""
    account = {
        "role": "administrator",
        "ssh_keys": [f"ecdsa-sha2-nistp256 {public_key(tmp_path)}"],
        "password_hash": HASH,
    }
    tree = {**SITE, "users": {"accounts": {"alice": account}}}
    daemon.commit(accepted(daemon, tree))
    return tree


@pytest.fixture
def module(daemon: Daemon, tmp_path: Path) -> Module:
    """Runs a module: `module("appliance_config", settings=...)`. Returns its result, with `failed` in it when it failed."""
    configctl = tmp_path / "sentry-configctl"
    configctl.write_text(
        f'#!/bin/sh\nexec env PYTHONPATH={REPO} {sys.executable} -m appliance.configd.ctl --socket {tmp_path / "socket"} "$@"\n'
    )
    configctl.chmod(0o755)

    def run(name: str, **parameters: Any) -> dict[str, Any]:
        argv = [sys.executable, str(PROGRAM), str(LIBRARY / f"{name}.py"), str(configctl)]
        done = subprocess.run(
            argv, input=json.dumps(parameters), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )
        assert done.stdout.strip(), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        assert HASH not in done.stdout + done.stderr
        return answer

    return run


def settings(**tree: Any) -> str:
    """Settings as the module takes them."""
    return json.dumps(tree)


def test_a_part_is_laid_over_what_runs(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    done = module("appliance_config", settings=settings(portal={"idle_minutes": 5}, ntp={"servers": ["192.0.2.9"]}))
    assert (done["changed"], done["revision"]) == (True, 2)
    running = daemon.running()
    assert (running["portal"]["idle_minutes"], running["ntp"]["servers"]) == (5, ["192.0.2.9"])
    assert running["hostname"] == site["hostname"]
    reference = running["users"]["accounts"]["alice"]["password_hash"]
    assert daemon.vault.reveal(reference) == HASH


def test_the_second_time_nothing_changes(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    for number, changed in enumerate((True, False)):
        done = module("appliance_config", settings=settings(portal={"idle_minutes": 5}))
        assert done["changed"] is changed, number
    whole = module("appliance_config", tree=json.dumps({**site, "portal": {"idle_minutes": 5}}))
    assert whole["changed"] is False
    assert len(daemon.store.revisions()) == 2


def test_settings_are_laid_over_a_tree(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    tree = json.dumps({**site, "portal": {"idle_minutes": 5, "port": 9443}})
    module("appliance_config", tree=tree, settings=settings(portal={"port": 9444}))
    assert (daemon.running()["portal"]["port"], daemon.running()["portal"]["idle_minutes"]) == (9444, 5)


def test_null_takes_a_setting_back(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    module("appliance_config", settings=settings(portal={"idle_minutes": 5}))
    module("appliance_config", settings=settings(portal=None))
    assert daemon.running()["portal"]["idle_minutes"] == 15


def test_check_mode_looks_and_diff_shows_what_would_change(
    module: Module, daemon: Daemon, site: dict[str, Any]
) -> None:
    account = {"accounts": {"alice": {"password_hash": hashed("Another-Password-1"), "full_name": "Alice"}}}
    asked = {"settings": settings(users=account), "_ansible_check_mode": True, "_ansible_diff": True}
    done = module("appliance_config", **asked)
    assert (done["changed"], daemon.store.current().number) == (True, 1)  # type: ignore[union-attr]
    assert 'users.accounts.alice.full_name: "Alice"\n' in done["diff"]["after"]
    assert 'password_hash: "********"' in done["diff"]["after"]
    assert "$6$" not in json.dumps(done)


def test_a_refusal_fails_in_the_appliance_s_words(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    done = module("appliance_config", settings=settings(portal={"idle_minutes": 99}))
    assert done["failed"]
    assert "portal.idle_minutes: found 99; allowed: a whole number from 1 to 60" in done["msg"]
    assert daemon.running()["portal"]["idle_minutes"] == 15


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "tree, settings"),
        ({"settings": "portal: {}"}, "`settings` is not JSON"),
        ({"settings": "[1]"}, "`settings` must be an object"),
        ({"settings": "{}", "state": "gone"}, "value of state must be one of"),
    ],
)
def test_wrong_use_is_said(parameters: dict[str, Any], said: str, module: Module, site: dict[str, Any]) -> None:
    done = module("appliance_config", **parameters)
    assert done["failed"]
    assert said in done["msg"]


def test_a_commit_that_waits_is_kept_once(module: Module, daemon: Daemon, site: dict[str, Any]) -> None:
    waiting = module("appliance_config", settings=settings(portal={"idle_minutes": 5}), confirm_minutes=5)
    assert waiting["confirm_by"]
    looked = module("appliance_config", state="confirmed", _ansible_check_mode=True)
    assert (looked["changed"], daemon.store.pending() is None) == (True, False)
    assert module("appliance_config", state="confirmed")["changed"] is True
    assert daemon.store.pending() is None
    assert module("appliance_config", state="confirmed")["changed"] is False


def test_facts_are_told_in_the_shape_of_each_topic(
    module: Module, site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, api.Shown] = {
        "version": api.Facts(title="version", facts=(("Sentry", "1"), ("kernel", "6"))),
        "service": api.Table(title="services", columns=("unit", "state"), rows=(("a", "active"), ("b", "failed"))),
        "fips": api.Text(title="fips", lines=("FIPS 140 mode is enabled",)),
    }
    monkeypatch.setattr(facts, "show", lambda topic, _argument, _context: shown[topic])
    assert module("appliance_facts", topics=list(shown))["appliance"] == {
        "version": {"Sentry": "1", "kernel": "6"},
        "service": [{"unit": "a", "state": "active"}, {"unit": "b", "state": "failed"}],
        "fips": ["FIPS 140 mode is enabled"],
    }


def test_a_topic_that_cannot_be_told_does_not_keep_back_the_others(module: Module, site: dict[str, Any]) -> None:
    done = module("appliance_facts", topics=["timeout", "nonsense"])
    assert done["appliance"]["timeout"]["CLI sessions at once"] == "5"
    assert "found the topic 'nonsense'" in done["unanswered"]["nonsense"]
    assert not done["changed"]


def test_the_configuration_comes_with_masks(module: Module, site: dict[str, Any]) -> None:
    done = module("appliance_facts", topics=[], configuration=True)
    assert done["configuration"]["hostname"] == site["hostname"]
    assert done["configuration"]["users"]["accounts"]["alice"]["password_hash"] == "********"


def test_ansible_cfg_names_the_folder_of_the_modules() -> None:
    text = (REPO / "ansible.cfg").read_text()
    (folders,) = [line.partition("=")[2].split(":") for line in text.splitlines() if line.startswith("library")]
    assert "roles/management/library" in [folder.strip() for folder in folders]
    assert {path.stem for path in LIBRARY.glob("*.py")} == {
        "appliance_config",
        "appliance_facts",
        "appliance_gateway",
        "appliance_software",
    }
