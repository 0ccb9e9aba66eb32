"""The streamOptimized VMDK: compressed grains in the order of the disk, with tables after them, readable from a pipe.

VMware's Virtual Disk Format 5.0. qemu-img writes something by this name that vSphere refuses: no footer, no end of the stream,
and a directory whose place stands in the head. Ours is what VMware's own tools write, and the same each time.

    head | descriptor | grains, each group of 512 followed by its table | directory | footer | end of the stream
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from images.formats.sparse import blocks, whole_mebibytes

SECTOR = 512
GRAIN_SECTORS = 128
GRAIN = GRAIN_SECTORS * SECTOR
TABLE_GRAINS = 512
OVERHEAD = 128  # sectors before the first grain; VMware's tools leave as many

_HEAD = struct.Struct("<4sIIQQQQIQQQB4sH")
_MARKER = struct.Struct("<QII")
_GRAIN_MARKER = struct.Struct("<QI")
_FLAGS = 0x3_0001  # line ends can be tested, grains are compressed, markers stand before everything
_VERSION = 3
_DESCRIPTOR_AT, _DESCRIPTOR_SECTORS = 1, 20
_DIRECTORY_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_LINE_ENDS = b"\n \r\n"  # a file transfer that changes these has spoilt the disk
_DEFLATE = 1
_TABLE, _DIRECTORY, _FOOTER, _END = 1, 2, 3, 0  # kinds of marker
_LEVEL = 6
_HARDWARE = 15  # virtual hardware version, that of the OVF
_CYLINDER = 255 * 63  # sectors


class Stream:
    """The bytes of one disk's VMDK: `head`, then `grain` for each one that is not all zeros and in rising order, then `tail`."""

    def __init__(self, size: int, name: str, identity: UUID) -> None:
        """A disk of `size` bytes in a file of this name; raises `DiskError` unless that is a whole number of MiB."""
        self._capacity = whole_mebibytes(size, "a VMDK's disk") // SECTOR
        self._name = name
        self._identity = identity
        self._place = 0  # sectors given out
        self._table = [0] * TABLE_GRAINS
        self._number = 0  # of the table that is being filled
        self._directory = [0] * -(-self._capacity // (GRAIN_SECTORS * TABLE_GRAINS))

    def head(self) -> bytes:
        """The head and the descriptor."""
        text = descriptor(self._capacity, self._name, self._identity).encode("ascii")
        return self._out((self._header(_DIRECTORY_AT_END) + text).ljust(OVERHEAD * SECTOR, b"\0"))

    def grain(self, index: int, content: bytes) -> bytes:
        """The grain at `index`, and before it the table that it does not belong to any more."""
        before = b""
        if index // TABLE_GRAINS != self._number:
            before = self._close_table()
            self._number = index // TABLE_GRAINS
        self._table[index % TABLE_GRAINS] = self._place
        packed = zlib.compress(content.ljust(GRAIN, b"\0"), _LEVEL)
        return before + self._out(_GRAIN_MARKER.pack(index * GRAIN_SECTORS, len(packed)) + packed)

    def tail(self) -> bytes:
        """The last table, the directory, the footer and the end."""
        table = self._close_table()
        packed = struct.pack(f"<{len(self._directory)}I", *self._directory)
        sectors = -(-len(packed) // SECTOR)
        marker = self._marker(sectors, _DIRECTORY)
        place = self._place
        directory = self._out(packed)
        footer = self._marker(1, _FOOTER) + self._out(self._header(place))
        return table + marker + directory + footer + self._marker(0, _END)

    def _close_table(self) -> bytes:
        if not any(self._table):
            return b""  # a table of no grains is left out, and its place in the directory is 0
        packed = struct.pack(f"<{TABLE_GRAINS}I", *self._table)
        marker = self._marker(len(packed) // SECTOR, _TABLE)
        self._directory[self._number] = self._place
        self._table = [0] * TABLE_GRAINS
        return marker + self._out(packed)

    def _marker(self, sectors: int, kind: int) -> bytes:
        return self._out(_MARKER.pack(sectors, 0, kind))

    def _out(self, content: bytes) -> bytes:
        """`content` up to the end of its last sector, counted."""
        sectors = -(-len(content) // SECTOR)
        self._place += sectors
        return content.ljust(sectors * SECTOR, b"\0")

    def _header(self, directory: int) -> bytes:
        return _HEAD.pack(
            b"KDMV", _VERSION, _FLAGS, self._capacity, GRAIN_SECTORS, _DESCRIPTOR_AT, _DESCRIPTOR_SECTORS, TABLE_GRAINS,
            0, directory, OVERHEAD, 0, _LINE_ENDS, _DEFLATE,
        ).ljust(SECTOR, b"\0")  # fmt: skip


def descriptor(capacity: int, name: str, identity: UUID) -> str:
    """The text that says what the disk is; `capacity` in sectors. Its content ids are taken from `identity`."""
    lines = (
        "# Disk DescriptorFile",
        "version=1",
        f"CID={identity.hex[:8]}",
        "parentCID=ffffffff",
        'createType="streamOptimized"',
        "",
        "# Extent description",
        f'RW {capacity} SPARSE "{name}"',
        "",
        "# The Disk Data Base",
        "#DDB",
        "",
        'ddb.adapterType = "lsilogic"',
        'ddb.encoding = "UTF-8"',
        f'ddb.geometry.cylinders = "{min(capacity // _CYLINDER, 65_535)}"',
        'ddb.geometry.heads = "255"',
        'ddb.geometry.sectors = "63"',
        f'ddb.longContentID = "{identity.hex}"',
        f'ddb.virtualHWVersion = "{_HARDWARE}"',
        "",
    )
    return "\n".join(lines)


def stream(raw: Path, name: str, identity: UUID) -> Iterator[bytes]:
    """The raw disk as the bytes of a VMDK, a grain at a time."""
    made = Stream(raw.stat().st_size, name, identity)
    yield made.head()
    with raw.open("rb") as file:
        for index, content in blocks(file, GRAIN):
            yield made.grain(index, content)
    yield made.tail()


def write(raw: Path, target: Path, identity: UUID) -> None:
    """The raw disk as a streamOptimized VMDK."""
    with target.open("wb") as file:
        for part in stream(raw, target.name, identity):
            file.write(part)
