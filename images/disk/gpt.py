"""GUID partition tables (UEFI specification 2.10, chapter 5) as values: written and read, with no tool and no device."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from images.formats.sparse import MIB, DiskError, whole_mebibytes

SECTOR = 512
ENTRIES = 128
ENTRY_BYTES = 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR
FIRST_USABLE = 2 + TABLE_SECTORS
NAME_UNITS = 36  # UTF-16 code units that an entry has room for

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_SIGNATURE = b"EFI PART"
_REVISION = 0x0001_0000
_PROTECTIVE = 0xEE
_MBR_END = b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class Entry:
    """A partition: type, its own id, name, and where it lies, in bytes."""

    kind: UUID
    identity: UUID
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Table:
    """A disk's id, its size in bytes, and its partitions."""

    identity: UUID
    size: int
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        """The partition of this name; a `DiskError` that lists the names there are."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise DiskError(f"the disk has no partition {name}; it has {', '.join(entry.name for entry in self.entries)}")


def write(table: Table, file: BinaryIO) -> None:
    """Write both copies of the table, and the protective MBR, into an opened disk; a `DiskError` for what is no layout."""
    check(table)
    sectors = table.size // SECTOR
    packed = b"".join(map(_pack, table.entries)).ljust(ENTRIES * ENTRY_BYTES, b"\0")
    last = sectors - 1
    file.seek(0)
    file.write(_mbr(sectors) + _header(table, packed, here=1, other=last, entries=2) + packed)
    file.seek((last - TABLE_SECTORS) * SECTOR)
    file.write(packed + _header(table, packed, here=last, other=1, entries=last - TABLE_SECTORS))


def check(table: Table) -> None:
    """Partitions lie one after the other on whole MiB, inside the disk; names are unique and fit."""
    whole_mebibytes(table.size, "the disk")
    free, end = MIB, table.size - (1 + TABLE_SECTORS) * SECTOR
    for entry in table.entries:
        whole_mebibytes(entry.size, f"partition {entry.name}")
        whole_mebibytes(entry.offset, f"the beginning of partition {entry.name}")
        if entry.offset < free or entry.offset + entry.size > end:
            raise DiskError(
                f"partition {entry.name}: lies at {entry.offset} to {entry.offset + entry.size}, free is {free} to {end}"
            )
        free = entry.offset + entry.size
        if len(entry.name.encode("utf-16-le")) > 2 * NAME_UNITS:
            raise DiskError(f"partition {entry.name}: a name has at most {NAME_UNITS} characters")
    names = [entry.name for entry in table.entries]
    if len(set(names)) != len(names):
        raise DiskError(f"two partitions have one name: {', '.join(names)}")


def read(file: BinaryIO, size: int) -> Table:
    """The table of a disk of `size` bytes; raises `DiskError` when a copy is damaged, or is not where it must be."""
    first = _read_copy(file, 1)
    second = _read_copy(file, size // SECTOR - 1)
    if (first.identity, first.entries) != (second.identity, second.entries):
        raise DiskError("the two copies of the partition table differ")
    return Table(first.identity, size, first.entries)


def _read_copy(file: BinaryIO, sector: int) -> Table:
    file.seek(sector * SECTOR)
    block = file.read(SECTOR)
    if len(block) != SECTOR or not block.startswith(_SIGNATURE):
        raise DiskError(f"sector {sector}: no partition table, it begins with {block[:8]!r}")
    _, _, length, stated, _, here, _, _, _, identity, entries, count, each, sum_of_entries = _HEADER.unpack_from(block)
    if length != _HEADER.size or zlib.crc32(block[:16] + bytes(4) + block[20:length]) != stated or here != sector:
        raise DiskError(f"sector {sector}: the partition table's head is damaged")
    file.seek(entries * SECTOR)
    packed = file.read(count * each)
    if each != ENTRY_BYTES or zlib.crc32(packed) != sum_of_entries:
        raise DiskError(f"sector {entries}: the partition table's entries are damaged")
    found = (_unpack(packed[place : place + each]) for place in range(0, len(packed), each))
    return Table(UUID(bytes_le=identity), 0, tuple(entry for entry in found if entry.kind.int))


def _pack(entry: Entry) -> bytes:
    first = entry.offset // SECTOR
    last = first + entry.size // SECTOR - 1
    return _ENTRY.pack(entry.kind.bytes_le, entry.identity.bytes_le, first, last, 0, entry.name.encode("utf-16-le"))


def _unpack(packed: bytes) -> Entry:
    kind, identity, first, last, _, name = _ENTRY.unpack(packed)
    text = name.decode("utf-16-le", errors="replace").rstrip("\0")
    return Entry(UUID(bytes_le=kind), UUID(bytes_le=identity), text, first * SECTOR, (last - first + 1) * SECTOR)


def _header(table: Table, packed: bytes, *, here: int, other: int, entries: int) -> bytes:
    last_usable = table.size // SECTOR - 2 - TABLE_SECTORS

    def head(checksum: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE, _REVISION, _HEADER.size, checksum, 0, here, other, FIRST_USABLE, last_usable,
            table.identity.bytes_le, entries, ENTRIES, ENTRY_BYTES, zlib.crc32(packed),
        )  # fmt: skip

    return head(zlib.crc32(head(0))).ljust(SECTOR, b"\0")


def _mbr(sectors: int) -> bytes:
    """One partition of type 0xEE over the whole disk, so that no old tool takes the disk for an empty one."""
    most = min(sectors - 1, 0xFFFF_FFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, most)
    return (bytes(446) + entry).ljust(510, b"\0") + _MBR_END


def table(identity: UUID, size: int, parts: Sequence[tuple[UUID, UUID, str, int]]) -> Table:
    """The table with these (type, id, name, size in bytes) one after the other from the first MiB on."""
    entries: list[Entry] = []
    place = MIB
    for kind, own, name, length in parts:
        entries.append(Entry(kind, own, name, place, length))
        place += length
    return Table(identity, size, tuple(entries))
