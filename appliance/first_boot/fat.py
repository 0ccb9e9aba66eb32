"""The root folder of a FAT file system (Microsoft, FAT32 File System Specification 1.03), with its long names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from appliance.first_boot.volume import FILE_BYTES, VolumeError, number, read_at

BOOT_SECTOR = 512
SECTORS = (512, 1_024, 2_048, 4_096)
FAT12_CLUSTERS = 4_085  # with fewer a file system that is no FAT32 is a FAT12
ENTRY = 32
FOLDER_ENTRIES = 4_096  # of the root folder that we look at
LONG, LABEL, FOLDER = 0x0F, 0x08, 0x10
DELETED, LAST = 0xE5, 0x00
_LONG_PARTS = ((1, 11), (14, 26), (28, 32))
LONG_PIECES = 20  # of a name of at most 255 characters, 13 in each (the specification, "Long Directory Entries")
LONG_LAST = 0x40  # in the number of a name's last piece, which stands first


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the boot sector says: offsets and sizes in bytes. `root`: where a FAT12 or FAT16 has its root folder."""

    kind: int
    cluster: int
    table: int
    table_size: int
    root: int
    root_size: int
    root_cluster: int
    data: int
    clusters: int


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    cluster: int
    size: int


class Fat:
    """A volume; see `Volume`."""

    def __init__(self, file: BinaryIO, shape: _Shape, label: str) -> None:
        self._file = file
        self._shape = shape
        self.label = label
        self._entries: list[_Entry] = []
        self._look()

    def read(self, name: str) -> bytes | None:
        """See `Volume.read`."""
        for entry in self._entries:
            if entry.name.casefold() == name.casefold():
                if entry.size > FILE_BYTES:
                    raise VolumeError(f"{name}: found {entry.size} bytes; allowed: {FILE_BYTES}")
                data = self._chain(entry.cluster, entry.size) if entry.size else b""
                if len(data) < entry.size:
                    raise VolumeError(f"{name}: its clusters end after {len(data)} of {entry.size} bytes")
                return data[: entry.size]
        return None

    def _look(self) -> None:
        """Read the root folder: the label, and the files."""
        pieces: list[bytes] = []
        for raw in self._raw():
            kind = raw[11]
            if kind & 0x3F == LONG:
                if raw[0] & LONG_LAST:
                    pieces = []
                # More of them than a name has belong to nothing, and are not kept.
                pieces = [*pieces, raw][: LONG_PIECES + 1]
                continue
            if kind & LABEL:
                self.label = raw[:11].decode("ascii", errors="replace").strip()
            elif not kind & FOLDER:
                cluster = number(raw, 26, 2) | (number(raw, 20, 2) << 16 if self._shape.kind == 32 else 0)
                self._entries.append(_Entry(_long(pieces, raw) or _short(raw), cluster, number(raw, 28, 4)))
            pieces = []

    def _raw(self) -> Iterator[bytes]:
        shape = self._shape
        if shape.kind == 32:
            data = self._chain(shape.root_cluster, FOLDER_ENTRIES * ENTRY)
        else:
            data = read_at(self._file, shape.root, min(shape.root_size, FOLDER_ENTRIES * ENTRY))
        for at in range(0, len(data) - ENTRY + 1, ENTRY):
            if data[at] == LAST:
                return
            if data[at] != DELETED:
                yield data[at : at + ENTRY]

    def _chain(self, cluster: int, size: int) -> bytes:
        """The clusters of a file or folder, until there are `size` bytes or the chain ends."""
        data = bytearray()
        while 2 <= cluster < self._shape.clusters + 2 and len(data) < size:
            offset = self._shape.data + (cluster - 2) * self._shape.cluster
            data += read_at(self._file, offset, self._shape.cluster)
            cluster = self._next(cluster)
        return bytes(data)

    def _next(self, cluster: int) -> int:
        bits = self._shape.kind
        offset = cluster * bits // 8
        if offset >= self._shape.table_size:
            raise VolumeError(f"cluster {cluster} lies behind the end of the table")
        # Behind the last entry lie the next table or the data.
        value = number(read_at(self._file, self._shape.table + offset, 4), 0, 4)
        if bits == 12 and cluster % 2:
            value >>= 4
        return value & ((1 << min(bits, 28)) - 1)


def open_fat(file: BinaryIO) -> Fat | None:
    """The volume on this disk; None where it is no FAT. Raises `VolumeError`."""
    try:
        boot = read_at(file, 0, BOOT_SECTOR)
    except VolumeError:
        return None
    shape = _shape(boot)
    if shape is None:
        return None
    place = 71 if shape.kind == 32 else 43
    return Fat(file, shape, boot[place : place + 11].decode("ascii", errors="replace").strip())


def _shape(boot: bytes) -> _Shape | None:
    """The file system that a boot sector describes; None where it describes none."""
    sector, cluster, reserved, tables = number(boot, 11, 2), boot[13], number(boot, 14, 2), boot[16]
    if boot[510:512] != b"\x55\xaa" or sector not in SECTORS or cluster == 0 or cluster & (cluster - 1):
        return None
    table_size = number(boot, 22, 2) or number(boot, 36, 4)
    total = number(boot, 19, 2) or number(boot, 32, 4)
    if not (reserved and tables and table_size and total):
        return None
    root = reserved + tables * table_size
    root_sectors = -(-number(boot, 17, 2) * ENTRY // sector)
    clusters = (total - root - root_sectors) // cluster
    if clusters <= 0:
        return None
    # By the specification a FAT32 has 65,525 clusters or more; Linux goes by the field that only the others have, and so reads
    # the small ones that `mkfs.vfat -F 32` makes of a small disk.
    others = number(boot, 22, 2)
    kind = (12 if clusters < FAT12_CLUSTERS else 16) if others else 32
    return _Shape(
        kind=kind,
        cluster=cluster * sector,
        table=reserved * sector,
        table_size=table_size * sector,
        root=root * sector,
        root_size=root_sectors * sector,
        root_cluster=number(boot, 44, 4),
        data=(root + root_sectors) * sector,
        clusters=clusters,
    )


def _long(pieces: list[bytes], short: bytes) -> str:
    """The name that the entries before a short one give it; empty where they are not its own: a system that knows no long names
    leaves them behind when it makes a file."""
    checksum = 0
    for byte in short[:11]:
        checksum = ((checksum & 1) << 7) + (checksum >> 1) + byte & 0xFF
    wanted = [*range(len(pieces), 0, -1)]
    numbers = [piece[0] & ~LONG_LAST for piece in pieces]
    if len(pieces) > LONG_PIECES or numbers != wanted or any(piece[13] != checksum for piece in pieces):
        return ""
    parts = [piece[start:end] for piece in reversed(pieces) for start, end in _LONG_PARTS]
    return b"".join(parts).decode("utf-16-le", errors="replace").partition("\0")[0]


def _short(raw: bytes) -> str:
    """An eight-and-three name as people write it."""
    name, kind = (raw[start:end].decode("ascii", errors="replace").strip() for start, end in ((0, 8), (8, 11)))
    return f"{name}.{kind}" if kind else name
