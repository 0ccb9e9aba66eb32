"""Partition tables: what is written is read, by others too, and what is damaged or no layout is refused."""

import io
import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.disk import gpt
from images.disk.gpt import Entry, Table
from images.formats.sparse import MIB, DiskError
from images.run import run

KIND = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
DISK = UUID("01234567-89ab-cdef-0123-456789abcdef")


def own(number: int) -> UUID:
    return UUID(int=number + 1)


def table(size: int, *sizes: int) -> Table:
    return gpt.table(DISK, size * MIB, [(KIND, own(n), f"part{n}", mib * MIB) for n, mib in enumerate(sizes)])


def written(given: Table) -> io.BytesIO:
    disk = io.BytesIO(bytes(given.size))
    gpt.write(given, disk)
    return disk


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 3), max_size=5), spare=st.integers(0, 2))
def test_what_was_written_is_read(sizes: list[int], spare: int) -> None:
    wanted = table(2 + sum(sizes) + spare, *sizes)
    disk = written(wanted)
    assert len(disk.getvalue()) == wanted.size
    assert gpt.read(disk, wanted.size) == wanted


def test_sfdisk_reads_the_same(tmp_path: Path) -> None:
    """A tool of others, and one that complains."""
    wanted = table(12, 4, 2, 3)
    path = tmp_path / "disk"
    path.write_bytes(written(wanted).getvalue())
    shown = run(["sfdisk", "--json", path])
    assert shown.stderr == ""
    said = json.loads(shown.stdout)["partitiontable"]
    assert said["label"] == "gpt"
    assert UUID(said["id"]) == DISK
    assert (said["firstlba"], said["lastlba"]) == (34, 12 * 2048 - 34)
    assert [
        (UUID(p["type"]), UUID(p["uuid"]), p["name"], p["start"] * 512, p["size"] * 512) for p in said["partitions"]
    ] == [(one.kind, one.identity, one.name, one.offset, one.size) for one in wanted.entries]
    verified = run(["sfdisk", "--verify", path])
    assert "No errors detected" in verified.stdout


def test_a_protective_record_covers_the_disk() -> None:
    record = written(table(8, 1)).getvalue()[:512]
    assert record[510:] == b"\x55\xaa"
    assert record[446 + 4] == 0xEE
    assert int.from_bytes(record[446 + 8 : 446 + 16], "little") == 1 | (8 * 2048 - 1) << 32


@pytest.mark.parametrize("place", [512 + 20, 512 + 60, 1024 + 3, -512 + 20, -1024])
def test_a_changed_byte_in_either_copy_is_noticed(place: int) -> None:
    wanted = table(8, 2, 2)
    content = bytearray(written(wanted).getvalue())
    content[place] ^= 1
    with pytest.raises(DiskError, match="damaged"):
        gpt.read(io.BytesIO(content), wanted.size)


def test_a_disk_that_was_cut_or_made_larger_has_no_second_copy() -> None:
    wanted = table(8, 2)
    content = written(wanted).getvalue()
    with pytest.raises(DiskError, match="no partition table"):
        gpt.read(io.BytesIO(content[:-MIB]), wanted.size - MIB)
    with pytest.raises(DiskError, match="no partition table"):
        gpt.read(io.BytesIO(content + bytes(MIB)), wanted.size + MIB)


def test_two_copies_that_differ_are_refused() -> None:
    one, other = table(8, 2), table(8, 3)
    content = written(one).getvalue()[: 4 * MIB] + written(other).getvalue()[4 * MIB :]
    with pytest.raises(DiskError, match="differ"):
        gpt.read(io.BytesIO(content), one.size)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([Entry(KIND, own(0), "early", 0, MIB)], "early"),
        ([Entry(KIND, own(0), "crooked", MIB + 512, MIB)], "whole number of MiB"),
        ([Entry(KIND, own(0), "odd", MIB, 1000)], "whole number of MiB"),
        ([Entry(KIND, own(0), "long", MIB, 7 * MIB)], "free is"),
        ([Entry(KIND, own(0), "a", MIB, 2 * MIB), Entry(KIND, own(1), "b", 2 * MIB, MIB)], "partition b"),
        ([Entry(KIND, own(0), "a", MIB, MIB), Entry(KIND, own(1), "a", 2 * MIB, MIB)], "one name"),
        ([Entry(KIND, own(0), "n" * 37, MIB, MIB)], "at most 36"),
    ],
)
def test_what_is_no_layout_is_refused_by_name(entries: list[Entry], said: str) -> None:
    with pytest.raises(DiskError, match=said):
        gpt.write(Table(DISK, 8 * MIB, tuple(entries)), io.BytesIO())


def test_a_partition_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DiskError, match="no partition root; it has part0, part1"):
        table(8, 1, 1).entry("root")
