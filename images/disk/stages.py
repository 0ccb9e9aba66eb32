"""From a sealed tree to what lies in the partitions: the initramfs, the root with its hash tree, the boot partition, the ESP.

Every file is made with the programs of a tree (`images.toolbox`) and is the same for the same input: times are
SOURCE_DATE_EPOCH's, ids and salts come from the version, and files are added in the order of their names.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from images.disk import grub, layout
from images.formats.sparse import MIB, DiskError
from images.paths import write_file
from images.rootfs import SOURCE_DATE
from images.targets import Target
from images.toolbox import Inside, Tools

FILES = Path(__file__).with_name("files")
DRACUT_MODULE = "90sentry-state"

# Not of the root: what is mounted over, and the kernel, which GRUB reads from the boot partition.
LEFT_OUT = ("^boot/.+", "^(proc|sys|dev|run|tmp)/.+")

_DRACUT = (
    "dracut", "--force", "--no-hostonly", "--no-hostonly-cmdline", "--reproducible", "--no-early-microcode", "--gzip",
    "--add", "systemd-veritysetup dm sentry-state",
    # No second opinion on what to mount, partition or ask: sentry-state does all of it, and nobody sits there.
    "--omit", "systemd-repart fstab-sys plymouth nfs iscsi network network-legacy crypt lvm mdraid multipath resume",
    "--filesystems", "erofs ext4 vfat",
)  # fmt: skip
_ROOT_HASH = re.compile(r"^Root hash:\s+([0-9a-f]{64})$", re.MULTILINE)

SHIM = "/usr/lib/shim/shimx64.efi.signed"
MOK_MANAGER = "/usr/lib/shim/mmx64.efi.signed"
GRUB = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"


class StageError(RuntimeError):
    """A stage cannot be made of what it was given; the message says what is missing or too large."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root partition's content: the file system with its hash tree, where that begins, and the hash over all."""

    image: Path
    hash_offset: int
    root_hash: str


def kernel_version(tree: Path) -> str:
    """The one kernel of the tree."""
    found = sorted(path.name.removeprefix("vmlinuz-") for path in (tree / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise StageError(f"{tree}/boot: must hold one kernel, found {', '.join(found) or 'none'}")
    return found[0]


def initramfs(tree: Path, output: Path) -> Path:
    """The initramfs for the tree's kernel, made by the tree's own dracut; nothing stays in the tree."""
    output.mkdir(parents=True, exist_ok=True)
    module = f"/usr/lib/dracut/modules.d/{DRACUT_MODULE}"
    inside = Inside(tree, scratch=True, binds={module: FILES / DRACUT_MODULE})
    place = output / "initrd.img"
    inside.run([*_DRACUT, "--kver", kernel_version(tree), str(place)], makes=(output,))
    return place


def root(tree: Path, output: Path, version: str, tools: Tools) -> Root:
    """The tree as EROFS, and after it the dm-verity tree over it."""
    image = output / "root.img"
    image.unlink(missing_ok=True)
    leave = [f"--exclude-regex={pattern}" for pattern in LEFT_OUT]
    identity = str(layout.identity(version, "root file system"))
    compress = ["-zlz4hc,9", "-C65536", f"-T{SOURCE_DATE}", f"-U{identity}", "--quiet"]
    tools.run(["mkfs.erofs", *compress, *leave, str(image), str(tree)], sees=(tree,), makes=(output,))
    offset = image.stat().st_size
    salt = hashlib.sha256(f"{version} verity".encode()).hexdigest()
    verity = [f"--hash-offset={offset}", f"--salt={salt}", f"--uuid={layout.identity(version, 'verity')}"]
    said = tools.run(["veritysetup", "format", *verity, str(image), str(image)], makes=(output,)).stdout
    found = _ROOT_HASH.search(said)
    if found is None:
        raise StageError(f"veritysetup printed no root hash:\n{said}")
    fits(image, layout.ROOT_MIB, "the root")
    return Root(image, offset, found[1])


def boot(kernel: Path, initrd: Path, made: Root, output: Path, tools: Tools) -> Path:
    """A boot partition's content: squashfs, which the signed GRUB can read (EROFS it cannot)."""
    folder = _empty(output / "boot")
    shutil.copyfile(kernel, folder / "vmlinuz")
    shutil.copyfile(initrd, folder / "initrd.img")
    write_file(folder / "slot.cfg", grub.slot(made.root_hash, made.hash_offset))
    image = output / "boot.img"
    image.unlink(missing_ok=True)
    # No compression: both files are compressed already. SOURCE_DATE_EPOCH, which squashfs takes its times from, bars -mkfs-time.
    plain = ["-noappend", "-all-root", "-no-xattrs", "-noI", "-noD", "-noF", "-reproducible", "-quiet", "-no-progress"]
    tools.run(["mksquashfs", str(folder), str(image), *plain], makes=(output,))
    fits(image, layout.BOOT_MIB, "the boot partition")
    return image


def esp(target: Target, version: str, output: Path, tools: Tools) -> Path:
    """The EFI system partition: Debian's signed shim and GRUB, and the menu with what the target gives the kernel."""
    signed = {"BOOTX64.EFI": SHIM, "grubx64.efi": GRUB, "mmx64.efi": MOK_MANAGER}
    files = {f"EFI/BOOT/{name}": tools.file(path).read_bytes() for name, path in signed.items()}
    menu = grub.menu((*target.arguments, f"sentry.platform={target.platform}")).encode("ascii")
    # Debian's GRUB looks in EFI/debian, and where it was started from when there is nothing.
    files |= {"EFI/debian/grub.cfg": menu, "EFI/BOOT/grub.cfg": menu, "grubenv": grub.environment(grub.DEFAULTS)}
    files["grubenv2"] = files["grubenv"]
    return fat(files, layout.ESP_MIB, layout.identity(version, "esp").hex[:8], output / "esp", tools)


def fat(files: Mapping[str, bytes], mib: int, serial: str, output: Path, tools: Tools) -> Path:
    """A FAT file system of `mib` MiB with these files (path -> content), `<output>.img`; `serial` in eight hexadecimal digits."""
    folder = _empty(output)
    moment = int(SOURCE_DATE)
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, (moment, moment))
    image = output.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(mib * MIB)
    makes = (output.parent,)
    tools.run(["mkfs.vfat", "--invariant", "-F", "32", "-i", serial, "-n", "SENTRY", str(image)], makes=makes)
    for parent in sorted({str(path) for name in files for path in Path(name).parents if path.name}):
        tools.run(["mmd", "-i", str(image), f"::{parent}"], makes=makes)
    for name in sorted(files):
        tools.run(["mcopy", "-m", "-i", str(image), str(folder / name), f"::{name}"], makes=makes)
    return image


def fits(image: Path, mib: int, what: str) -> None:
    """Raises `DiskError` when the image is larger than its partition."""
    size = image.stat().st_size
    if size > mib * MIB:
        raise DiskError(f"{what} takes {-(-size // MIB)} MiB, and its partition has {mib}")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
