"""`appliance_config` and `appliance_facts` over REST: a real `ansible-playbook` against the running API on loopback TLS."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.portal.conftest import make_certificate
from tests.unit.appliance.rest.conftest import Stand, certificate, stand

REPO = Path(__file__).resolve().parents[3]
SECONDS = 120
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  become: false
  vars: {settings: {ntp: {servers: [192.0.2.5, 192.0.2.6]}}}
  module_defaults:
    appliance_config: &there
      url: "{{ api }}"
      token: "{{ token }}"
      ca: "{{ ca }}"
    appliance_facts: *there
  tasks:
    - name: Change
      appliance_config:
        settings: "{{ settings | to_json }}"
        comment: by a play
        confirm_minutes: 5
      register: done
    - name: Keep
      appliance_config: {state: confirmed}
      when: done.confirm_by | length > 0
    - name: Look
      appliance_facts: {topics: [confirmation, timeout, nonsense], configuration: true}
      register: told
    - name: Write down
      ansible.builtin.copy:
        dest: "{{ out }}"
        content: "{{ {'done': done, 'told': told} | to_json }}"
        mode: "0600"
      check_mode: false
"""

__all__ = ["certificate", "stand"]


class Plays:
    """Runs the play from a folder of its own, with the project's modules."""

    def __init__(self, folder: Path, stand: Stand, token: str) -> None:
        self._folder, self._stand, self._token = folder, stand, token
        (folder / "play.yml").write_text(PLAY)
        (folder / "ansible.cfg").write_text(
            "[defaults]\n"
            f"library = {REPO / 'roles/management/library'}\nmodule_utils = {REPO / 'roles/management/module_utils'}\n"
        )

    def run(self, *words: str, **more: str) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
        """What it printed, and what its tasks came to."""
        out = self._folder / "out.json"
        out.unlink(missing_ok=True)
        names = {
            "api": self._stand.url,
            "token": self._token,
            "ca": str(self._stand.certificate),
            "out": str(out),
            "ansible_python_interpreter": sys.executable,
            **more,
        }
        variables = self._folder / "variables.json"
        variables.write_text(json.dumps(names))
        argv = [str(REPO / ".venv/bin/ansible-playbook"), "-i", "localhost,", "-e", f"@{variables}", *words]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self._folder / "remote"),
            "HOME": str(self._folder),
        }
        done = subprocess.run(
            [*argv, str(self._folder / "play.yml")],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert self._token not in done.stdout + done.stderr
        return done, json.loads(out.read_text()) if out.exists() else {}


@pytest.fixture
def plays(stand: Stand, tmp_path: Path) -> Plays:
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Plays(folder, stand, stand.token(scopes=("read", "configure")))


def test_a_play_checks_changes_keeps_and_finds_nothing_to_do_again(plays: Plays, stand: Stand) -> None:
    """Check mode changes nothing and shows the difference; the second run changes nothing."""
    shown, checked = plays.run("--check", "--diff")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert checked["done"]["changed"] is True
    assert '+ntp.servers: ["192.0.2.5", "192.0.2.6"]' in shown.stdout
    assert stand.daemon.running()["ntp"]["servers"] == ["192.0.2.1", "192.0.2.3"]

    first, made = plays.run()
    assert first.returncode == 0, first.stdout + first.stderr
    assert (made["done"]["changed"], made["done"]["revision"]) == (True, 2)
    assert made["told"]["appliance"]["confirmation"]["waiting"] == "no"
    assert "nonsense" in made["told"]["unanswered"]["nonsense"]
    assert made["told"]["configuration"]["ntp"]["servers"] == ["192.0.2.5", "192.0.2.6"]
    assert made["told"]["configuration"]["cli"]["enable_secret_hash"] == "********"
    newest = stand.daemon.store.revisions()[0]
    assert (newest.user, newest.comment) == ("token:fleet", "by a play")

    second, again = plays.run()
    assert second.returncode == 0, second.stdout + second.stderr
    assert again["done"]["changed"] is False
    assert len(stand.daemon.store.revisions()) == 2


def test_what_is_refused_fails_in_the_appliance_s_words(plays: Plays, stand: Stand) -> None:
    extra = json.dumps({"settings": {"portal": {"idle_minutes": 99}}})
    done, _ = plays.run("-e", extra)
    assert done.returncode != 0
    assert "portal.idle_minutes: found 99; allowed: a whole number from 1 to 60" in done.stdout
    bad, _ = plays.run(token="sentry_" + "A" * 43)
    assert "The token or the secret is not good (401)" in bad.stdout
    assert len(stand.daemon.store.revisions()) == 1


def test_a_certificate_of_another_authority_ends_the_play(plays: Plays, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    done, _ = plays.run(ca=str(make_certificate(other) / "cert.pem"))
    assert done.returncode != 0
    assert "does not answer" in done.stdout
    assert SECRET not in done.stdout
