"""Updates on a machine: a good one runs, a bad one does not and the one before runs again, and a power cut at any moment of it
leaves a machine that starts; slow."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from images import toolbox
from images.disk import assemble
from images.disk.stages import Root
from images.paths import Layout
from images.run import run
from images.seal import reading
from images.updates import bundle
from images.updates.bundle import Slot
from images.updates.signing import Signer, throw_away
from tests.boot.updating import Updated
from tests.images_built import playbook

pytestmark = pytest.mark.slow

OLD, NEW, BAD = "0.0.1-update", "0.0.2-update", "0.0.3-update"


@dataclass(frozen=True)
class Images:
    """The image of the old version, and updates: a good one, and one whose root has a damaged block that every start reads."""

    old: Path
    good: Path
    bad: Path


@pytest.fixture(scope="module")
def images(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Both versions, built with one key as an operator builds them."""
    folder = tmp_path_factory.mktemp("updates")
    signer = throw_away(folder / "key")
    for version in (OLD, NEW):
        playbook(
            "target=vm", f"version={version}", f"update_key={signer.key}", f"update_certificate={signer.certificate}"
        )
    made = layout.build / "images"
    (image,) = (made / NEW).glob("*.qcow2")
    return Images(
        old=next((made / OLD).glob("*.qcow2")),
        good=made / NEW / f"sentry-{NEW}.raucb",
        bad=spoilt(image, signer, folder, layout),
    )


def spoilt(image: Path, signer: Signer, folder: Path, layout: Layout) -> Path:
    """An update of the same slot, rightly signed, with a damaged superblock's neighbour: dm-verity ends each start of it."""
    tools = toolbox.ensure(layout.build / "images")
    raw = folder / "new.raw"
    run(["qemu-img", "convert", "-O", "raw", image, raw])
    found = reading.read(raw, folder / "read", tools)
    boot = folder / "boot.img"
    assemble.take(raw, "boot_a", boot)
    trim(boot)
    trim(found.root.image)
    with found.root.image.open("r+b") as file:
        file.seek(1_024)  # EROFS's superblock
        block = file.read(512)
        file.seek(1_024)
        file.write(bytes(byte ^ 0xFF for byte in block))
    place = folder / f"sentry-{BAD}.raucb"
    root = Root(found.root.image, found.root.hash_offset, found.root.root_hash)
    bundle.make(Slot(boot, root), BAD, signer, place, tools, folder / "work")
    return place


def trim(image: Path) -> None:
    """Cut off what of a partition is empty behind its content."""
    content = image.read_bytes().rstrip(b"\0")
    with image.open("r+b") as file:
        file.truncate(-(-len(content) // 4_096) * 4_096)


@pytest.fixture
def machine(images: Images, tmp_path: Path) -> Updated:
    """A machine that runs the old version well, off."""
    made = Updated.made(images.old, tmp_path / "machine")
    with made.on():
        made.log_in()
        assert made.until_good()["version"] == OLD
        time.sleep(5)  # what it has written is on its disk; its power is cut, and no button pressed
    return made


def test_a_good_update_runs_is_good_and_there_is_a_way_back(machine: Updated, images: Images) -> None:
    with machine.on():
        machine.until_good()
        machine.bring(images.good)
        machine.begin()
        written = machine.until_written()
        assert (written["order"]["problem"], written["version"], written["next"]) == ("", OLD, "b")
        machine.restart()
        machine.until(lambda: machine.software()["version"] == NEW)
        found = machine.until_good()
        assert (found["running"], found["next"]) == ("b", "b")
        assert b"slot B, try 1" in machine.said

        machine.ask("POST", "/software/rollback")
        assert machine.until_written()["next"] == "a"
        machine.restart()
        machine.until(lambda: machine.software()["version"] == OLD)
        assert machine.until_good()["running"] == "a"


def test_a_bad_update_is_tried_three_times_and_the_one_before_runs_again(machine: Updated, images: Images) -> None:
    with machine.on():
        machine.until_good()
        machine.bring(images.bad)
        machine.begin()
        assert machine.until_written()["order"]["problem"] == ""
        machine.restart()
        machine.until(lambda: b"slot B, try 3" in machine.said)
        machine.until(lambda: machine.said.rfind(b"slot A, try") > machine.said.rfind(b"slot B, try 3"))
        found = machine.until_good()
        assert (found["version"], found["running"], found["next"]) == (OLD, "a", "a")
        assert next(slot for slot in found["slots"] if slot["name"] == "b")["state"] == "bad"


def written(machine: Updated) -> None:
    machine.until_written()


def started(words: bytes) -> Callable[[Updated], None]:
    """Written, and started until it says this."""

    def wait(machine: Updated) -> None:
        machine.until_written()
        before = len(machine.said)
        machine.restart()
        machine.until(lambda: words in machine.said[before:])

    return wait


MOMENTS: dict[str, Callable[[Updated], None]] = {
    "at once": lambda _machine: None,
    "a second later": lambda _machine: time.sleep(1),
    "in the middle of the writing": lambda _machine: time.sleep(8),
    "when all is written": written,
    "in the boot menu": started(b"slot B, try 1"),
    "in the kernel": started(b"Linux version"),
    "with the new root": started(b"Welcome to"),
}
"""When the power is cut, after an update has begun."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_power_cut_leaves_a_machine_that_starts_and_runs_well(machine: Updated, images: Images, moment: str) -> None:
    with machine.on():
        machine.until_good()
        machine.bring(images.good)
        machine.begin()
        MOMENTS[moment](machine)
    with machine.on():
        found = machine.until_good()
        assert found["version"] in (OLD, NEW)
        if found["version"] == OLD:  # and it takes the update once more
            machine.bring(images.good)
            machine.begin()
            assert machine.until_written()["order"]["problem"] == ""
            machine.restart()
            machine.until(lambda: machine.software()["version"] == NEW)
            assert machine.until_good()["running"] == "b"
