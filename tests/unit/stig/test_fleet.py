"""Many appliances from one inventory: who is scanned with what, how it is told, and what a build server sees."""

import shutil
import sys
from pathlib import Path

import pytest

from stig import fleet
from stig.__main__ import main
from stig.errors import InputError
from stig.fleet import Ended, Host
from stig.run import run

REPO = Path(__file__).resolve().parents[3]
INVENTORY = """
gateways:
  vars: {stig_user: assessor}
  hosts:
    gw1: {ansible_host: 192.0.2.1}
    gw2: {ansible_host: "2001:db8::2", ansible_port: 2222, stig_user: eve, stig_answers: site2.yml}
others:
  hosts: {gw3.example.test: }
"""

pytestmark = pytest.mark.skipif(shutil.which(fleet.reader()) is None, reason="Ansible reads inventories")


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return path


def test_hosts_are_those_of_the_inventory_with_their_own_options(inventory: Path) -> None:
    """As Ansible reads it: groups, their variables, addresses and ports."""
    assert fleet.hosts(inventory) == (
        Host("gw1", "192.0.2.1", 22, {"user": "assessor"}),
        Host("gw2", "2001:db8::2", 2222, {"user": "eve", "answers": "site2.yml"}),
        Host("gw3.example.test", "gw3.example.test", 22, {}),
    )
    assert [one.name for one in fleet.hosts(inventory, "gateways")] == ["gw1", "gw2"]


@pytest.mark.parametrize("text", ["all: [1, 2", "all: {hosts: {}}"])
def test_an_inventory_without_hosts_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"has no host|cannot be read"):
        fleet.hosts(path)


def test_a_hosts_own_options_come_before_those_for_all(inventory: Path, tmp_path: Path) -> None:
    _one, two, _three = fleet.hosts(inventory)
    words = fleet.command(two, {"user": "auditor", "key": "k", "answers": "all.yml", "fail_on": "I"}, tmp_path)
    assert words[:6] == [sys.executable, "-m", "stig", "scan", "ssh://eve@[2001:db8::2]:2222", "--out"]
    assert words[6:] == [str(tmp_path / "gw2"), "--key", "k", "--answers", "site2.yml", "--fail-on", "I"]


def test_hosts_that_cannot_be_scanned_are_told_with_the_reason_and_fail_the_run(
    inventory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each by a scan of its own, which finds no file of host keys here."""
    out = tmp_path / "scan"
    given = ["--limit", "gateways", "--known-hosts", "/no/hosts", "--out", str(out)]
    assert main(["fleet", str(inventory), *given]) == 2
    said = capsys.readouterr().out
    assert "scanning 2 appliances, 10 at a time" in said
    assert "[2/2]" in said
    assert said.count("/no/hosts: there is no such file") == 4  # as it goes, and in the table
    assert not out.exists()


def test_a_scanner_that_breaks_fails_its_host_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ends with 1 then, as a scan does that has found something; but there are no results, or those of an earlier scan."""
    monkeypatch.chdir(tmp_path)  # where there is no scanner to be run
    (tmp_path / "scan/gw2").mkdir(parents=True)
    (tmp_path / "scan/gw2/results.json").write_text("{}")
    said: list[str] = []
    hosts = (Host("gw1", "192.0.2.1", 22, {}), Host("gw2", "192.0.2.2", 22, {}))
    ended = fleet.scan_all(hosts, {}, tmp_path / "scan", at_once=2, say=said.append)
    assert [(one.host, one.status) for one in ended] == [("gw1", 2), ("gw2", 2)]
    assert all("No module named" in one.words for one in ended)
    assert len(said) == 2


@pytest.mark.parametrize(("each", "whole"), [((0, 0), 0), ((0, 1), 1), ((1, 2), 2), ((0, -9), 2), ((0, 255), 2)])
def test_the_worst_host_decides_what_a_build_server_sees(each: tuple[int, ...], whole: int) -> None:
    """A scan that was killed is one that failed."""
    assert fleet.status([Ended("gw", one, 1.0, "") for one in each]) == whole


def test_the_playbook_scans_from_here_whatever_the_inventory_says_of_the_way_there(tmp_path: Path) -> None:
    """And a host that cannot be scanned fails, with the scanner's reason."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text('all: {hosts: {gw1: {ansible_host: "::1", ansible_port: 2222, ansible_connection: ssh}}}')
    program = fleet.reader().replace("ansible-inventory", "ansible-playbook")
    done = run(
        [program, "-i", str(inventory), "-e", "stig_known_hosts=/no/hosts", str(REPO / "playbooks/scan.yml")],
        seconds=120,
    )
    assert done.status == 2
    assert "ssh://auditor@[::1]:2222" in done.output
    assert "/no/hosts: there is no such file" in done.output
