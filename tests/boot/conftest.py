"""What the tests of a boot look at: the images, built once as an operator builds them, and one machine with its site."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.lab import devices, steps
from images.lab.site import STIG
from images.lab.zones import DEVICE, MANAGEMENT
from images.paths import REPO, Layout
from images.run import stream
from stig import results
from stig.results import Scan
from tests.boot import sites
from tests.boot.configured import LOGIN, Appliance, tell
from tests.boot.machine import Machine, nocloud
from tests.boot.rest import Rest
from tests.images_built import VERSION, playbook


@pytest.fixture(scope="session")
def built(layout: Layout, request: pytest.FixtureRequest) -> Path:
    """What ships: for all targets, or in CI, which leaves out what is slow, for virtual machines alone."""
    target = "all" if any(item.get_closest_marker("slow") for item in request.session.items) else "vm"
    playbook(f"target={target}", f"version={VERSION}")
    return layout.build / "images" / VERSION


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The site with secrets of its own."""
    return sites.place(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def appliance(built: Path, place: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A new machine with this site on its NoCloud disk, told afterwards what user-data cannot hold; on at first."""
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


@pytest.fixture(scope="session")
def scan(appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """The STIG scan over SSH, as an assessor makes it, once the machine knows its programs."""
    appliance.machine.until(appliance.is_integrity_known)
    out, layout = tmp_path_factory.mktemp("scan"), appliance.layout
    argv: list[str | Path] = [
        "-m", "stig", "scan", f"ssh://admin@{MANAGEMENT.address}", "--key", layout.secrets / "admin",
        "--known-hosts", layout.known_hosts, "--ca-file", layout.lab / "backend-ca.pem",
        "--gateway-address", DEVICE.address, "--devices", layout.lab / devices.FILE,
        "--answers", sites.file(layout, "stig-answers.yml"), "--snmp", sites.snmp(layout), "--out", out,
    ]  # fmt: skip
    stream([sys.executable, *argv], cwd=REPO)
    return results.read(out / "results.json")
