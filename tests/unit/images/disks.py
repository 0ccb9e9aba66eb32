"""Small disks for tests: bytes that are the same each time, holes between them."""

import random
from pathlib import Path

from images.formats.sparse import MIB

GRAIN = 65_536


def make(path: Path, mib: int, filled: dict[int, int], seed: int = 1) -> Path:
    """A disk of `mib` MiB with pseudo-random bytes at each {offset: length}, and holes elsewhere."""
    source = random.Random(seed)  # noqa: S311 - the same bytes each time is what is wanted
    with path.open("wb") as file:
        file.truncate(mib * MIB)
        for offset, length in filled.items():
            file.seek(offset)
            file.write(source.randbytes(length))
    return path


def lively(path: Path) -> Path:
    """A disk with bytes at its beginning, across the borders of grains and tables, and at its very end."""
    mib = 70
    # 32 MiB is where a VMDK's first table ends.
    return make(path, mib, {0: 700, 3 * MIB - 5: 10, 32 * MIB - GRAIN: 3 * GRAIN, mib * MIB - 512: 512})
