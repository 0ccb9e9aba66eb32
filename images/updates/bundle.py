"""An update: one signed file with the two partitions of a slot, as RAUC 1.13 takes it (bundle format `verity`).

It holds the very files that the disks are made of. RAUC checks the signature over its head before anything else, and each block
of the rest when it reads it.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from images.disk.stages import Root
from images.paths import write_file
from images.run import CommandError
from images.toolbox import Tools
from images.updates import machine
from images.updates.signing import Signer

MANIFEST = "manifest.raucm"
SUFFIX = ".raucb"
# Kernel, initramfs and root are compressed already; packing them again takes ten times as long for nothing.
_PLAIN = "-noI -noD -noF -noX"


class BundleError(RuntimeError):
    """A bundle cannot be made of this, or a machine would not take it; the message says why."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What a bundle is made of: the contents of a boot and of a root partition."""

    boot: Path
    root: Root


def name(stem: str, signer: Signer) -> str:
    """The bundle's file name; one with a throw-away signature says so."""
    return f"{stem}{'.throw-away-key' if signer.throw_away else ''}{SUFFIX}"


def manifest(version: str, root: Root) -> str:
    """What RAUC reads of a bundle first: for which machines it is, and which file belongs into which partition. The section of
    our own says how the root is verified, for those who read a slot that does not run."""
    return "\n".join(
        (
            "[update]",
            f"compatible={machine.COMPATIBLE}",
            f"version={version}",
            "",
            "[bundle]",
            "format=verity",
            "",
            "[image.rootfs]",
            "filename=root.img",
            "",
            "[image.boot]",
            "filename=boot.img",
            "",
            "[meta.sentry]",
            f"root-hash={root.root_hash}",
            f"hash-offset={root.hash_offset}",
            "",
        )
    )


def make(slot: Slot, version: str, signer: Signer, output: Path, tools: Tools, work: Path) -> None:
    """Write the bundle `output`, and read it back as a machine would. `work` is a folder of ours, emptied before.

    Raises `BundleError` when a machine that believes the signer's authorities would refuse it.
    """
    shutil.rmtree(work, ignore_errors=True)
    content = work / "content"
    content.mkdir(parents=True)
    write_file(content / MANIFEST, manifest(version, slot.root))
    for source, name_inside in ((slot.root.image, "root.img"), (slot.boot, "boot.img")):
        _beside(source, content / name_inside)
    # Copies, because the tools see folders and not files: of the key too, which is gone with the folder.
    signing = work / "signing"
    signing.mkdir(mode=0o700)
    try:
        for source, name_inside in ((signer.key, "key.pem"), (signer.certificate, "certificate.pem")):
            shutil.copyfile(source, signing / name_inside)
        made = work / f"made{SUFFIX}"
        argv = ["rauc", "bundle", f"--cert={signing}/certificate.pem", f"--key={signing}/key.pem"]
        tools.run([*argv, f"--mksquashfs-args={_PLAIN}", str(content), str(made)], makes=(work,))
    finally:
        shutil.rmtree(signing)
    read_back(made, version, signer.authorities, tools, work)
    made.rename(output)
    shutil.rmtree(work)


def read_back(bundle: Path, version: str, authorities: Path, tools: Tools, work: Path) -> None:
    """Look at a bundle as a machine with these authorities would; raises `BundleError` when it would be refused."""
    folder = work / "machine"
    write_file(folder / "system.conf", machine.system_conf(keyring=folder / "authorities.pem", state=folder))
    shutil.copyfile(authorities, folder / "authorities.pem")
    argv = ["rauc", f"--conf={folder}/system.conf", "info", "--output-format=shell", str(bundle)]
    try:
        said = tools.run(argv, makes=(work,)).stdout
    except CommandError as error:
        raise BundleError(f"{bundle.name}: a machine would not take it: {error.output.strip()}") from error
    expected = (f"RAUC_MF_COMPATIBLE='{machine.COMPATIBLE}'", f"RAUC_MF_VERSION='{version}'")
    if any(line not in said.splitlines() for line in expected):
        raise BundleError(f"{bundle.name}: is not what it was made as:\n{said}")


def _beside(source: Path, place: Path) -> None:
    """The same file in another folder; a copy where that is on another disk."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
