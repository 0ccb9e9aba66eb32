"""`playbooks/upgrade.yml` as an operator runs it: a real `ansible-playbook` against the running APIs of a small fleet.

Behind each API is a real configd; what its unit and a restart would do to the slots is done here, with RAUC's answers as a table.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.configd.passwords import hashed
from appliance.configd.software import UNIT
from appliance.software.carrying import Machine, carry_out
from appliance.software.environment import mend
from appliance.software.marking import mark_good
from appliance.software.spool import Letter, Slot, Slots
from sentry_runtime import control
from tests.unit.appliance import workbench
from tests.unit.appliance.cli.desk import SECRET, SITE, Running, accepted, public_key, without_effects
from tests.unit.appliance.rest.conftest import Stand, certificate
from tests.unit.appliance.software.bench import NOW, Programs, info
from tests.unit.appliance.workbench import Daemon

REPO = Path(__file__).resolve().parents[3]
SECONDS = 300
OLD, NEW = "1.2.0", "1.3.0"
NAMES = ("gw1", "gw2", "gw3")  # gw1 is the canary

__all__ = ["certificate"]


class Gateway(dict[type, Any]):
    """What the data plane answers: the gateway serves until it is drained."""

    def __init__(self, drained: Callable[[], bool]) -> None:
        self._drained = drained

    def get(self, kind: Any, default: Any = None, /) -> Any:
        if kind is control.Status:
            return {"state": "drained" if self._drained() else "running"}
        return super().get(kind, default)


class Box:
    """An appliance of the fleet, which runs from slot a. `bad`: what is written into it does not run well."""

    def __init__(self, name: str, folder: Path, certificate: Path) -> None:
        self.name = name
        self.bad = False
        self.orders: list[str] = []
        self.daemon = Daemon(folder / name, features=without_effects())
        folder.joinpath(name).mkdir(exist_ok=True)
        key = "ecdsa-sha2-nistp256 " + public_key(folder / name)
        tree = {**SITE, "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": [key]}}}}
        tree["firewall"] = {"management_networks": ["192.0.2.0/24", "127.0.0.0/8"]}
        tree["cli"] = {"enable_secret_hash": hashed(SECRET)}
        self.daemon.commit(self.daemon.schema.fill(accepted(self.daemon, tree)))
        self.programs = Programs({"rauc info": info(NEW)})
        self.daemon.told = Gateway(lambda: self.drained)
        self.daemon.commands.follows = {f"--no-block start {UNIT}": self._write, "--no-block reboot": self._restart}
        self._boot = folder / name / "boot"
        self._boot.write_bytes(b"kernel")
        mend(folder / name, Slots(next="a"), "a")
        self._runs("a", OLD)
        self.daemon.software.note(Slots(next="a", a=Slot(version=OLD, state="good")))
        self._running = Running(self.daemon, folder / name / "socket")
        self.stand = Stand(self.daemon, self._running.path, certificate)
        self.token = self.stand.token(name, scopes=("read", "services", "power"))

    def stop(self) -> None:
        """End."""
        self.stand.stop()
        self._running.stop()

    @property
    def version(self) -> str:
        """What runs."""
        return (self.daemon.root / "usr/lib/sentry/image").read_text().strip()

    @property
    def drained(self) -> bool:
        """Whether the gateway was told to take nobody new."""
        return any(isinstance(asked, control.Drain) for _path, asked in self.daemon.asked)

    def _runs(self, letter: Letter, version: str) -> None:
        self._slot: Letter = letter
        for name, text in (("usr/lib/sentry/image", version), ("proc/cmdline", f"ro sentry.slot={letter}")):
            place = self.daemon.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def _machine(self) -> Machine:
        return Machine(run=self.programs, version=self.version, slot=self._slot, now=lambda: NOW)

    def _write(self) -> None:
        """sentry-software.service."""
        self.orders.append("write")
        carry_out(self.daemon.software, self._machine())
        self.daemon.commands.units[UNIT] = "inactive"

    def _restart(self) -> None:
        """The machine starts anew; a slot that is bad has had its three tries, and the one before runs again."""
        self.orders.append("restart")
        slots = self.daemon.software.slots()
        assert slots is not None
        if not self.bad:
            self._runs(slots.next, slots.of(slots.next).version)
        mark_good(self.daemon.software, self._machine(), "", boot=self._boot, esp=self._boot.parent)


@pytest.fixture
def fleet(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Box]]:
    """Three appliances. Whoever runs the tests is the portal to configd."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", -1)
    monkeypatch.setattr(workbench, "PORTAL", os.getuid())
    made = {name: Box(name, tmp_path, certificate) for name in NAMES}
    yield made
    for box in made.values():
        box.stop()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """An update of more than one piece."""
    place = tmp_path / "update.raucb"
    place.write_bytes(b"u" * 2_500_000)
    return place


def upgrade(fleet: dict[str, Box], bundle: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the playbook with the project's own settings."""
    folder = bundle.parent / "ansible"
    folder.mkdir(exist_ok=True)
    hosts = {
        name: {"upgrade_url": box.stand.url, "upgrade_token": box.token, "ansible_python_interpreter": sys.executable}
        for name, box in fleet.items()
    }
    inventory = {"all": {"hosts": hosts, "children": {"canary": {"hosts": {NAMES[0]: None}}}}}
    (folder / "hosts.json").write_text(json.dumps(inventory))
    authority = next(iter(fleet.values())).stand.certificate
    said = {"upgrade_version": NEW, "upgrade_bundle": str(bundle), "upgrade_ca": str(authority), "upgrade_seconds": 20}
    argv = [str(REPO / ".venv/bin/ansible-playbook"), "-i", str(folder / "hosts.json"), "-e", json.dumps(said), *words]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "HOME": str(folder),
    }
    done = subprocess.run(
        [*argv, "playbooks/upgrade.yml"], cwd=REPO, env=environment, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert not [box for box in fleet.values() if box.token in done.stdout + done.stderr]
    return done


def test_the_fleet_is_updated_canary_first_each_drained_before_and_a_second_run_changes_nothing(
    fleet: dict[str, Box], bundle: Path
) -> None:
    checked = upgrade(fleet, bundle, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not [box for box in fleet.values() if box.orders or box.drained]

    first = upgrade(fleet, bundle)
    assert first.returncode == 0, first.stdout + first.stderr
    for box in fleet.values():
        assert (box.version, box.orders, box.drained) == (NEW, ["write", "restart"], True)
        slots = box.daemon.software.slots()
        assert slots is not None
        assert (slots.b.state, slots.a.state, slots.next) == ("good", "good", "b")
    assert first.stdout.index("Update the canaries") < first.stdout.index("Update the appliances")

    second = upgrade(fleet, bundle)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "changed=0" in second.stdout
    assert [box.orders for box in fleet.values()] == [["write", "restart"]] * 3


def test_a_canary_that_falls_back_ends_it_and_the_rest_stay_as_they_are(fleet: dict[str, Box], bundle: Path) -> None:
    canary, *rest = fleet.values()
    canary.bad = True
    done = upgrade(fleet, bundle)
    assert done.returncode != 0
    assert f"{NEW} did not run well; the appliance has gone back to {OLD} by itself" in done.stdout
    assert (canary.version, canary.orders) == (OLD, ["write", "restart"])
    assert [(box.version, box.orders, box.drained) for box in rest] == [(OLD, [], False)] * 2


def test_a_refused_update_ends_it_in_the_appliance_s_words_and_nobody_is_drained(
    fleet: dict[str, Box], bundle: Path
) -> None:
    for box in fleet.values():
        box.programs.failing["rauc info"] = "signature verification failed: self-signed certificate"
    done = upgrade(fleet, bundle)
    assert done.returncode != 0
    assert "the update was not written: the update is refused: signature verification failed" in done.stdout
    assert [box.version for box in fleet.values()] == [OLD] * 3
    assert not [box for box in fleet.values() if box.drained]


def test_one_that_is_not_well_keeps_all_from_being_changed(fleet: dict[str, Box], bundle: Path) -> None:
    fleet["gw3"].daemon.software.note(Slots(next="a", a=Slot(version=OLD, state="trial")))
    done = upgrade(fleet, bundle)
    assert done.returncode != 0
    assert "slot a, which runs, is trial" in done.stdout
    assert not [box for box in fleet.values() if box.orders]


def test_a_bundle_of_another_version_than_was_said_is_not_started(fleet: dict[str, Box], bundle: Path) -> None:
    for box in fleet.values():
        box.programs.answers["rauc info"] = info("1.4.0")
    done = upgrade(fleet, bundle)
    assert done.returncode != 0
    assert f"found the version 1.4.0 in the bundle; allowed: {NEW}" in done.stdout
    assert [box.orders for box in fleet.values()] == [["write"], [], []]


def test_without_the_file_nothing_is_asked(fleet: dict[str, Box], bundle: Path) -> None:
    done = upgrade(fleet, bundle, "-e", json.dumps({"upgrade_bundle": str(bundle) + ".missing"}))
    assert done.returncode != 0
    assert "allowed: an update that images.builder has made" in done.stdout
    assert not [box for box in fleet.values() if box.orders]
