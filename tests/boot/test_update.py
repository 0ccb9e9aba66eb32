"""Updates on a machine: a good one runs, a bad one does not and the one before runs again, and a power cut at any moment of it
leaves a machine that starts; slow."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from tests.boot import sites
from tests.boot.machine import Machine, nocloud
from tests.boot.rest import Rest
from tests.images_built import playbook

pytestmark = pytest.mark.slow

SUPERBLOCK = 1_024  # EROFS's: dm-verity ends each start of a root in which it is another
OLD, NEW, BAD, OLDER = "0.0.1-update", "0.0.2-update", "0.0.3-update", "0.0.0-update"


@dataclass(frozen=True)
class Images:
    """The image of the old version, and updates: a good one, one back to the old version, one whose root has a damaged block that
    every start reads; and those that are refused: signed by another, of an older version, and one of whose bytes somebody has
    changed."""

    old: Path
    good: Path
    back: Path
    bad: Path
    strange: Path
    older: Path
    tampered: Path


@pytest.fixture(scope="module")
def images(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Both versions, built with one key as an operator builds them, and what else is made of the new one's slot."""
    folder = tmp_path_factory.mktemp("updates")
    signer = throw_away(folder / "key")
    for version in (OLD, NEW):
        playbook(
            "target=vm", f"version={version}", f"update_key={signer.key}", f"update_certificate={signer.certificate}"
        )
    made = layout.build / "images"
    (image,) = (made / NEW).glob("*.qcow2")
    good = made / NEW / f"sentry-{NEW}.raucb"
    slot = taken(image, folder, layout)

    def signed(version: str, by: Signer) -> Path:
        place = folder / f"{version}-{by.key.parent.name}.raucb"
        bundle.make(slot, version, by, place, toolbox.ensure(made), folder / "work")
        return place

    older, strange = signed(OLDER, signer), signed(NEW, throw_away(folder / "other-key"))
    tampered = Path(shutil.copy(good, folder / "tampered.raucb"))
    turn(tampered, tampered.stat().st_size // 2, 1)
    turn(slot.root.image, SUPERBLOCK, 512)
    return Images(
        old=next((made / OLD).glob("*.qcow2")),
        good=good,
        back=made / OLD / f"sentry-{OLD}.raucb",
        bad=signed(BAD, signer),
        strange=strange,
        older=older,
        tampered=tampered,
    )


def taken(image: Path, folder: Path, layout: Layout) -> Slot:
    """The slot of an image, as files."""
    raw = folder / "new.raw"
    run(["qemu-img", "convert", "-O", "raw", image, raw])
    root = reading.read(raw, folder / "read", toolbox.ensure(layout.build / "images")).root
    boot = folder / "boot.img"
    assemble.take(raw, "boot_a", boot)
    for one in (boot, root.image):
        trim(one)
    return Slot(boot, Root(root.image, root.hash_offset, root.root_hash))


def turn(place: Path, offset: int, length: int) -> None:
    """Change so many bytes of a file."""
    with place.open("r+b") as file:
        file.seek(offset)
        before = file.read(length)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in before))


def trim(image: Path) -> None:
    """Cut off what of a partition is empty behind its content."""
    content = image.read_bytes().rstrip(b"\0")
    with image.open("r+b") as file:
        file.truncate(-(-len(content) // 4_096) * 4_096)


@dataclass
class Updated:
    """A machine that is updated, and who tells it so."""

    machine: Machine
    rest: Rest

    @property
    def said(self) -> bytes:
        """What stands on its console since it was switched on."""
        return self.machine.said

    def begins(self, update: Path, *, allow_older: bool = False) -> None:
        """Wait until what runs has run well, then bring an update and have it written. A door that opened while others are still
        being started may close once more, so it is brought again until it is there."""
        self.machine.until(self.rest.good)
        data, kind = update.read_bytes(), "application/octet-stream"
        self.machine.until(lambda: self.rest.ask("PUT", "/software/bundle", data, Content_Type=kind))
        self.rest.ask("POST", "/software/update", json.dumps({"allow_older": allow_older}).encode())

    def ends(self) -> Any:
        """Wait until it is written; how it stands then."""
        return self.machine.until(self.rest.written)

    def is_good(self) -> Any:
        """Wait until what runs has run well; how it stands then."""
        return self.machine.until(self.rest.good)

    def runs(self, version: str) -> Any:
        """Wait until this version runs, and well."""
        self.machine.until(lambda: self.rest.software()["version"] == version)
        return self.is_good()


@pytest.fixture(scope="module")
def settled(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    """A machine that has its configuration and runs the old version well, off."""
    folder = tmp_path_factory.mktemp("settled")
    layout = sites.place(folder / "site")
    machine = Machine.made(images.old, folder / "machine")
    machine.cd = nocloud(machine.folder, sites.user_data(sites.tree(layout)))
    made = Updated(machine, Rest(layout))
    with machine.on() as process:
        machine.hears(process, b"This appliance is configured: revision 1")  # before that the portal may know nobody
        machine.until(made.rest.log_in)
        assert made.is_good()["version"] == OLD
        time.sleep(5)  # what it has written is on its disk; its power is cut, and no button pressed
    return made


@pytest.fixture
def updated(settled: Updated, tmp_path: Path) -> Updated:
    """One like it, for a test of its own."""
    return Updated(settled.machine.copied(tmp_path / "machine"), settled.rest)


def test_a_good_update_runs_is_good_and_there_is_a_way_back(updated: Updated, images: Images) -> None:
    with updated.machine.on():
        updated.begins(images.good)
        written = updated.ends()
        assert (written["order"]["problem"], written["version"], written["next"]) == ("", OLD, "b")
        updated.rest.restart()
        found = updated.runs(NEW)
        assert (found["running"], found["next"]) == ("b", "b")
        assert b"slot B, try 1" in updated.said

        updated.rest.ask("POST", "/software/rollback")
        returned = updated.ends()
        assert (returned["order"]["kind"], returned["order"]["problem"], returned["next"]) == ("rollback", "", "a")
        updated.rest.restart()
        assert updated.runs(OLD)["running"] == "a"


def test_a_bad_update_is_tried_three_times_and_the_one_before_runs_again(updated: Updated, images: Images) -> None:
    with updated.machine.on():
        updated.begins(images.bad)
        assert updated.ends()["order"]["problem"] == ""
        updated.rest.restart()
        updated.machine.until(lambda: b"slot B, try 3" in updated.said)
        updated.machine.until(lambda: updated.said.rfind(b"slot A, try") > updated.said.rfind(b"slot B, try 3"))
        updated.machine.until(lambda: updated.rest.software()["running"] == "a")
        found = updated.is_good()
        assert (found["version"], found["running"], found["next"]) == (OLD, "a", "a")
        assert state(found, "b") == "bad"


def test_what_was_changed_is_signed_by_another_or_is_older_is_refused(updated: Updated, images: Images) -> None:
    """By the machine itself: whoever signed and which version it is before the first block is written, a changed block when it is
    read. What runs is next in each case."""
    refused = {
        "strange": (images.strange, "signature"),
        "older": (images.older, OLDER),
        "tampered": (images.tampered, ""),
    }
    with updated.machine.on():
        for name, (update, words) in refused.items():
            updated.begins(update)
            found = updated.ends()
            assert found["order"]["standing"] == "failed", name
            assert words in found["order"]["problem"]
            assert (found["version"], found["next"]) == (OLD, "a")
            assert state(found, "b") == "empty"
        updated.rest.restart()
        updated.machine.until(lambda: updated.said.count(b"slot A, try") == 2)
        assert updated.is_good()["running"] == "a"


def later(seconds: float) -> Callable[[Updated, str], None]:
    """So many seconds after the first block is written: what was in the slot is given up then."""

    def wait(updated: Updated, slot: str) -> None:
        updated.machine.until(lambda: state(updated.rest.software(), slot) == "empty")
        time.sleep(seconds)

    return wait


def state(found: Any, slot: str) -> Any:
    """What is known of a slot."""
    return next(one["state"] for one in found["slots"] if one["name"] == slot)


def at_once(_updated: Updated, _slot: str) -> None:
    """When the order has been taken."""


def written(updated: Updated, _slot: str) -> None:
    """When all is written."""
    assert updated.ends()["order"]["problem"] == ""


def started(words: str) -> Callable[[Updated, str], None]:
    """Written, and started until it says this."""

    def wait(updated: Updated, slot: str) -> None:
        written(updated, slot)
        before = len(updated.said)
        updated.rest.restart()
        said = words.format(slot.upper()).encode()
        updated.machine.until(lambda: said in updated.said[before:])

    return wait


def marked(updated: Updated, slot: str) -> None:
    """Started, and seen to run well at this moment."""
    written(updated, slot)
    updated.rest.restart()
    updated.machine.until(lambda: updated.rest.software()["running"] == slot)
    updated.is_good()


AFTER_IT_IS_WRITTEN: dict[str, Callable[[Updated, str], None]] = {
    "when all is written": written,
    "in the boot menu": started("slot {}, try 1"),
    "in the kernel": started("Linux version"),
    "with the new root": started("Welcome to"),
    "at the log-in": started("login:"),
    "when it is good": marked,
}
MOMENTS = AFTER_IT_IS_WRITTEN | {
    "at once": at_once,
    "as it begins to be written": later(0),
    "while it is written": later(4),
    "while more is written": later(8),
}
"""When the power is cut, after an update into a slot has begun. The first of them fill both slots."""


@dataclass
class Struck(Updated):
    """A machine that is on, and whose power is cut again and again."""

    held: ExitStack = field(default_factory=ExitStack)

    def cut(self) -> None:
        """Cut its power, which may be off, and switch it on again."""
        self.held.close()
        self.held.enter_context(self.machine.on())


@pytest.fixture(scope="module")
def struck(settled: Updated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    """One like the settled one, on; off afterwards."""
    made = Struck(settled.machine.copied(tmp_path_factory.mktemp("struck") / "machine"), settled.rest)
    with made.held:
        made.cut()
        yield made


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_power_cut_leaves_a_machine_that_starts_and_runs_well(struck: Struck, images: Images, moment: str) -> None:
    """As the cut before has left it. Each time it is the other version that is written into the other slot; once that is there it
    is what runs, and before that nothing has changed."""
    before = struck.is_good()
    slot = {"a": "b", "b": "a"}[before["running"]]
    version, update = (NEW, images.good) if before["version"] == OLD else (OLD, images.back)
    struck.begins(update, allow_older=True)
    MOMENTS[moment](struck, slot)
    struck.cut()
    found = struck.is_good()
    new, same = (slot, version), (before["running"], before["version"])
    assert (found["running"], found["version"]) in ((new,) if moment in AFTER_IT_IS_WRITTEN else (same, new))
