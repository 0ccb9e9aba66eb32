"""The fixed VHD that Azure takes: the raw disk, and 512 bytes after it (Virtual Hard Disk Image Format Specification 1.0).

qemu-img writes one too, with the time and a random id in it; and unless told not to, it rounds the size to cylinders, which
Azure then refuses for not being a whole number of MiB. The 512 bytes are few enough to write them ourselves, the same each time.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from images.formats.sparse import DiskError, copy_into, whole_mebibytes

FOOTER_BYTES = 512
SECTOR = 512
EPOCH = 946_684_800  # the format counts seconds from 2000-01-01 00:00 UTC
FIXED = 2  # disk type
MOST_SECTORS = 65_535 * 16 * 255  # what a geometry can say; a larger disk says just that, and its size tells the truth

_COOKIE = b"conectix"
_FEATURES = 2  # a bit that is reserved and must be set
_VERSION = 0x0001_0000
_NO_OFFSET = 0xFFFF_FFFF_FFFF_FFFF  # a fixed disk has no further head
# Readers ask who wrote it to know which size counts: of this one, everybody takes the bytes and nobody the cylinders.
_CREATOR = b"qem2"
_CREATOR_VERSION = 0x0005_0003
_CREATOR_SYSTEM = b"Wi2k"
_FIELDS = struct.Struct(
    ">8sIIQI4sI4sQQHBBII16sB"
)  # big-endian; all but the last is at the place where the format has it
_CHECKSUM_AT = 64


@dataclass(frozen=True, slots=True)
class Geometry:
    """Cylinders, heads, sectors per track: what a BIOS would have been told."""

    cylinders: int
    heads: int
    sectors: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a footer says: the disk's size in bytes, its id, when it was made (seconds since 1970), its geometry."""

    size: int
    identity: UUID
    moment: int
    geometry: Geometry


def geometry(total: int) -> Geometry:
    """The geometry of a disk of so many sectors, by the calculation in the specification's appendix."""
    total = min(total, MOST_SECTORS)
    if total >= 65_535 * 16 * 63:
        return Geometry(total // 255 // 16, 16, 255)
    tracks = total // 17
    heads = max((tracks + 1023) // 1024, 4)
    sectors = 17
    if tracks >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        tracks = total // sectors
    if tracks >= heads * 1024:
        sectors, heads = 63, 16
        tracks = total // sectors
    return Geometry(tracks // heads, heads, sectors)


def footer(size: int, identity: UUID, moment: int) -> bytes:
    """The footer of a disk of `size` bytes, whole MiB or a `DiskError`; `moment` in seconds since 1970, not before 2000."""
    whole_mebibytes(size, "a VHD's disk")
    shape = geometry(size // SECTOR)
    packed = _FIELDS.pack(
        _COOKIE, _FEATURES, _VERSION, _NO_OFFSET, moment - EPOCH, _CREATOR, _CREATOR_VERSION, _CREATOR_SYSTEM,
        size, size, shape.cylinders, shape.heads, shape.sectors, FIXED, 0, identity.bytes, 0,
    ).ljust(FOOTER_BYTES, b"\0")  # fmt: skip
    return packed[:_CHECKSUM_AT] + checksum(packed).to_bytes(4, "big") + packed[_CHECKSUM_AT + 4 :]


def checksum(block: bytes) -> int:
    """Ones' complement of the sum of all bytes, those of the checksum itself left out."""
    counted = sum(block) - sum(block[_CHECKSUM_AT : _CHECKSUM_AT + 4])
    return ~counted & 0xFFFF_FFFF


def read(block: bytes) -> Footer:
    """What a fixed disk's footer says; raises `DiskError` when it is none, or its checksum is wrong."""
    if len(block) != FOOTER_BYTES or not block.startswith(_COOKIE):
        raise DiskError(f"no VHD footer: {len(block)} bytes that begin with {block[:8]!r}")
    (_, _, _, _, since, _, _, _, _, size, cylinders, heads, sectors, kind, stated, identity, _) = _FIELDS.unpack_from(
        block
    )
    if kind != FIXED:
        raise DiskError(f"VHD: its disk type is {kind}; Azure takes {FIXED}, a fixed disk")
    if stated != checksum(block):
        raise DiskError(f"VHD: its checksum is {stated:08x}, and its bytes have {checksum(block):08x}")
    return Footer(size, UUID(bytes=identity), since + EPOCH, Geometry(cylinders, heads, sectors))


def write(raw: Path, target: Path, identity: UUID, moment: int) -> None:
    """The raw disk as a fixed VHD."""
    size = raw.stat().st_size
    last = footer(size, identity, moment)
    with target.open("wb") as file:
        copy_into(raw, file, 0)
        file.seek(size)
        file.write(last)
