"""The images as an operator builds them: playbooks/build.yml for all targets, twice; slow."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import guest as guests
from images.builder.build import build
from images.builder.guest import GUEST
from images.builder.inputs import asked
from images.disk import gpt
from images.papers.dpkg import manifest
from images.paths import REPO, Layout
from images.run import CommandError, run
from tests.boot import network, unpacking
from tests.images_built import BUILD_SECONDS, VERSION, playbook

pytestmark = pytest.mark.slow

# A signature has a random part, and so have the sums and notes of what is signed; everything else is the same for the same input.
DIFFERS = {
    "SHA256SUMS",  # of the update
    "SHA256SUMS.throw-away-key.sig",
    "SHA256SUMS.throw-away-key.pem",
    f"sentry-{VERSION}.throw-away-key.raucb",
    f"sentry-{VERSION}.md",
}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_everything_that_ships_is_there(built: Path) -> None:
    stem = f"sentry-{VERSION}"
    assert {path.name for path in built.iterdir()} == {
        f"{stem}.qcow2", f"{stem}.ova", f"{stem}.raw.zst", f"{stem}.aws.json", f"{stem}.vhd.zst", f"{stem}.cdx.json",
        f"{stem}.packages", *DIFFERS,
    }  # fmt: skip


def test_all_formats_hold_the_same_slot(built: Path, tmp_path: Path) -> None:
    """What differs is the ESP with its menu and the disk's size; the slot is the same bytes."""
    slots = {form: slot(unpacking.raw(built, VERSION, form, tmp_path)) for form in unpacking.FORMATS}
    assert len(slots) == 4
    assert len(set(slots.values())) == 1


def slot(raw: Path) -> tuple[str, str]:
    """Digests of slot a's partitions."""
    found = []
    with raw.open("rb") as file:
        table = gpt.read(file, raw.stat().st_size)
        for name in ("boot_a", "root_a"):
            entry = table.entry(name)
            file.seek(entry.offset)
            found.append(hashlib.sha256(file.read(entry.size)).hexdigest())
    return found[0], found[1]


def test_the_papers_name_the_kernel_and_the_gateways_wheel(built: Path) -> None:
    bill = json.loads((built / f"sentry-{VERSION}.cdx.json").read_text())
    names = [part["name"] for part in bill["components"] if part["purl"].startswith("pkg:deb/")]
    assert {"openssl-provider-fips", "linux-image-cloud-amd64"} <= set(names)
    assert {part["name"] for part in bill["components"]} - set(names) == {"sentry", "httptools"}
    head, *listed = (built / f"sentry-{VERSION}.packages").read_text().splitlines()
    assert head == manifest(()).strip()
    assert sorted(line.split("\t")[0] for line in listed) == sorted(names)


@pytest.fixture
def building(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    """A build whose guest has just been booted."""
    argv = [sys.executable, "-m", "images.builder", "--target", "vm", "--version", "0.0.2-test"]
    with subprocess.Popen(argv, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + BUILD_SECONDS
        while guests.find(GUEST, layout) is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield process
        process.kill()


def nothing_stays(layout: Layout) -> None:
    """No guest, no folder of work or of a version, no mount, no loop device."""
    assert guests.find(GUEST, layout) is None
    assert not (layout.build / "images/work").exists()
    assert not (layout.build / "images/0.0.2-test").exists()
    assert f"{layout.build}/" not in Path("/proc/self/mounts").read_text()
    assert str(layout.build) not in run(["losetup", "--list", "--noheadings"]).stdout


def test_an_interrupted_build_leaves_no_guest_and_no_folder(building: subprocess.Popen[bytes], layout: Layout) -> None:
    building.send_signal(signal.SIGINT)
    assert building.wait(120) == 130
    nothing_stays(layout)


def test_a_killed_build_leaves_no_guest_running(building: subprocess.Popen[bytes], layout: Layout) -> None:
    """kill -9: the guest shuts down by itself, and the next build clears the rest away."""
    guest = guests.find(GUEST, layout)
    assert guest is not None
    building.kill()
    guests.wait_for(lambda: not Path(f"/proc/{guest.leader}").exists(), "the guest to end", 120)
    assert f"{layout.build}/" not in Path("/proc/self/mounts").read_text()


def test_a_disk_that_fills_up_meanwhile_is_said_and_nothing_stays(layout: Layout) -> None:
    """What is made lies on a file system of 600 MiB that only this build sees: the tree fits elsewhere, the disks do not."""
    work = layout.build / "images/work"
    work.mkdir(exist_ok=True)
    try:
        with network.apart():
            run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", work])
            argv: list[str | Path] = [
                sys.executable,
                "-m",
                "images.builder",
                "--target",
                "vm",
                "--version",
                "0.0.2-test",
            ]
            ended = run(argv, cwd=REPO, check=False, seconds=BUILD_SECONDS)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    assert ended.code == 1
    assert ended.stdout == ""
    assert "o space" in ended.stderr.split("build:")[-1]
    nothing_stays(layout)


def test_without_a_network_it_says_what_it_could_not_fetch(tmp_path: Path) -> None:
    """In a folder where nothing is cached."""
    layout = Layout(tmp_path / "build")
    with network.of_its_own(), pytest.raises(CommandError, match="mmdebstrap"):
        build(asked("vm", "0.0.2-test", None, None), layout)
    nothing_stays(layout)
    assert list(layout.trees.glob("*.tar")) == list((layout.build / "images/rootfs").glob("*.tar")) == []


def test_built_again_after_all_of_this_it_is_the_same_bytes(built: Path) -> None:
    before = digests(built)
    playbook("target=all", f"version={VERSION}")
    after = digests(built)
    assert set(before) == set(after)
    assert [name for name in before if before[name] != after[name] and name not in DIFFERS] == []
