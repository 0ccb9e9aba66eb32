"""Every rule that a scan decides names what mends it, and `--tags RULE` runs that and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import parity
from stig import remedy, written
from stig.errors import InputError
from stig.remedy import Remedy
from stig.rules import FOLDER, Rule

REPO = Path(__file__).resolve().parents[3]
ROLES = REPO / "roles"
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
REMEDIES = remedy.load(FOLDER)
AUTOMATED = [rule for rule in written.load().rules if rule.not_reviewed is None]


def of(rule: Rule) -> Remedy | None:
    return Remedy(id=rule.id, mended_in=rule.mended_in) if rule.mended_in else REMEDIES.get(rule.id)


def tagged() -> dict[str, set[str]]:
    """The files of each role whose tasks bear a rule's tag, by the rule."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROLES.glob("*/tasks/main.yml")):
        for task in yaml.safe_load(path.read_text()):
            for tag in task.get("tags", ()):
                found.setdefault(tag, set()).add(path.parts[-3])
    return found


def test_every_rule_that_a_scan_decides_says_what_mends_it() -> None:
    """A tag, a setting, or in words what neither does."""
    assert len(AUTOMATED) > 300
    assert [rule.id for rule in AUTOMATED if not rule.remedy] == []
    assert {remedy.kind(of(rule)) for rule in AUTOMATED} == {"tag", "setting", "render", "by_hand"}


def test_each_rule_that_a_role_mends_is_a_tag_of_that_roles_tasks_and_no_other_is() -> None:
    """Against the catalogue, so that neither forgets the other."""
    mended = {}
    for rule in AUTOMATED:
        known = of(rule)
        if remedy.kind(known) == "tag" and known is not None:
            mended[rule.id] = {Path(known.mended_in).parts[1]}
    assert tagged() == mended
    assert len(mended) > 200


@pytest.mark.parametrize("known", REMEDIES.values(), ids=REMEDIES)
def test_what_a_remedy_names_is_there(known: Remedy) -> None:
    """A file of this project, a setting of the schema."""
    if known.setting:
        assert parity.has_setting(known.setting)
    if known.mended_in:
        assert (REPO / known.mended_in).is_file()


def test_a_remedy_says_one_thing_of_a_rule_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "remedies.yaml").write_text("rules: [{id: V-250984, setting: a, by_hand: b}]")
    with pytest.raises(InputError, match="exactly one of"):
        remedy.load(tmp_path)
    with pytest.raises(InputError, match="V-999999 is no rule"):
        remedy.checked({"V-999999": Remedy(id="V-999999", setting="a")}, {"V-250984"})


def listed(*tags: str) -> list[str]:
    """The tasks that provision.yml would run with these tags, as Ansible says; but its own look at each role's arguments."""
    given = ["-i", "gw1,", "-e", "ansible_user=x", "--tags", ",".join(tags), "--list-tasks"]
    argv = [str(PLAYBOOK), *given, "playbooks/provision.yml"]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=True)
    tasks = re.findall(r"^ {6}(\S.*?)\s+TAGS:", done.stdout, re.MULTILINE)
    return [task for task in tasks if "Validating arguments" not in task]


@pytest.mark.parametrize(
    ("tag", "tasks"),
    [
        ("SENTRY-OS-0701", ["os_hardening : Put the hardened files in place"]),
        ("V-250986", ["os_hardening : Put the hardened files in place"]),
        ("SENTRY-OS-0102", ["base : Lock root"]),
        ("SENTRY-OS-1004", ["sentry : Put the rules of the log in place"]),
        (
            "SENTRY-OS-0305",
            ["crypto_policy : Put the crypto policy in place", "crypto_policy : See that the policy holds"],
        ),
    ],
)
@pytest.mark.skipif(not PLAYBOOK.is_file(), reason="Ansible reads the playbook")
def test_a_rules_tag_runs_what_mends_it_and_nothing_else(tag: str, tasks: list[str]) -> None:
    assert listed(tag) == tasks


def chosen(tmp_path: Path, *tags: str) -> list[str]:
    """The files that the role os_hardening would put in place with these tags, as Ansible reckons them."""
    play: list[dict[str, Any]] = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(ROLES / "os_hardening/vars/main.yml")],
            "tasks": [
                {
                    "name": "Write what was chosen",
                    "ansible.builtin.copy": {
                        "content": "{{ os_hardening_chosen | map(attribute='path') | to_json }}",
                        "dest": str(tmp_path / "chosen"),
                        "mode": "0600",
                    },
                    "tags": ["always"],
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    given = ["-i", "localhost,", "-e", f"role_path={ROLES / 'os_hardening'}", "-e", "automation_user=builder"]
    given += ["-e", f"ansible_python_interpreter={sys.executable}", *(["--tags", ",".join(tags)] if tags else [])]
    for name in ("files", "templates"):  # where the files' contents are looked up
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(ROLES / "os_hardening" / name)
    argv = [str(PLAYBOOK), *given, str(tmp_path / "play.yml")]
    subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=True)
    found: list[str] = json.loads((tmp_path / "chosen").read_text())
    return found


@pytest.mark.skipif(not PLAYBOOK.is_file(), reason="Ansible reckons")
@pytest.mark.parametrize(
    ("tags", "paths"),
    [
        (("SENTRY-OS-0701",), ["/etc/sysctl.d/60-sentry.conf"]),
        (("V-250986",), ["/etc/pam.d/common-auth"]),
        (("SENTRY-OS-0701", "V-250986"), ["/etc/sysctl.d/60-sentry.conf", "/etc/pam.d/common-auth"]),
    ],
)
def test_with_a_rules_tag_only_its_file_is_put_in_place(
    tmp_path: Path, tags: tuple[str, ...], paths: list[str]
) -> None:
    assert chosen(tmp_path, *tags) == paths


@pytest.mark.skipif(not PLAYBOOK.is_file(), reason="Ansible reckons")
def test_without_a_tag_and_for_what_the_list_as_a_whole_mends_all_files_are(tmp_path: Path) -> None:
    files = yaml.safe_load((ROLES / "os_hardening/vars/main.yml").read_text())["os_hardening_files"]
    every = [one["path"] for one in files]
    assert chosen(tmp_path) == every
    assert chosen(tmp_path, "SENTRY-OS-0613") == every


def test_every_file_that_the_catalogue_names_of_the_role_has_its_place() -> None:
    variables = yaml.safe_load((ROLES / "os_hardening/vars/main.yml").read_text())
    named = {Path(known.mended_in) for rule in AUTOMATED if (known := of(rule)) is not None and known.mended_in}
    of_role = {path.name for path in named if path.parts[:2] == ("roles", "os_hardening")}
    places = variables["os_hardening_places"]
    assert of_role - {"main.yml"} == set(places)
    assert set(places.values()) <= {one["path"] for one in variables["os_hardening_files"]}
