"""A finished disk, read back: its table, the root verified block by block, and its files taken out to be looked at."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from images.disk import assemble, layout
from images.disk.layout import Content
from images.disk.stages import Root
from images.formats.sparse import DiskError
from images.toolbox import Tools

_ROOT_HASH = re.compile(r"\broothash=([0-9a-f]{64})\b")
_OFFSET = re.compile(r"\bhash-offset=(\d+)\b")


@dataclass(frozen=True, slots=True)
class Read:
    """What was taken out of a disk: the root's files and what its boot partition says of it."""

    tree: Path
    root: Root


def read(raw: Path, work: Path, tools: Tools) -> Read:
    """Take slot a out of the raw disk into `work`, which is emptied before.

    The root hash is the boot partition's, so what is verified is what would start. Raises `DiskError`, or what a tool says, when
    the disk is damaged.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    names: dict[Content | None, Path] = {"root": work / "root.img", "boot": work / "boot.img"}
    for partition in layout.PARTITIONS:
        if partition.content in names:
            assemble.take(raw, partition.name, names[partition.content])
    slot = tools.run(["unsquashfs", "-cat", str(names["boot"]), "slot.cfg"], sees=(work,)).stdout
    root_hash, offset = _ROOT_HASH.search(slot), _OFFSET.search(slot)
    if root_hash is None or offset is None:
        raise DiskError(f"{raw.name}: slot.cfg of its boot partition names no root hash:\n{slot}")
    image = str(names["root"])
    verify = ["veritysetup", "verify", f"--hash-offset={offset[1]}", image, image, root_hash[1]]
    tools.run(verify, makes=(work,))
    tree = work / "tree"
    tools.run(["fsck.erofs", f"--extract={tree}", "--overwrite", "--preserve", image], makes=(work,))
    return Read(tree, Root(names["root"], int(offset[1]), root_hash[1]))
