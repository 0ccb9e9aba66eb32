"""The steps of `make appliance`, each a function of the layout and the site that does one thing or raises."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from images import crossing, network, probe
from images import guest as guests
from images.crossing import Call, Heard
from images.guest import Guest
from images.lab import describe, devices, machine, secrets
from images.lab.site import LabSite
from images.lab.stand_ins import READY
from images.lab.zones import GUEST, ZONES, Zone
from images.paths import REPO, Layout, write_file, write_json
from images.probe import Seen, Target
from images.run import run, stream

TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "ip", "nft", "nmap", "ssh", "ssh-keygen", "openssl", "tar")
_stand_ins: dict[int, subprocess.Popen[bytes]] = {}  # those that this process started, to be waited for
REMOTE_CA = "/var/lib/sentry/tls/ca.pem"


class LabError(RuntimeError):
    """The lab cannot go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Compliance:
    """The verdicts of a scan counted per category: {"I": {"open": 1, ...}, ...}."""

    counts: dict[str, dict[str, int]]


def check_machine() -> None:
    """The machine must have the tools that `.ci/setup` installs."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(f"not installed here: {', '.join(missing)}; run `.ci/setup` as root, or `make appliance`")


def check_site(site: Path) -> None:
    """The site configuration must be valid before anything is touched."""
    if not site.is_file():
        raise LabError(f"there is no site configuration {site}; name one with SITE=path")
    stream([sys.executable, "-m", "appliance.config.site", "--check", site], cwd=REPO)


def make_guest(layout: Layout, tar: Path, digest: str) -> tuple[Guest, bool]:
    """The running guest, its host keys and Ansible's inventory written down."""
    guest, fresh = machine.ensure_guest(layout, tar, digest)
    machine.write_known_hosts(guest, layout)
    describe.inventory(layout)
    return guest, fresh


def provision(layout: Layout, site: Path) -> None:
    """Apply the roles and the site configuration over SSH."""
    playbook(layout, "provision.yml", site)


def playbook(layout: Layout, name: str, site: Path) -> None:
    """Run one of the playbooks against the lab.

    Its SSH connections are this run's own and end with it: one that is kept would lead the next run to a guest that is gone.
    """
    program = Path(sys.executable).with_name("ansible-playbook")
    argv: list[str | Path] = [program, "-i", layout.inventory, f"playbooks/{name}", "-e", f"site={site.resolve()}"]
    with tempfile.TemporaryDirectory(prefix="lab-") as connections:
        settings = {
            "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": connections,
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONUNBUFFERED": "1",
        }
        try:
            stream(argv, cwd=REPO, env=settings)
        finally:
            for connection in Path(connections).iterdir():
                run(["ssh", "-F", "none", "-o", f"ControlPath={connection}", "-O", "exit", "lab"], check=False)


def describe_appliance(layout: Layout, guest: Guest, site: Path) -> dict[str, Any]:
    """Fetch the appliance's CA certificate and write `build/appliance.json`. Where stand-ins play the site's other machines, its
    authority issued what the appliance shows, and that is believed too."""
    lab = LabSite(site)
    authorities = guest.execute(["cat", REMOTE_CA]).stdout
    if lab.stand_ins:
        authorities += (layout.lab / "backend-ca.pem").read_text(encoding="utf-8")
        devices.register(layout)
    write_file(layout.ca_file, authorities)
    return describe.appliance(layout, lab)


def start_stand_ins(layout: Layout, site: Path) -> bool:
    """Have the site's other machines played, where it has such; those of an earlier run are ended first."""
    stop_stand_ins(layout)
    if not LabSite(site).stand_ins:
        return False
    argv = [sys.executable, "-m", "images.lab.stand_ins", str(layout.lab), str(layout.secrets)]
    log = layout.stand_ins.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )
    _stand_ins[process.pid] = process
    with process.stdout or nullcontext(BytesIO()) as output:
        if output.readline().strip() != READY.encode():
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise LabError(f"the stand-ins of {site} do not start: {said or 'they said nothing'}")
    write_json(layout.stand_ins, {"pid": process.pid, "started": guests.start_time(process.pid)})
    return True


def stop_stand_ins(layout: Layout) -> None:
    """End them, if they run."""
    try:
        said = json.loads(layout.stand_ins.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if said["started"] is not None and guests.start_time(said["pid"]) == said["started"]:
        os.kill(said["pid"], signal.SIGTERM)
        guests.wait_for(lambda: guests.start_time(said["pid"]) != said["started"], "the stand-ins to end")
    if said["pid"] in _stand_ins:
        _stand_ins.pop(said["pid"]).wait()
    layout.stand_ins.unlink(missing_ok=True)


def scan(layout: Layout) -> Compliance:
    """Scan the running appliance into `build/scan/`."""
    stream([sys.executable, "-m", "stig", "scan", "--appliance", layout.appliance, "--output", layout.scan], cwd=REPO)
    return read_compliance(layout)


def read_compliance(layout: Layout) -> Compliance:
    """The counts of the last scan."""
    results = json.loads((layout.scan / "results.json").read_text(encoding="utf-8"))
    counts: dict[str, dict[str, int]] = {}
    for result in results["results"]:
        of_category = counts.setdefault(result["category"], {})
        of_category[result["status"]] = of_category.get(result["status"], 0) + 1
    return Compliance(counts)


def look_from_outside() -> tuple[Seen, ...]:
    """Probe the guest's address in every zone."""
    return probe.look(tuple(Target(zone.name, zone.address, _interface(zone)) for zone in ZONES))


def _interface(zone: Zone) -> str:
    """The host's interface into the zone."""
    return zone.link.bridge or zone.link.host_interface


def look_across(guest: Guest) -> tuple[Heard, ...]:
    """From every zone, call the guest by its addresses in the other zones."""
    return crossing.listen(
        tuple(
            Call(here.name, _interface(here), network.guest_mac(guest.leader, here.link.guest_interface), there.address)
            for here in ZONES
            for there in ZONES
            if there != here
        )
    )


def trespasses(heard: tuple[Heard, ...]) -> list[str]:
    """What a zone reaches by another zone's address and not by its own, one sentence each; empty when there is nothing."""
    allowed = {zone.name: zone.ports for zone in ZONES}
    return [
        f"{one.call.zone} zone: TCP {port} answers at {one.call.address}, another zone's address, and must not"
        for one in heard
        for port in sorted(one.tcp - allowed[one.call.zone])
    ]


def unexpected(seen: tuple[Seen, ...]) -> list[str]:
    """How what was seen differs from the zones' table, one sentence each; empty when all is as it should be."""
    wrong: list[str] = []
    for zone, found in zip(ZONES, seen, strict=True):
        surplus = [f"TCP {port}" for port in sorted(found.tcp - zone.ports)]
        surplus += [f"UDP {port}" for port in sorted(found.udp - zone.udp)]
        missing = sorted(zone.ports - found.tcp)
        wrong += [f"{zone.name} zone: {port} answers at {zone.address} and must not" for port in surplus]
        wrong += [f"{zone.name} zone: TCP {port} must answer at {zone.address} and does not" for port in missing]
    return wrong


def down(layout: Layout, names: Collection[str] = ()) -> tuple[str, ...]:
    """End every guest of this checkout, or those of these names, and remove the interfaces that were made for them; the names
    of those that ran."""
    stop_stand_ins(layout)
    ending = [guest for guest in guests.running(layout) if not names or guest.name in names]
    for guest in ending:
        guests.stop(guest, layout)
    if not names or GUEST in names:
        for zone in ZONES:
            if ending and zone.link.bridge is not None:
                network.remove(zone.link.bridge)
        layout.appliance.unlink(missing_ok=True)
    return tuple(guest.name for guest in ending)


def ensure_secrets(layout: Layout) -> None:
    """The lab's keys, passwords and certificates."""
    secrets.ensure_all(layout)
