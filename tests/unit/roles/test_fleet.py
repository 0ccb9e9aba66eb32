"""The example of a fleet: Ansible reads it, and what it makes of it is a configuration that the appliance would take."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.config.schema import Schema
from appliance.config.secrets import Memory
from appliance.configd.passwords import hashed
from appliance.features import FEATURES
from appliance.plan import accept

REPO = Path(__file__).resolve().parents[3]
EXAMPLE = REPO / "sites" / "fleet.example"
SECONDS = 120


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The hosts with their variables, a copy of the example with a real, encrypted vault."""
    folder = tmp_path_factory.mktemp("fleet")
    fleet = folder / "fleet"
    shutil.copytree(EXAMPLE, fleet)
    everybody = fleet / "group_vars" / "all"
    names = yaml.safe_load((everybody / "vault.example.yml").read_text())
    (everybody / "vault.example.yml").unlink()
    vault = everybody / "vault.yml"
    vault.write_text(yaml.safe_dump(dict.fromkeys(names, hashed("Some-Password-12345"))))
    word = folder / "word"
    word.write_text("the vault's password\n")
    ansible(folder, "ansible-vault", "encrypt", "--vault-password-file", str(word), str(vault))
    assert vault.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256")
    play = folder / "play.yml"
    play.write_text(
        "- hosts: all\n  gather_facts: false\n  connection: local\n  tasks:\n"
        "    - ansible.builtin.copy:\n        dest: '{{ out }}/{{ inventory_hostname }}.json'\n"
        "        content: '{{ management_settings | to_json }}'\n        mode: '0600'\n      delegate_to: localhost\n"
    )
    argv = ["-i", str(fleet / "hosts.yml"), "--vault-password-file", str(word), "-e", f"out={folder}", str(play)]
    ansible(folder, "ansible-playbook", *argv)
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def ansible(folder: Path, program: str, *arguments: str) -> None:
    """One of Ansible's programs, away from the project's settings."""
    (folder / "ansible.cfg").touch()
    place = str(REPO / ".venv" / "bin" / program)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder),
        "HOME": str(folder),
    }
    done = subprocess.run(
        [place, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_host_gets_what_all_have_and_what_is_its_own(inventory: dict[str, dict[str, Any]]) -> None:
    assert set(inventory) == {"gw1.example.test", "gw2.example.test"}
    for host, tree in inventory.items():
        assert tree["hostname"] == host
        assert tree["ntp"]["servers"] == ["192.0.2.1", "192.0.2.2"]
    addresses = [tree["interfaces"]["eth0"]["addresses"] for tree in inventory.values()]
    assert sorted(addresses) == [["192.0.2.11/24"], ["192.0.2.12/24"]]


def test_an_appliance_would_take_it(inventory: dict[str, dict[str, Any]]) -> None:
    for tree in inventory.values():
        assert accept(Schema(FEATURES), tree, {}, Memory())["hostname"] == tree["hostname"]


def test_no_secret_is_in_the_example() -> None:
    texts = [path.read_text() for path in EXAMPLE.rglob("*") if path.is_file()]
    assert len(texts) >= 5
    assert not [text for text in texts if re.search(r"\$6\$|ANSIBLE_VAULT|BEGIN", text)]


def test_the_playbook_looks_everywhere_first_and_then_goes_one_by_one() -> None:
    plays = yaml.safe_load((REPO / "playbooks" / "configure.yml").read_text())
    look, do = plays
    assert (look["check_mode"], "serial" in look) == (True, False)
    assert do["serial"] == "{{ fleet_at_once | default(1) }}"
    assert all(play["any_errors_fatal"] for play in plays)
