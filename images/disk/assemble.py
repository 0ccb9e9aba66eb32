"""The raw disk: the table, and in each partition what belongs there; everything else is a hole."""

from collections.abc import Mapping
from pathlib import Path

from images.disk import gpt, layout
from images.disk.layout import Content
from images.formats.sparse import MIB, DiskError, copy_into


def write(contents: Mapping[Content, Path], version: str, mib: int, target: Path) -> None:
    """A raw disk of `mib` MiB with these contents; raises `DiskError` when one is larger than its partition."""
    table = layout.table(version, mib)
    with target.open("w+b") as file:
        file.truncate(mib * MIB)
        for partition, entry in zip(layout.PARTITIONS, table.entries, strict=True):
            if partition.content is None:
                continue
            source = contents[partition.content]
            if source.stat().st_size > entry.size:
                raise DiskError(f"{source.name} has {source.stat().st_size} bytes, partition {entry.name} {entry.size}")
            copy_into(source, file, entry.offset)
        gpt.write(table, file)


def take(raw: Path, name: str, target: Path) -> None:
    """The partition of this name, copied out of a finished disk."""
    with raw.open("rb") as file:
        entry = gpt.read(file, raw.stat().st_size).entry(name)
        nothing, left = bytes(MIB), entry.size
        file.seek(entry.offset)
        with target.open("wb") as copy:
            while left:
                content = file.read(min(MIB, left))
                if not content:
                    raise DiskError(f"{raw.name}: ends in partition {name}, {left} bytes before that does")
                if content != nothing[: len(content)]:
                    copy.seek(entry.size - left)
                    copy.write(content)
                left -= len(content)
            copy.truncate(entry.size)
