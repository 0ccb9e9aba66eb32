"""Raw disks are mostly holes: where their bytes are, and copies that leave the holes out."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MIB = 1 << 20
CHUNK = MIB  # read and written at once: large enough to cost few calls, small enough for any machine


class DiskError(RuntimeError):
    """A disk, or a part of one, is not as its format asks; the message says what was found and what is allowed."""


def whole_mebibytes(size: int, what: str) -> int:
    """`size` again, if it is a whole number of MiB: partitions, Azure and a VMDK's grains all ask for that."""
    if size <= 0 or size % MIB:
        raise DiskError(f"{what}: is {size} bytes, and must be a whole number of MiB")
    return size


def extents(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(offset, length) of every stretch that the file system keeps bytes for; where it cannot tell, that is all of it."""
    end = os.fstat(file.fileno()).st_size
    place = 0
    while place < end:
        try:
            start = os.lseek(file.fileno(), place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        place = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), end)
        yield start, place - start


def blocks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """(index, content) of every block of `size` bytes that is not all zeros, in order."""
    nothing = bytes(size)
    done = -1
    for start, length in extents(file):
        for index in range(max(start // size, done + 1), -(-(start + length) // size)):
            content = os.pread(file.fileno(), size, index * size)
            done = index
            if content != nothing[: len(content)]:
                yield index, content


def copy_into(source: Path, target: BinaryIO, offset: int) -> None:
    """Copy a file to this place of an opened one; what is all zeros there becomes, or stays, a hole."""
    with source.open("rb") as file:
        for index, content in blocks(file, CHUNK):
            target.seek(offset + index * CHUNK)
            target.write(content)


def copy(source: Path, target: Path) -> None:
    """A copy with the same holes."""
    with target.open("wb") as file:
        copy_into(source, file, 0)
        file.truncate(source.stat().st_size)
