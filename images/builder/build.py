"""A build: steps, each of which leaves what the next ones need, and at the end a folder that is there whole or not at all."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from images import rootfs, toolbox
from images.builder import guest
from images.builder.inputs import Asked, BuildError, check_machine
from images.builder.ship import NAME, Shipping, as_shipped, ship
from images.console import Steps, say
from images.disk import assemble, layout, stages
from images.disk.stages import Root
from images.papers import dpkg, notes, sbom, sums
from images.papers.dpkg import Package
from images.papers.notes import Shipped
from images.paths import REPO, Layout, write_file
from images.rootfs import SOURCE_DATE
from images.seal import hygiene, reading
from images.seal.seal import RECORD, Sealed, seal
from images.source import VENDORED
from images.targets import Target
from images.toolbox import Inside
from images.updates import bundle, machine, signing
from images.updates.signing import Signer
from images.wheels import locked

GIB_MIB = 1024


@dataclass(frozen=True, slots=True)
class Places:
    """Where a build works, and where its files end up."""

    layout: Layout
    version: str

    @property
    def home(self) -> Path:
        """Everything about images."""
        return self.layout.build / "images"

    @property
    def work(self) -> Path:
        """What is being made; of no use to anybody once the build has ended."""
        return self.home / "work"

    @property
    def output(self) -> Path:
        """What ships, while it is made."""
        return self.work / "output"

    @property
    def throw_away(self) -> Path:
        """The key that signs updates where none was given, until `make clean`."""
        return self.home / "throw-away-update-key"

    @property
    def final(self) -> Path:
        """What ships."""
        return self.home / self.version


@dataclass(slots=True)
class Build:
    """One build: what it was asked for, and what its steps have made so far."""

    asked: Asked
    places: Places
    signer: Signer
    tools: Inside | None = None
    kernel: str = ""
    release: str = ""
    packages: tuple[Package, ...] = ()
    root: Root | None = None
    boot: Path | None = None
    raws: dict[str, Path] = field(default_factory=dict)
    shipped: list[Shipped] = field(default_factory=list)
    scanned: dict[str, dict[str, int]] | None = None

    def ready(self) -> tuple[Inside, Root, Path]:
        """The tools, the root and the boot partition's content."""
        if self.tools is None or self.root is None or self.boot is None:
            raise BuildError("the partitions must be made before the disks")
        return self.tools, self.root, self.boot


def build(asked: Asked, layout_: Layout) -> Path:
    """Make what was asked for; the folder with what ships, which takes the place of an earlier one of this version.

    Raises `BuildError` and what the rooms' parts raise. Nothing that was made stays then, and nothing runs or is mounted.
    """
    work, places = Steps(), Places(layout_, asked.version)
    with work.step("check", "the machine, before anything is touched"):
        check_machine(layout_.build)
        shutil.rmtree(places.work, ignore_errors=True)  # of a build that was interrupted
        places.output.mkdir(parents=True)
    made = Build(asked, places, asked.signer or signing.throw_away(places.throw_away))
    try:
        _tree(made, work)
        for name, about, take in STEPS:
            with work.step(name, about):
                take(made)
        shutil.rmtree(places.final, ignore_errors=True)
        places.output.rename(places.final)
    finally:
        shutil.rmtree(places.work, ignore_errors=True)
    say("\nTime")
    for name, seconds in work.taken:
        say(f"  {name:<12}{seconds:8.1f} s")
    return places.final


def _tree(made: Build, work: Steps) -> None:
    """From packages to the partitions: what needs the tree, which is removed afterwards."""
    with work.step("tools", "a Debian 13 tree with the programs that make disks"):
        made.tools = toolbox.ensure(made.places.home)
    with work.step("tree", "a Debian 13 root tree with a kernel"):
        wanted = guest.image_tree()
        tar = rootfs.build(wanted, made.places.layout.trees)
    with ExitStack() as stack:
        with work.step("provision", "playbooks/provision.yml over SSH on the tree, booted as a guest"):
            provisioned = guest.provisioned(tar, wanted.digest, made.places.layout, made.places.work)
            tree = stack.enter_context(provisioned)
        with work.step("seal", "taking out what the builder left"):
            seal(tree, Sealed(guest.BUILDER, made.asked.version))
            machine.install(tree, made.signer.authorities)
            made.packages = dpkg.installed((tree / RECORD / "status").read_text(encoding="utf-8"))
            made.kernel = stages.kernel_version(tree)
            made.release = (tree / "usr/lib/sentry/current").readlink().name
        with work.step("initramfs", f"by dracut, for {made.kernel}"):
            initrd = stages.initramfs(tree, made.places.work / "initramfs")
        with work.step("root", "EROFS and dm-verity"):
            made.root = stages.root(tree, made.places.work, made.asked.version, made.tools)
        with work.step("boot", "the kernel, the initramfs and the root hash"):
            kernel = tree / "boot" / f"vmlinuz-{made.kernel}"
            made.boot = stages.boot(kernel, initrd, made.root, made.places.work, made.tools)


def _scan(made: Build) -> None:
    """Before minutes are spent on what depends on it: whether the scan is of this root."""
    _, root, _ = made.ready()
    if made.asked.scan is not None:
        made.scanned = notes.counts(made.asked.scan, root.root_hash)


def _disks(made: Build) -> None:
    for target in made.asked.targets:
        made.raws[target.name] = disk(made, target)


def disk(made: Build, target: Target) -> Path:
    """The target's raw disk."""
    tools, root, boot = made.ready()
    folder = made.places.work / target.name
    folder.mkdir()
    raw = folder / f"{NAME}-{made.asked.version}.raw"
    esp = stages.esp(target, made.asked.version, folder, tools)
    mib = target.disk_gib * GIB_MIB or layout.SNUG_MIB
    assemble.write({"esp": esp, "boot": boot, "root": root.image}, made.asked.version, mib, raw)
    return raw


def _read_back(made: Build) -> None:
    """Read each finished disk: its root is verified by the hash that would start it, and holds nothing that it must not."""
    tools, root, _ = made.ready()
    for name, raw in made.raws.items():
        found = reading.read(raw, made.places.work / "read", tools)
        if found.root.root_hash != root.root_hash:
            raise BuildError(f"the disk for {name} would start another root than the one that was made")
        breaches = hygiene.breaches(found.tree)
        if breaches:
            raise BuildError("the image holds what it must not:\n  " + "\n  ".join(breaches))
        say(f"    {name}: verified, {len(hygiene.RULES)} rules of hygiene hold")


def _ship(made: Build) -> None:
    tools, _, _ = made.ready()
    for target in made.asked.targets:
        shipping = Shipping(made.asked.version, made.raws[target.name], made.places.output, tools)
        made.shipped += ship(target, shipping)
        made.raws[target.name].unlink()


def _update(made: Build) -> None:
    """The update of the same slot: to a machine it is the same whatever disk it began with."""
    tools, root, boot = made.ready()
    version = made.asked.version
    place = made.places.output / bundle.name(f"{NAME}-{version}", made.signer)
    bundle.make(bundle.Slot(boot, root), version, made.signer, place, tools, made.places.work / "bundle")
    made.shipped.append(as_shipped(place, "an update of a machine that runs an earlier version"))


def _papers(made: Build) -> None:
    _, root, _ = made.ready()
    version, output = made.asked.version, made.places.output
    stem = f"{NAME}-{version}"
    subject = sbom.Subject(NAME, version, layout.identity(version, "sbom"), int(SOURCE_DATE), made.release)
    write_file(output / f"{stem}.cdx.json", sbom.bill(subject, made.packages, (_vendored(),)))
    write_file(output / f"{stem}.packages", dpkg.manifest(made.packages))
    facts = notes.Facts(version, len(made.packages), made.kernel, made.release, root.root_hash)
    write_file(output / f"{stem}.md", notes.text(facts, made.shipped, made.scanned))
    sums.sign(output, made.asked.key)


def _vendored() -> sbom.Wheel:
    """The wheel that the release brings along, as requirements.txt has it locked."""
    lines = locked((REPO / "requirements.txt").read_text(encoding="utf-8"), VENDORED)
    return sbom.Wheel(VENDORED, lines.split("==")[1].split()[0])


STEPS: tuple[tuple[str, str, Callable[[Build], None]], ...] = (
    ("scan", "whether the scan for the notes, if any, is of this very image", _scan),
    ("disks", "a raw disk for each target", _disks),
    ("read back", "the finished disks, for what must not be there", _read_back),
    ("ship", "the files that are shipped", _ship),
    ("update", "the same slot as a signed bundle", _update),
    ("papers", "digests, signature, bill of materials, notes", _papers),
)


def summary(final: Path) -> dict[str, Any]:
    """What a build made, for programs: the folder and its files."""
    return {"folder": str(final), "files": sorted(path.name for path in final.iterdir())}
