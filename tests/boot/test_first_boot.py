"""The qcow2 that ships, started with a NoCloud disk: it configures itself, serves in its zones, meets the STIGs' rules with a
kernel of its own, and finds its configuration again; slow. Its site is sites/stig.yml, whose other machines are played."""

from pathlib import Path

import pytest

from images.lab import devices, steps
from images.lab.zones import DEVICE, ZONES
from images.paths import Layout
from stig import devices as listed
from stig import written
from stig.probe import device
from stig.results import Scan
from tests.boot import sites
from tests.boot.configured import LOGIN, Appliance
from tests.boot.machine import Machine, nocloud

pytestmark = pytest.mark.slow

ASKS = b"Press Enter to set it up here."


def test_it_started_verified(appliance: Appliance) -> None:
    """The kernel's own word: Secure Boot is on, and the kernel is locked; and the firmware's."""
    said = appliance.machine.said
    assert b"Secure boot enabled" in said
    assert b"Kernel is locked down from EFI Secure Boot" in said
    assert "SecureBoot enabled" in appliance.cli("facts secure_boot")


def test_its_ports_answer_in_their_zones_and_no_others(appliance: Appliance) -> None:
    for zone in ZONES:
        for port in sorted(zone.ports):
            assert appliance.machine.answers(zone.address, port)
    surplus = [line for line in steps.unexpected(steps.look_from_outside()) if line.endswith("must not")]
    assert surplus == []


def test_a_device_comes_through_443_and_a_strange_one_does_not(appliance: Appliance) -> None:
    known = listed.load(appliance.layout.lab / devices.FILE)
    authorities = appliance.layout.lab / "backend-ca.pem"

    def attempt(name: str, pair: listed.Pair | None) -> device.Tried:
        return device.attempt(DEVICE.address, 443, name, known.user, pair, authorities)

    assert attempt(known.registered.device_id, known.identity).passed
    assert not attempt(known.unregistered.device_id, known.identity).passed
    assert not attempt(known.registered.device_id, known.stranger).passed
    assert not attempt(known.registered.device_id, None).passed


def test_no_rule_of_the_first_two_categories_is_open(scan: Scan) -> None:
    """But for the exceptions, whose reasons stand in the site's answers (tests/stig/test_stig_site.py knows which they are)."""
    bad = [
        f"{one.rule} is {one.status}: {one.reason}"
        for one in scan.results
        if one.category in ("I", "II") and (one.status == "error" or (one.status == "open" and not one.override))
    ]
    assert bad == []


def test_every_rule_of_the_product_is_decided_but_that_of_tunnels(scan: Scan) -> None:
    of_the_product = [one for one in scan.results if one.rule.startswith("V-")]
    assert len(of_the_product) == 58
    assert [one.rule for one in of_the_product if one.status == "not_reviewed"] == ["V-251029"]


def test_every_rule_of_the_platform_is_decided(scan: Scan) -> None:
    """A machine with a kernel of its own leaves none to its host."""
    rules = {rule.id for rule in written.load().rules if rule.id.startswith("SENTRY-OS-")}
    of_the_platform = [one for one in scan.results if one.rule in rules]
    assert {one.rule for one in of_the_platform} == rules
    assert [f"{one.rule}: {one.reason}" for one in of_the_platform if one.status == "not_reviewed"] == []


def test_it_serves_again_after_a_restart_without_the_disk(appliance: Appliance) -> None:
    """With an /etc that is empty again."""
    appliance.switch_off()
    appliance.machine.cd = None
    process = appliance.switch_on()
    appliance.machine.hears(process, LOGIN)
    appliance.serves(2)
    appliance.switch_off()  # for those that come later it only takes time


def test_what_it_cannot_use_is_said_on_the_console_which_asks(built: Path, place: Layout, tmp_path: Path) -> None:
    (image,) = built.glob("*.qcow2")
    machine = Machine.made(image, tmp_path / "refused")
    machine.cd = nocloud(machine.folder, f"{sites.user_data(sites.tree(place))}runcmd: [reboot]\n")
    with machine.on() as process:
        machine.hears(process, b"runcmd: found an unknown setting")
        machine.hears(process, ASKS)
        machine.off(process)
