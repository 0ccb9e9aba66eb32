"""The qcow2 that ships, started with a NoCloud disk: it configures itself, serves in its zones, meets the STIGs' rules with a
kernel of its own, and finds its configuration again; slow. Its site is sites/stig.yml, whose other machines are played."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from images.lab import devices, steps
from images.lab.site import STIG
from images.lab.zones import DEVICE, MANAGEMENT, ZONES
from images.paths import REPO, Layout
from images.run import run, stream
from stig import devices as listed
from stig import results, written
from stig.probe import device
from stig.results import Scan
from tests.boot import sites
from tests.boot.machine import AwayError, Machine, nocloud
from tests.boot.rest import Rest

pytestmark = pytest.mark.slow

LOGIN = b"login:"
ASKS = b"Press Enter to set it up here."
# It reads every program of the image, at the lowest priority.
INTEGRITY = "/var/lib/aide/aide.db"


@dataclass
class Appliance:
    """A machine that runs the site, and who talks to it."""

    machine: Machine
    layout: Layout
    rest: Rest
    held: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[bytes] | None = None

    def switch_on(self) -> subprocess.Popen[bytes]:
        """Switch it on."""
        self.process = self.held.enter_context(self.machine.on())
        return self.process

    def switch_off(self) -> None:
        """Press its power button, and take it off the network."""
        assert self.process is not None
        self.machine.off(self.process)
        self.held.close()

    def knows(self) -> None:
        """Write its host key down, as an administrator does who sees it for the first time."""
        keys = run(["ssh-keyscan", "-T", "60", "-t", "ecdsa", MANAGEMENT.address]).stdout
        assert keys
        self.layout.known_hosts.write_text(keys)

    def cli(self, command: str) -> str:
        """What the command line answers over SSH to the administrator."""
        options = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.layout.known_hosts}"]
        return run(
            ["ssh", *options, "-i", self.layout.secrets / "admin", f"admin@{MANAGEMENT.address}", command]
        ).stdout

    def serves(self, revision: int) -> None:
        """All three doors answer, and the command line takes a command."""
        answers = [self.machine.answers(MANAGEMENT.address, port) for port in sorted(MANAGEMENT.ports)]
        assert answers[0].startswith("SSH-2.0-")
        assert all(answer.startswith("TLS") for answer in answers[1:])
        assert f"revision {revision}" in self.cli("show version")

    def is_integrity_known(self) -> bool:
        """Whether the first look at all programs has ended."""
        return INTEGRITY in self.cli("facts integrity")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The site with secrets of its own."""
    return sites.place(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def appliance(built: Path, place: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A new machine with this site on its NoCloud disk, and with what user-data cannot hold told to it afterwards."""
    (image,) = built.glob("*.qcow2")
    folder = tmp_path_factory.mktemp("configured")
    whole = sites.tree(place)
    machine = Machine.made(image, folder)
    machine.cd = nocloud(folder, sites.user_data(whole))
    made = Appliance(machine, place, Rest(place))
    with made.held:
        process = made.switch_on()
        steps.start_stand_ins(place, STIG)
        made.held.callback(steps.stop_stand_ins, place)
        machine.hears(process, b"This appliance is configured: revision 1")
        machine.hears(process, LOGIN)
        machine.answers(MANAGEMENT.address, 22)
        made.knows()
        made.serves(1)
        machine.until(made.rest.log_in)
        machine.until(made.rest.good)  # until then it looks at itself all the time
        tell(made, sites.later(whole))
        devices.register(place)
        yield made


def tell(made: Appliance, settings: dict[str, Any]) -> None:
    """Lay settings over the configuration. The portal restarts for another certificate, and its answer may not arrive."""
    rest = made.rest
    if len(made.machine.until(lambda: rest.ask("GET", "/revisions"))) == 1:
        with suppress(AwayError):
            rest.ask(
                "PATCH",
                "/config",
                json.dumps(settings).encode(),
                Content_Type="application/merge-patch+json",
                Sentry_Enable_Secret=rest.secret("enable.secret"),
            )
    made.machine.until(lambda: len(rest.ask("GET", "/revisions")) == 2)


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


@pytest.fixture(scope="module")
def scan(appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """The STIG scan over SSH, as an assessor makes it, once the machine knows its programs."""
    appliance.machine.until(appliance.is_integrity_known)
    out, layout = tmp_path_factory.mktemp("scan"), appliance.layout
    argv: list[str | Path] = [
        "-m", "stig", "scan", f"ssh://admin@{MANAGEMENT.address}", "--key", layout.secrets / "admin",
        "--known-hosts", layout.known_hosts, "--ca-file", layout.lab / "backend-ca.pem",
        "--gateway-address", DEVICE.address, "--devices", layout.lab / devices.FILE,
        "--answers", sites.file(layout, "stig-answers.yml"), "--out", out,
    ]  # fmt: skip
    stream([sys.executable, *argv], cwd=REPO)
    return results.read(out / "results.json")


def test_no_rule_of_the_first_two_categories_is_open(scan: Scan) -> None:
    bad = [
        f"{one.rule} is {one.status}: {one.reason}"
        for one in scan.results
        if one.category in ("I", "II") and one.status in ("open", "error")
    ]
    assert bad == []


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


def test_what_it_cannot_use_is_said_on_the_console_which_asks(built: Path, place: Layout, tmp_path: Path) -> None:
    (image,) = built.glob("*.qcow2")
    machine = Machine.made(image, tmp_path / "refused")
    machine.cd = nocloud(machine.folder, f"{sites.user_data(sites.tree(place))}runcmd: [reboot]\n")
    with machine.on() as process:
        machine.hears(process, b"runcmd: found an unknown setting")
        machine.hears(process, ASKS)
        machine.off(process)
