"""A packed disk as the blocks that a cloud is to be sent: unpacked while it is read, and those that are all zeros left out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from images.papers.proof import Proven, opened
from images.run import reading

_UNPACK = ("zstd", "--decompress", "--stdout", "--quiet", "--no-progress")
LAST_BYTES = 512  # that are kept of a disk's end: a VHD's footer


class DiskFileError(RuntimeError):
    """The packed disk is not what the cloud takes; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A packed disk whose digest was verified: its name, that digest, the file, and of what it holds the size in bytes, the end
    and how many blocks of which size there are to send."""

    name: str
    digest: str
    file: BinaryIO
    size: int
    end: bytes
    blocks: int
    block_bytes: int

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """(index, content) of every block that is not all zeros, in order; the last one may be shorter."""
        nothing = bytes(self.block_bytes)
        for index, content in _unpacked(self.file, self.block_bytes):
            if content != nothing[: len(content)]:
                yield index, content


@contextmanager
def verified(proven: Proven, name: str, block_bytes: int) -> Iterator[Disk]:
    """The folder's packed disk of this name, verified and unpacked once to see that all of it is sound. Raises `ProofError`, and
    `CommandError` for what zstd refuses.

    It is the opened file that was verified, and that is sent: another one put in its place meanwhile is not looked at.
    """
    with opened(proven.folder / name) as file:
        digest = proven.check(name, file)
        size = blocks = 0
        end, nothing = b"", bytes(block_bytes)
        for _, content in _unpacked(file, block_bytes):
            size += len(content)
            end = (end + content[-LAST_BYTES:])[-LAST_BYTES:]
            blocks += content != nothing[: len(content)]
        if blocks == 0:
            raise DiskFileError(f"{proven.folder / name}: holds a disk of {size} bytes, all of them zeros")
        yield Disk(name, digest, file, size, end, blocks, block_bytes)


def _unpacked(file: BinaryIO, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the command reads what is opened, and knows nothing of our buffer
    with reading(_UNPACK, file) as stream:
        index = 0
        while content := stream.read(block_bytes):
            yield index, content
            index += 1


def packed(folder: Path, ending: str) -> str:
    """The name of the folder's one file with this ending. Raises `DiskFileError`."""
    names = sorted(path.name for path in folder.glob(f"*.{ending}"))
    if len(names) != 1:
        raise DiskFileError(
            f"{folder}: found {', '.join(names) or 'no file'} with the ending .{ending}; allowed is one"
        )
    return names[0]
