"""What is not a hole is found and copied, and holes stay holes."""

from pathlib import Path

import pytest

from images.formats import sparse
from images.formats.sparse import MIB, DiskError, blocks, whole_mebibytes
from tests.unit.images import disks


def test_a_copy_has_the_same_bytes_and_the_same_holes(tmp_path: Path) -> None:
    disk = disks.lively(tmp_path / "disk")
    sparse.copy(disk, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == disk.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 8 * MIB


def test_blocks_come_once_in_order_and_without_those_that_are_zeros(tmp_path: Path) -> None:
    disk = disks.make(tmp_path / "disk", 4, {100: 200, 2 * MIB: 1})
    with disk.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(bytes(MIB // 2))  # written, and zeros all the same
    with disk.open("rb") as file:
        found = dict(blocks(file, disks.GRAIN))
    assert list(found) == [0, 2 * MIB // disks.GRAIN]
    assert found[0] == disk.read_bytes()[: disks.GRAIN]


def test_a_disk_that_is_one_hole_has_no_blocks(tmp_path: Path) -> None:
    with disks.make(tmp_path / "disk", 3, {}).open("rb") as file:
        assert list(blocks(file, MIB)) == []


def test_the_last_block_may_be_short(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file:
        assert list(blocks(file, 64)) == [(0, b"x" * 64), (1, b"x" * 36)]


@pytest.mark.parametrize("size", [0, -MIB, 1, MIB - 1, MIB + 512])
def test_what_is_no_whole_number_of_mebibytes_is_refused(size: int) -> None:
    with pytest.raises(DiskError, match=f"the disk: is {size} bytes.*whole number of MiB"):
        whole_mebibytes(size, "the disk")
