"""streamOptimized VMDKs: what the format says of every part, read here by a reader of its own, and qemu-img's opinion."""

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.formats import vmdk
from images.formats.sparse import MIB, DiskError
from images.run import run
from tests.unit.images import disks

IDENTITY = UUID("01234567-89ab-cdef-0123-456789abcdef")
SECTOR = 512
GRAIN = 65_536


@dataclass
class Disk:
    """What a reader of the stream finds."""

    capacity: int
    descriptor: str
    grains: dict[int, bytes]
    tables: dict[int, tuple[int, ...]]
    order: list[str]


def read(stream: bytes) -> Disk:
    """Read a stream from its beginning to its end as an importer does, and hold its tables against what went by."""
    assert len(stream) % SECTOR == 0
    magic, version, flags, capacity, grain, at, length, entries = struct.unpack_from("<4sIIQQQQI", stream)
    assert (magic, version, flags, grain, at, length, entries) == (b"KDMV", 3, 0x30001, 128, 1, 20, 512)
    old, directory_at, overhead = struct.unpack_from("<QQQ", stream, 48)
    assert (old, directory_at) == (0, 0xFFFF_FFFF_FFFF_FFFF)
    assert stream[72:79] == b"\0\n \r\n\x01\0"
    disk = Disk(capacity, stream[SECTOR : 21 * SECTOR].rstrip(b"\0").decode("ascii"), {}, {}, [])
    place = overhead * SECTOR
    where: dict[int, int] = {}
    while True:
        value, size, kind = struct.unpack_from("<QII", stream, place)
        if size:
            packed = stream[place + 12 : place + 12 + size]
            where[place // SECTOR] = value
            disk.grains[value // 128] = zlib.decompress(packed)
            disk.order.append("grain")
            place += -(-(12 + size) // SECTOR) * SECTOR
            continue
        content = stream[place + SECTOR : place + SECTOR + value * SECTOR]
        if kind == 1:
            disk.tables[place // SECTOR + 1] = struct.unpack("<512I", content)
        elif kind == 2:
            directory_place = place // SECTOR + 1
            directory = struct.unpack(f"<{len(content) // 4}I", content)
        elif kind == 3:
            footer = content
        else:
            assert not any(stream[place : place + SECTOR])
            assert place + SECTOR == len(stream)
            break
        disk.order.append({1: "table", 2: "directory", 3: "footer"}[kind])
        place += SECTOR + len(content)
    assert struct.unpack_from("<Q", footer, 56) == (directory_place,)
    assert footer[:56] + footer[64:] == stream[:56] + stream[64:SECTOR]
    for number, table_at in enumerate(directory):
        for index, grain_at in enumerate(disk.tables[table_at] if table_at else ()):
            if grain_at:
                assert where.pop(grain_at) == (number * 512 + index) * 128
    assert where == {}, "every grain stands in a table"
    return disk


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk."""
    return disks.lively(tmp_path / "disk.raw")


@pytest.fixture
def made(disk: Path, tmp_path: Path) -> Path:
    """The same as a VMDK."""
    vmdk.write(disk, tmp_path / "disk.vmdk", IDENTITY)
    return tmp_path / "disk.vmdk"


def test_every_part_is_as_the_format_has_it(disk: Path, made: Path) -> None:
    found = read(made.read_bytes())
    raw = disk.read_bytes()
    assert found.capacity * SECTOR == len(raw)
    assert all(len(content) == GRAIN for content in found.grains.values())
    whole = b"".join(found.grains.get(index, bytes(GRAIN)) for index in range(len(raw) // GRAIN))
    assert whole == raw
    assert [part for part in found.order if part != "grain"] == ["table", "table", "table", "directory", "footer"]
    assert found.order.index("table") == 4  # a table follows the last of its grains


def test_qemu_sees_the_same_disk(disk: Path, made: Path) -> None:
    shown = json.loads(run(["qemu-img", "info", "--output=json", made]).stdout)
    assert shown["format"] == "vmdk"
    assert shown["format-specific"]["data"]["create-type"] == "streamOptimized"
    assert shown["format-specific"]["data"]["extents"][0]["compressed"]
    assert "Images are identical" in run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", disk, made]).stdout
    run(["qemu-img", "check", made])


def test_what_qemu_itself_writes_by_this_name_lacks_what_importers_ask_for(disk: Path, tmp_path: Path) -> None:
    """Why there is a writer of our own: the reader above, which reads as an importer does, refuses qemu's."""
    theirs = tmp_path / "theirs.vmdk"
    run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", disk, theirs])
    with pytest.raises(AssertionError):
        read(theirs.read_bytes())


def test_the_descriptor_names_the_file_and_its_own_ids(disk: Path, made: Path) -> None:
    lines = read(made.read_bytes()).descriptor.splitlines()
    assert lines[0] == "# Disk DescriptorFile"
    assert "CID=01234567" in lines
    assert 'createType="streamOptimized"' in lines
    assert f'RW {disk.stat().st_size // SECTOR} SPARSE "disk.vmdk"' in lines
    assert f'ddb.longContentID = "{IDENTITY.hex}"' in lines


def test_a_disk_of_zeros_has_no_grain_and_no_table(tmp_path: Path) -> None:
    vmdk.write(disks.make(tmp_path / "raw", 40, {}), tmp_path / "out.vmdk", IDENTITY)
    assert read((tmp_path / "out.vmdk").read_bytes()).order == ["directory", "footer"]


def test_the_same_disk_gives_the_same_bytes(disk: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    vmdk.write(disk, tmp_path / "again" / "disk.vmdk", IDENTITY)
    assert (tmp_path / "again" / "disk.vmdk").read_bytes() == made.read_bytes()


def test_a_size_that_is_no_whole_number_of_mebibytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(GRAIN))
    with pytest.raises(DiskError, match="whole number of MiB"):
        vmdk.write(tmp_path / "raw", tmp_path / "out", IDENTITY)


@settings(max_examples=30)
@given(indices=st.sets(st.integers(0, 4 * 512 - 1), max_size=12), short=st.integers(1, GRAIN))
def test_any_grains_come_back_wherever_they_are(indices: set[int], short: int) -> None:
    """Also the last of a table and the first of the next, with tables between them that have none."""
    made = vmdk.Stream(128 * MIB, "any.vmdk", IDENTITY)
    parts = [made.head()]
    parts += [made.grain(index, bytes([1 + index % 255]) * short) for index in sorted(indices)]
    parts.append(made.tail())
    found = read(b"".join(parts))
    assert found.grains == {index: (bytes([1 + index % 255]) * short).ljust(GRAIN, b"\0") for index in indices}
