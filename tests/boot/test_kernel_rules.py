"""The rules that only a machine with a kernel of its own shows: not a finding on the machine that runs as it was made, and each
open on a copy of it whose disk somebody has changed while it was off (`kernel_breaks`); slow."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.lab.zones import MANAGEMENT
from stig.auditor import AuditorMachine
from stig.door import SshDoor, ssh_config
from stig.errors import FactError
from stig.facts import Facts
from stig.platform import PROOFS
from stig.results import Scan
from stig.target import by_command_line, check
from stig.verdict import Verdict
from tests.boot import kernel_breaks
from tests.boot.configured import LOGIN, Appliance
from tests.boot.kernel_breaks import BROKEN
from tests.boot.machine import AwayError
from tests.boot.rest import Rest

pytestmark = pytest.mark.slow


def judged(appliance: Appliance) -> dict[str, Verdict]:
    """What these rules end as, by what an administrator's command line tells the scanner over SSH. Raises `AwayError` where it
    does not answer."""
    layout = appliance.layout
    target = check(
        by_command_line(
            f"ssh://admin@{MANAGEMENT.address}",
            key=layout.secrets / "admin",
            known_hosts=layout.known_hosts,
            ca_file=None,
        )
    )
    with tempfile.TemporaryDirectory(prefix="stig-") as folder:
        machine = AuditorMachine(target, SshDoor(ssh_config(target, Path(folder)), target.admin.user))
        try:
            facts = Facts(machine)
            return {one.rule: one.verdict(facts) for one in PROOFS if one.rule in BROKEN}
        except FactError as error:
            raise AwayError(str(error)) from error
        finally:
            machine.close()


@pytest.fixture(scope="module")
def changed(appliance: Appliance, scan: Scan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A copy of the machine, which is off by then, with another's menu and initramfs; it has started."""
    assert scan.results  # made before it goes off
    if appliance.is_on:
        appliance.switch_off()
    machine = appliance.machine.copied(tmp_path_factory.mktemp("changed") / "machine")
    machine.cd = None
    kernel_breaks.change(machine)
    made = Appliance(machine, appliance.layout, Rest(appliance.layout))
    with made.held:
        process = made.switch_on()
        machine.hears(process, LOGIN)
        machine.answers(MANAGEMENT.address, 22)
        yield made


def test_they_are_no_finding_on_the_machine_as_it_was_made(scan: Scan) -> None:
    assert {rule: scan.by_rule[rule].status for rule in BROKEN} == dict.fromkeys(BROKEN, "not_a_finding")


def test_secure_boot_starts_the_changed_machine_all_the_same(changed: Appliance) -> None:
    """It verifies shim, GRUB and the kernel, and of these nothing was changed: it takes a scan to see it (docs/images.md)."""
    assert b"Secure boot enabled" in changed.machine.said


def test_each_is_open_on_the_changed_machine(changed: Appliance) -> None:
    found = changed.machine.until(lambda: judged(changed))
    assert {rule: found[rule].status for rule in BROKEN} == dict.fromkeys(BROKEN, "open")
