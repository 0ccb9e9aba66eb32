"""What `make appliance` leaves: the ports, the description, and an appliance that a second run does not change."""

import json
import re
import stat
import sys
from pathlib import Path

import pytest

from images.guest import Guest, find
from images.lab.steps import look_across, look_from_outside, trespasses, unexpected
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.run import CommandError, run
from stig import written
from tests.lab import Lab

pytestmark = pytest.mark.appliance

AGAIN_SECONDS = 300.0  # a run that has nothing to do takes under a minute here


@pytest.fixture(scope="module")
def guest(lab: Lab, layout: Layout) -> Guest:
    """The running guest."""
    found = find(GUEST, layout)
    assert found is not None
    return found


def test_from_outside_exactly_the_expected_ports_answer(lab: Lab) -> None:
    """All 65,535 TCP ports and the well-known UDP ones, from every zone."""
    seen = look_from_outside()
    assert [one.target.name for one in seen] == ["device", "management", "backend"]
    assert all(one.asked > 65_535 for one in seen)
    assert unexpected(seen) == []


def test_no_zone_reaches_more_by_another_zones_address(guest: Guest) -> None:
    """Devices do not get at SSH or the portal by calling the management address."""
    heard = look_across(guest)
    assert len(heard) == 6
    assert any(one.tcp for one in heard), "a call that is allowed must get through, or the look sees nothing"
    assert trespasses(heard) == []


def test_the_guest_is_a_real_debian_13_with_systemd(guest: Guest) -> None:
    """Not a container with one program: its own PID 1, its own journal, its own firewall."""
    assert "trixie" in guest.execute(["cat", "/etc/os-release"]).stdout
    assert guest.execute(["cat", "/proc/1/comm"]).stdout == "systemd\n"
    assert guest.execute(["nft", "list", "ruleset"]).stdout


def test_no_unit_has_failed(guest: Guest) -> None:
    """After boot and provisioning everything that should run does."""
    assert guest.execute(["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout == ""


def test_the_administrators_way_in_is_the_cli(lab: Lab) -> None:
    """The host key is checked against what the guest's tree says, and the key opens the appliance's own shell."""
    shown = lab.cli("show version")
    assert shown.code == 0
    assert shown.stdout


def test_the_description_is_true(lab: Lab) -> None:
    """Both URLs answer under the CA that it names; the secrets it names are for their owner alone."""
    assert lab.http().get(f"{lab.portal_url}/", timeout=10).status_code == 200
    assert lab.http().get(f"{lab.gateway_url}/", timeout=10).status_code == 404
    for secret in (lab.admin.password_file, lab.ssh.key, lab.builder.key):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_second_run_changes_nothing_and_says_what_it_measured(lab: Lab, layout: Layout) -> None:
    """`make appliance` on a running appliance: no task changes anything, and the summary is of this run's own scan."""
    (layout.scan / "results.json").unlink(missing_ok=True)
    done = run([sys.executable, "-m", "images.lab", "up"], cwd=REPO, seconds=AGAIN_SECONDS)
    assert "runs already" in done.stdout
    recap = re.search(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0", done.stdout)
    assert recap is not None
    assert int(recap[1]) > 20
    assert recap[2] == "0", done.stdout
    rules = json.loads((layout.scan / "results.json").read_text())["results"]
    total = re.search(r"^ +all +(.*)$", done.stdout, re.MULTILINE)
    assert total is not None
    assert int(total[1].split()[-1]) == len(rules) == len(written.load().rules)


def test_a_wrong_site_configuration_is_refused_before_anything_is_touched(
    lab: Lab, guest: Guest, tmp_path: Path
) -> None:
    """The message has the path, what was found and what is allowed; the running configuration stays."""
    before = guest.execute(["sha256sum", "/etc/sentry/runtime.json"]).stdout
    wrong = tmp_path / "site.yml"
    text = (REPO / "sites" / "lab.yml").read_text().replace("!file ../", f"!file {REPO}/")
    wrong.write_text(text.replace("fail_mode: block", "fail_mode: perhaps"))
    with pytest.raises(CommandError) as refused:
        run([sys.executable, "-m", "images.lab", "up", "--site", wrong], cwd=REPO)
    assert "uem.fail_mode" in str(refused.value)
    assert "perhaps" in str(refused.value)
    assert "block" in str(refused.value)
    assert "==> guest" not in refused.value.output
    assert guest.execute(["sha256sum", "/etc/sentry/runtime.json"]).stdout == before
