"""Ten appliances from one inventory, in the time that a fleet's scan may take.

The lab has one appliance, so its ten names are one machine, which does the work of ten beside the scanner, on the same
processors. So many scans at a time as its sessions allow; what a fleet of ten machines takes is less.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.paths import REPO
from images.run import run
from tests.lab import Lab, Measured
from tests.stig.breaks import committed
from tests.stig.conftest import AUDITOR

pytestmark = pytest.mark.appliance

NAMES = tuple(f"gw{number:02}" for number in range(1, 11))
AT_ONCE = 4
FLEET_SECONDS = 180.0  # what ten may take on two processors
# What the scanner itself may compute meanwhile: half of one of them. The whole takes as long as the machine's other work lets it.
SCANNER_SECONDS = 90.0
SESSIONS = "ssh max_sessions 10"  # each scan has one open throughout, and a second one now and then


@pytest.fixture
def agent(auditor: Lab) -> Iterator[dict[str, str]]:
    """The environment of an SSH agent that has the auditor's key."""
    said = run(["ssh-agent", "-s"]).stdout
    found = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    try:
        run(["ssh-add", "-q", auditor.ssh.key], env=found)
        yield found
    finally:
        run(["ssh-agent", "-k"], env=found)


def computed() -> float:
    """Seconds of a processor that this process's children have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow  # two minutes
def test_ten_are_scanned_and_the_scanner_computes_little(
    lab: Lab, agent: dict[str, str], tmp_path: Path, measured: Measured
) -> None:
    """Each with all of its reports, and none with a look that failed. The key is an agent's: with one in a file each scan would
    open sessions until one is refused, and they would count each other's."""
    inventory = tmp_path / "hosts.yml"
    way = {"ansible_host": lab.address, "ansible_port": lab.ssh.port, "stig_user": AUDITOR}
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys(NAMES, way)}}), encoding="utf-8")
    given: list[str | Path] = [
        "--known-hosts",
        lab.known_hosts,
        "--ca-file",
        lab.ca_file,
        "--gateway-address",
        lab.addresses.device,
    ]
    given += ["--at-once", str(AT_ONCE), "--out", tmp_path / "scan"]
    with committed(lab, SESSIONS):
        began, before = time.monotonic(), computed()
        run([sys.executable, "-m", "stig", "fleet", inventory, *given], cwd=REPO, env=agent, seconds=3 * FLEET_SECONDS)
        took, spent = time.monotonic() - began, computed() - before
    measured(f"ten scans of one appliance, {AT_ONCE} at a time", took)
    for name in NAMES:
        tree = json.loads((tmp_path / "scan" / name / "results.json").read_text(encoding="utf-8"))
        assert {one["rule"] for one in tree["results"] if one["status"] == "error"} == set(), name
        assert (tmp_path / "scan" / name / "sentry.ckl").stat().st_size > 0
    measured("of which the scanner computes", spent)
    assert spent < SCANNER_SECONDS
