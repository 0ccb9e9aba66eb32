"""A disk that somebody plugged in, read from its blocks: nothing is mounted, and no file system of the kernel's looks at it."""

from typing import BinaryIO, Protocol

FILE_BYTES = 4_194_304  # of one file: as much as a site configuration may have (`appliance.config.site`)
MEMORY_BYTES = 4 * FILE_BYTES  # that reading takes at most, whatever the disk says: the file, and copies on the way


class VolumeError(ValueError):
    """The volume is damaged, or larger than what we read; the message says what was found."""


class Volume(Protocol):
    """The label and the root folder of a file system."""

    label: str

    def read(self, name: str) -> bytes | None:
        """The content of a file of the root folder, whatever the case of its name; None where there is none. Raises
        `VolumeError`."""


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes from there. Raises `VolumeError` where the disk ends before."""
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise VolumeError(f"the disk ends before byte {offset + size}, which its file system names")
    return data


def number(data: bytes, offset: int, size: int) -> int:
    """A little-endian number in `data`."""
    return int.from_bytes(data[offset : offset + size], "little")
