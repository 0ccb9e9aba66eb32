"""Fixed VHDs: the footer's fields, the geometry of the specification, and qemu-img's opinion."""

import json
import struct
from pathlib import Path
from uuid import UUID

import pytest

from images.formats import vhd
from images.formats.sparse import MIB, DiskError
from images.formats.vhd import Geometry, geometry
from images.run import run
from tests.unit.images import disks

IDENTITY = UUID("01234567-89ab-cdef-0123-456789abcdef")
MOMENT = 1_756_684_800


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk."""
    return disks.lively(tmp_path / "disk.raw")


@pytest.fixture
def made(disk: Path, tmp_path: Path) -> Path:
    """The same as a VHD."""
    vhd.write(disk, tmp_path / "disk.vhd", IDENTITY, MOMENT)
    return tmp_path / "disk.vhd"


def test_it_is_the_raw_disk_and_one_sector(disk: Path, made: Path) -> None:
    content = made.read_bytes()
    assert content[:-512] == disk.read_bytes()
    assert (len(content) - 512) % MIB == 0


def test_qemu_sees_the_same_disk_of_the_same_size(disk: Path, made: Path) -> None:
    """And does not round it to cylinders, which it does when it takes a VHD for Virtual PC's."""
    shown = json.loads(run(["qemu-img", "info", "--output=json", "-f", "vpc", made]).stdout)
    assert shown["virtual-size"] == disk.stat().st_size
    compared = run(["qemu-img", "compare", "-f", "raw", "-F", "vpc", disk, made])
    assert "Images are identical" in compared.stdout


def test_the_footers_fields_stand_where_the_specification_has_them() -> None:
    block = vhd.footer(70 * MIB, IDENTITY, MOMENT)
    assert len(block) == 512
    assert block[:8] == b"conectix"
    assert struct.unpack_from(">I", block, 8) == (2,)  # features
    assert struct.unpack_from(">I", block, 12) == (0x10000,)  # version
    assert block[16:24] == b"\xff" * 8  # no further head
    assert struct.unpack_from(">I", block, 24) == (MOMENT - 946_684_800,)
    assert struct.unpack_from(">QQ", block, 40) == (70 * MIB, 70 * MIB)
    assert struct.unpack_from(">I", block, 60) == (2,)  # fixed
    assert block[68:84] == IDENTITY.bytes
    assert not any(block[84:])


def test_the_footer_is_what_qemu_writes_but_for_time_and_id(disk: Path, tmp_path: Path) -> None:
    """Checksum and geometry are qemu's too, for a disk whose size it does not change."""
    theirs = tmp_path / "theirs.vhd"
    run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", disk, theirs])
    block = theirs.read_bytes()[-512:]
    said = vhd.read(block)
    assert said.size == disk.stat().st_size
    ours = vhd.footer(said.size, said.identity, said.moment)
    assert ours[56:60] == struct.pack(">HBB", *struct.unpack(">HBB", ours[56:60]))
    assert vhd.read(ours) == vhd.Footer(said.size, said.identity, said.moment, geometry(said.size // 512))
    assert [place for place in range(512) if ours[place] != block[place] and not 56 <= place < 68] == []


@pytest.mark.parametrize(
    ("sectors", "expected"),
    [
        (1 * 2048, Geometry(30, 4, 17)),
        (100 * 2048, Geometry(1003, 12, 17)),
        (1024 * 2048, Geometry(2080, 16, 63)),
        (16 * 1024 * 2048, Geometry(33288, 16, 63)),
        (40 * 1024 * 2048, Geometry(20560, 16, 255)),
        (4096 * 1024 * 2048, Geometry(65535, 16, 255)),
    ],
)
def test_the_geometry_is_the_specifications(sectors: int, expected: Geometry) -> None:
    assert geometry(sectors) == expected
    assert expected.cylinders * expected.heads * expected.sectors <= sectors


def test_what_was_written_is_read_and_a_changed_byte_is_noticed() -> None:
    block = vhd.footer(3 * MIB, IDENTITY, MOMENT)
    assert vhd.read(block) == vhd.Footer(3 * MIB, IDENTITY, MOMENT, geometry(6144))
    with pytest.raises(DiskError, match="checksum"):
        vhd.read(block[:70] + bytes([block[70] ^ 1]) + block[71:])
    with pytest.raises(DiskError, match="no VHD footer"):
        vhd.read(bytes(512))
    with pytest.raises(DiskError, match="no VHD footer"):
        vhd.read(block[:-1])


def test_a_dynamic_disk_is_not_taken_for_a_fixed_one(tmp_path: Path) -> None:
    raw = disks.make(tmp_path / "raw", 4, {0: 10})
    run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic", raw, tmp_path / "dynamic"])
    with pytest.raises(DiskError, match="disk type is 3"):
        vhd.read((tmp_path / "dynamic").read_bytes()[-512:])


def test_a_size_that_azure_refuses_is_refused_here(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(MIB + 512))
    with pytest.raises(DiskError, match="whole number of MiB"):
        vhd.write(tmp_path / "raw", tmp_path / "out", IDENTITY, MOMENT)
    assert not (tmp_path / "out").exists()


def test_the_same_disk_gives_the_same_bytes(disk: Path, made: Path, tmp_path: Path) -> None:
    vhd.write(disk, tmp_path / "again.vhd", IDENTITY, MOMENT)
    assert (tmp_path / "again.vhd").read_bytes() == made.read_bytes()
