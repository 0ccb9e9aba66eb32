"""Disks of somebody who means harm, or of a broken drive: refused in words, soon, and with no more memory than was stated."""

import io
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.first_boot import disks
from appliance.first_boot.fat import FOLDER_ENTRIES, open_fat
from appliance.first_boot.found import PlaceError
from appliance.first_boot.iso9660 import open_iso
from appliance.first_boot.volume import FILE_BYTES, MEMORY_BYTES, Volume, VolumeError
from tests.fuzz.rooms.disks import READ_BYTES, Counting
from tests.unit.appliance.first_boot import tiny

TIB = 1 << 40
SHORT = b"USER-D~1   "
FATS = {bits: tiny.fat(bits) for bits in (12, 16, 32)}
CDS = {joliet: bytes(tiny.CD_BEFORE) + tiny.iso(joliet=joliet) for joliet in (False, True)}
WHOLE = [*FATS.values(), *CDS.values()]


def looked_at(disk: Counting) -> bytes | None:
    """What there is under `user-data`; a `VolumeError` otherwise, and nothing else."""
    try:
        volume: Volume | None = open_iso(disk) or open_fat(disk)
        return volume.read("user-data") if volume is not None else None
    finally:
        assert disk.total <= READ_BYTES


def outcome(disk: Counting) -> bytes | str | None:
    """The file, or in which words it was refused."""
    try:
        return looked_at(disk)
    except VolumeError as error:
        return str(error)


@contextmanager
def little_memory() -> Iterator[None]:
    """Inside, no more is taken than was stated."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= MEMORY_BYTES
    finally:
        tracemalloc.stop()


@given(st.sampled_from(WHOLE), st.data())
@settings(max_examples=400, deadline=None)
def test_a_disk_with_bytes_changed_anywhere_is_read_or_refused(whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        more = data.draw(st.binary(min_size=1, max_size=8))[: len(whole) - at]
        changed[at : at + len(more)] = more
    found = outcome(Counting(bytes(changed)))
    assert found is None or len(found) <= FILE_BYTES
    assert found != ""


@given(st.sampled_from(WHOLE), st.data())
@settings(max_examples=200, deadline=None)
def test_a_disk_that_ends_anywhere_gives_the_file_or_is_refused(whole: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(whole)))
    found = outcome(Counting(whole[:end]))
    assert found in (None, tiny.TEXT) or (isinstance(found, str) and "the disk ends before byte" in found)


BOOT = st.fixed_dictionaries(
    {
        "sector": st.sampled_from([0, 1, 511, 512, 1_024, 4_096, 65_535]),
        "cluster": st.sampled_from([0, 1, 2, 3, 64, 128, 255]),
        "reserved": st.sampled_from([0, 1, 32, 65_535]),
        "tables": st.sampled_from([0, 1, 2, 255]),
        "entries": st.sampled_from([0, 1, 16, 512, 65_535]),
        "sectors": st.sampled_from([0, 1, 40, 65_535]),
        "table": st.sampled_from([0, 1, 12, 65_535]),
        "many_sectors": st.sampled_from([0, 1, 100_000, 2**31, 2**32 - 1]),
        "big_table": st.sampled_from([0, 1, 2**20, 2**32 - 1]),
        "root": st.sampled_from([0, 1, 2, 3, 2**27, 2**32 - 1]),
    }
)


def boot_sector(said: dict[str, int]) -> bytes:
    boot = bytearray(512)
    boot[11:19] = struct.pack(
        "<HBHBH", *(said[name] for name in ("sector", "cluster", "reserved", "tables", "entries"))
    )
    boot[19:21], boot[22:24] = struct.pack("<H", said["sectors"]), struct.pack("<H", said["table"])
    boot[32:40] = struct.pack("<II", said["many_sectors"], said["big_table"])
    boot[44:48], boot[510:] = struct.pack("<I", said["root"]), b"\x55\xaa"
    return bytes(boot)


@given(BOOT, st.binary(max_size=2_048))
@settings(max_examples=400, deadline=None)
def test_a_boot_sector_may_say_anything(said: dict[str, int], more: bytes) -> None:
    assert outcome(Counting(boot_sector(said) + more + bytes(70_000))) != ""


@pytest.mark.parametrize("sector", [512, 4_096])
@pytest.mark.parametrize("cluster", [1, 128])
def test_a_disk_of_many_terabytes_takes_no_more_memory(tmp_path: Path, sector: int, cluster: int) -> None:
    """All of it is there (holes), each cluster is followed by itself, and the file is as large as may be."""
    place = tmp_path / "disk"
    boot = bytearray(FATS[32][:512])
    boot[11:14] = struct.pack("<HB", sector, cluster)
    boot[32:40] = struct.pack("<II", 2**31, 2**24)
    with place.open("w+b") as file:
        file.truncate(TIB * 8)
        file.write(boot)
        file.seek(sector)
        file.write(b"".join(number.to_bytes(4, "little") for number in range(256)))
        file.seek(sector * (1 + 2**24))
        file.write(tiny.folder_of(3, FILE_BYTES))
        file.flush()
        with little_memory():
            volume = open_fat(file)
            assert volume is not None
            assert len(volume.read("user-data") or b"") == FILE_BYTES


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_root_folder_whose_chain_bites_its_tail_ends(bits: int) -> None:
    data = bytearray(FATS[bits])
    links = {2: 2, 3: 2} if bits == 32 else {2: 2}
    data[512 : 512 + len(tiny.table(bits, links))] = tiny.table(bits, links)
    with little_memory():
        volume = open_fat(io.BytesIO(bytes(data)))
        assert volume is not None
        volume.read("user-data")


def folder_of_long_names(pieces: int) -> bytes:
    """A FAT16 whose root folder is full of pieces of one long name, with a file at the end."""
    data = bytearray(FATS[16])
    entries = pieces + 2
    data[17:19] = struct.pack("<H", entries - entries % 16 + 16)
    root = tiny.SECTOR * 9
    folder = tiny.long_entry("abcdefghijklm", b"USER-D~1   ", 0x01) * pieces + tiny.folder_of(2, 5)
    return bytes(data[:root]) + folder + bytes(1 << 20)


def test_a_long_name_of_thousands_of_pieces_is_none_and_takes_no_time() -> None:
    """Each further piece once cost as much as all before it."""
    disk = Counting(folder_of_long_names(60_000))
    with little_memory():
        volume = open_fat(disk)
    assert volume is not None
    assert disk.total <= FOLDER_ENTRIES * 32 + 512
    few = open_fat(io.BytesIO(folder_of_long_names(100)))
    assert few is not None
    assert few.read("user-data") == b"\0" * 5


@pytest.mark.parametrize(
    ("pieces", "name"),
    [
        (tiny.long_entry("user-data", b"OTHER      "), "USER-D~1"),  # of a file that is gone
        (tiny.long_entry("user-data", SHORT, 0x42), "USER-D~1"),  # its first part is not there
        (tiny.long_entry("data", SHORT, 0x42) + tiny.long_entry("abcdefghijkl-", SHORT, 1), "abcdefghijkl-data"),
        (tiny.long_entry("data", SHORT, 0x42) + tiny.long_entry("user-data", SHORT), "user-data"),
    ],
)  # fmt: skip
def test_a_long_name_is_taken_when_it_is_the_files_own(pieces: bytes, name: str) -> None:
    whole = tiny.folder_of(2, 5)
    data = bytearray(FATS[12])
    data[tiny.SECTOR * 9 : tiny.SECTOR * 13] = (pieces + whole[64:]).ljust(tiny.SECTOR * 4, b"\0")
    volume = open_fat(io.BytesIO(bytes(data)))
    assert volume is not None
    assert volume.read(name) == tiny.TEXT[:5]


# --- CDs -------------------------------------------------------------------------------------------------------------


def of_cd(root_size: int = tiny.CD_SECTOR, folder: bytes = b"") -> bytes:
    data = bytearray(CDS[False])
    place = tiny.CD_BEFORE + 156
    data[place : place + 34] = tiny.record(b"\0", 20, root_size, folder=True)
    if folder:
        data[20 * tiny.CD_SECTOR : 21 * tiny.CD_SECTOR] = folder.ljust(tiny.CD_SECTOR, b"\0")[: tiny.CD_SECTOR]
    return bytes(data)


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (lambda: of_cd(root_size=2**32 - 1), "the root folder has 4294967295 bytes; allowed: 262144"),
        (lambda: of_cd(root_size=262_144), "the disk ends before byte"),
        (lambda: of_cd(folder=b"\x01" * tiny.CD_SECTOR), "too short for its name"),
        (lambda: of_cd(folder=tiny.record(b"USER-DATA", 21, 2**32 - 1)), "found 4294967295 bytes; allowed: 4194304"),
        (lambda: of_cd(folder=tiny.record(b"USER-DATA", 2**32 - 1, 100)), "the disk ends before byte"),
    ],
)
def test_a_cd_that_says_too_much_is_refused(disk: Callable[[], bytes], said: str) -> None:
    with pytest.raises(VolumeError, match=said):
        looked_at(Counting(disk()))


def test_a_cd_of_many_descriptors_is_looked_at_for_a_while_only() -> None:
    data = bytes(tiny.CD_BEFORE) + tiny.descriptor(0) * 3_000
    disk = Counting(data)
    assert open_iso(disk) is None
    assert disk.total <= 17 * tiny.CD_SECTOR


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_what_follows_a_name_may_be_anything(more: bytes) -> None:
    folder = tiny.record(b"A.;1", 21, 4, more=more) + tiny.record(b"USER-DATA", 21, 4)
    assert outcome(Counting(of_cd(folder=folder))) != ""


# --- the environment of an OVF package -------------------------------------------------------------------------------

BOMB = '<!DOCTYPE a [<!ENTITY b "{}">{}]><a>&z;</a>'


def bomb() -> str:
    """Ten entities, each ten of the one before."""
    entities = "".join(f'<!ENTITY {chr(98 + i + 1)} "{f"&{chr(98 + i)};" * 10}">' for i in range(10))
    return BOMB.format("x" * 100, entities)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_document_type_is_refused_in_whatever_encoding(encoding: str) -> None:
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    with little_memory(), pytest.raises(PlaceError, match=r"document type|is not XML"):
        disks.ovf_property(marks.get(encoding, b"") + bomb().encode(encoding))


def test_elements_within_elements_without_end_take_no_more_memory() -> None:
    """The parser keeps a hundred bytes for each that is open."""
    deep = b"<a>" * (disks.OVF_BYTES // 3)
    with little_memory(), pytest.raises(PlaceError, match="more than 16 elements within each other"):
        disks.ovf_property(deep)


def test_attributes_without_end_take_no_more_memory() -> None:
    many = b"<a " + b" ".join(b'a%d=""' % number for number in range(50_000)) + b"/>"
    with little_memory():
        assert disks.ovf_property(many) == b""


def test_an_environment_that_is_too_large_is_refused() -> None:
    with pytest.raises(PlaceError, match="found 524289 bytes; allowed: 524288"):
        disks.ovf_property(bytes(disks.OVF_BYTES + 1))
