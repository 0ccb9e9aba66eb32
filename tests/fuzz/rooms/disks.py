"""Disks that somebody plugged into a machine that has no configuration yet, and what is read from their blocks."""

import io

from appliance.first_boot import disks
from appliance.first_boot.fat import open_fat
from appliance.first_boot.found import PlaceError
from appliance.first_boot.iso9660 import open_iso
from appliance.first_boot.volume import FILE_BYTES, VolumeError
from tests.fuzz.target import Target, in_words
from tests.unit.appliance.first_boot import tiny

READ_BYTES = 2 * FILE_BYTES  # of a disk for all that is asked of it here: one file, its folder, the table's entries


class Counting(io.BytesIO):
    """A disk that knows how much of it was read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Some of it."""
        data = super().read(size)
        self.total += len(data)
        return data


def looked_at(disk: Counting) -> None:
    """The label, a file that may be there and one that is not: refused in words, or no more than was stated."""
    try:
        volume = open_iso(disk) or open_fat(disk)
        if volume is not None:
            assert isinstance(volume.label, str)
            assert len(volume.read("user-data") or b"") <= FILE_BYTES
            volume.read("no-such-file")
    except VolumeError as error:
        in_words(error)
    assert disk.total <= READ_BYTES


def fat(data: bytes) -> None:
    """A disk, as it is."""
    looked_at(Counting(data))


def iso(data: bytes) -> None:
    """A CD, without the system area at its beginning."""
    looked_at(Counting(bytes(tiny.CD_BEFORE) + data))


def environment(data: bytes) -> None:
    """The environment of an OVF package."""
    try:
        assert len(disks.ovf_property(data)) <= len(data)
    except PlaceError as error:
        in_words(error)


_ENVIRONMENT = (
    '<?xml version="1.0"?><Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" '
    'xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"><PropertySection>'
    '<Property oe:key="user-data" oe:value="aG9zdG5hbWU6IGd3MQo="/></PropertySection></Environment>'
)

TARGETS = {
    "disk_fat": Target(fat, [tiny.fat(12), tiny.fat(16), tiny.fat(32)], 16_384),
    "disk_iso": Target(iso, [tiny.iso(), tiny.iso(joliet=True)], 16_384),
    "disk_ovf": Target(environment, [_ENVIRONMENT.encode(), _ENVIRONMENT.encode("utf-16")]),
}
