"""The root folder of a CD image: ISO 9660 (ECMA-119), with the longer names of Joliet or Rock Ridge (SUSP/RRIP 1.12, `NM`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from appliance.first_boot.volume import FILE_BYTES, VolumeError, number, read_at

SECTOR = 2_048
FIRST = 16  # of the volume descriptors (ECMA-119 6.7.1)
DESCRIPTORS = 16  # that we look at; a disk has two or three
FOLDER_BYTES = 262_144  # of the root folder: some thousand files
PRIMARY, SUPPLEMENTARY, END = 1, 2, 255
JOLIET = (b"%/@", b"%/C", b"%/E")  # the escape sequences of UCS-2 levels 1 to 3
ROOT_RECORD = 156  # where a descriptor has the root folder's record
FOLDER_FLAG = 0x02


@dataclass(frozen=True, slots=True)
class _Record:
    """A directory record (ECMA-119 9.1)."""

    name: str
    sector: int
    size: int
    folder: bool


class Iso9660:
    """A volume; see `Volume`."""

    def __init__(self, file: BinaryIO, label: str, root: _Record, *, joliet: bool) -> None:
        self.label = label
        self._file = file
        self._root = root
        self._joliet = joliet

    def read(self, name: str) -> bytes | None:
        """See `Volume.read`."""
        for record in self._records():
            if record.name.casefold() == name.casefold() and not record.folder:
                if record.size > FILE_BYTES:
                    raise VolumeError(f"{name}: found {record.size} bytes; allowed: {FILE_BYTES}")
                return read_at(self._file, record.sector * SECTOR, record.size)
        return None

    def _records(self) -> Iterator[_Record]:
        if self._root.size > FOLDER_BYTES:
            raise VolumeError(f"the root folder has {self._root.size} bytes; allowed: {FOLDER_BYTES}")
        data = read_at(self._file, self._root.sector * SECTOR, self._root.size)
        at = 0
        while at < len(data):
            length = data[at]
            if length == 0:  # no record goes over the end of a sector
                at = (at // SECTOR + 1) * SECTOR
                continue
            yield _record(data[at : at + length], joliet=self._joliet)
            at += length


def open_iso(file: BinaryIO) -> Iso9660 | None:
    """The volume on this disk; None where it is no ISO 9660. Raises `VolumeError`."""
    primary = joliet = None
    for place in range(FIRST, FIRST + DESCRIPTORS):
        try:
            descriptor = read_at(file, place * SECTOR, SECTOR)
        except VolumeError:
            break
        if descriptor[1:6] != b"CD001" or descriptor[0] == END:
            break
        if descriptor[0] == PRIMARY:
            primary = primary or descriptor
        elif descriptor[0] == SUPPLEMENTARY and descriptor[88:91] in JOLIET:
            joliet = joliet or descriptor
    if primary is None:
        return None
    if number(primary, 128, 2) != SECTOR:
        raise VolumeError(f"found blocks of {number(primary, 128, 2)} bytes; allowed: {SECTOR}")
    label = primary[40:72].decode("ascii", errors="replace").strip()
    root = _record((joliet or primary)[ROOT_RECORD : ROOT_RECORD + 34], joliet=joliet is not None)
    return Iso9660(file, label, root, joliet=joliet is not None)


def _record(data: bytes, *, joliet: bool) -> _Record:
    if len(data) < 34 or len(data) < 33 + data[32]:
        raise VolumeError(f"found a directory record of {len(data)} bytes, which is too short for its name")
    written = data[33 : 33 + data[32]]
    name = written.decode("utf-16-be" if joliet else "ascii", errors="replace").partition(";")[0]
    if not joliet:
        name = _rock_ridge(data[33 + len(written) + (len(written) + 1) % 2 :]) or name.removesuffix(".")
    return _Record(name, number(data, 2, 4), number(data, 10, 4), bool(data[25] & FOLDER_FLAG))


def _rock_ridge(data: bytes) -> str:
    """The name in the system use area, which may come in pieces; empty where there is none."""
    name = b""
    while len(data) >= 4 and 4 <= data[2] <= len(data):
        if data[:2] == b"NM":
            name += data[5 : data[2]]
        data = data[data[2] :]
    return name.decode("utf-8", errors="replace")
