"""The disks of the machine that may hold user-data: a NoCloud disk, and the environment of an OVF package on a CD.

A disk whose file system we know and cannot read is passed over, for another may have what is looked for. Where none has, it is
told: it may be the one.
"""

import base64
import binascii
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from appliance.first_boot.fat import open_fat
from appliance.first_boot.found import Found, PlaceError
from appliance.first_boot.iso9660 import open_iso
from appliance.first_boot.volume import Volume, VolumeError

NOCLOUD_LABEL = "cidata"
NOCLOUD_FILE = "user-data"
OVF_FILE = "ovf-env.xml"
OVF_PROPERTY = "user-data"
OVF_BYTES = 524_288  # of the environment; the properties of vSphere have 65,535 characters each
OVF_DEPTH = 16  # of elements within elements; there are three
OVF_NAMESPACE = "http://schemas.dmtf.org/ovf/environment/1"  # DSP0243, OVF environment document
BLOCKS = Path("/sys/class/block")
DEVICES = Path("/dev")
UDF = (b"NSR02", b"NSR03")  # in the volume recognition sequence (ECMA-167 3/9.1), where ISO 9660 has its descriptors
UDF_FIRST, UDF_PLACES, UDF_SECTOR = 16, 16, 2_048
NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "nbd")  # made by this machine itself, of which none is plugged in


@contextmanager
def volumes(blocks: Path = BLOCKS, devices: Path = DEVICES) -> Iterator[list[tuple[str, Volume]]]:
    """The file systems that we can read, with the names of their devices; those that are damaged are left out."""
    with ExitStack() as stack:
        found: list[tuple[str, Volume]] = []
        for name in _disks(blocks):
            try:
                file = stack.enter_context((devices / name).open("rb"))
                volume = open_iso(file) or open_fat(file)
            except (OSError, VolumeError):  # a drive without a medium, a disk that is damaged
                continue
            if volume is not None:
                found.append((name, volume))
        yield found


def unreadable(blocks: Path = BLOCKS, devices: Path = DEVICES) -> Found | None:
    """None, where no other disk than those that were looked at may be the one that was meant. Raises `PlaceError`, which names
    those that may."""
    said = []
    for name in _disks(blocks):
        try:
            with (devices / name).open("rb") as file:
                volume = open_iso(file) or open_fat(file)
                if volume is None and _is_udf(file):
                    said.append(f"the disk {name} is UDF; allowed: ISO 9660 or FAT")
        except OSError:  # a drive without a medium
            continue
        except VolumeError as error:
            said.append(f"the disk {name} cannot be read: {error}")
    if said:
        raise PlaceError("\n".join(said))
    return None


def _disks(blocks: Path) -> list[str]:
    return sorted(path.name for path in blocks.iterdir() if not path.name.startswith(NOT_DISKS))


def _is_udf(file: BinaryIO) -> bool:
    file.seek(UDF_FIRST * UDF_SECTOR)
    sequence = file.read(UDF_PLACES * UDF_SECTOR)
    return any(sequence[at + 1 : at + 6] in UDF for at in range(0, len(sequence), UDF_SECTOR))


def nocloud(blocks: Path = BLOCKS, devices: Path = DEVICES) -> Found | None:
    """`user-data` of the disk with the label `cidata` (cloud-init, NoCloud); the other files there are not read. None where
    there is no such disk. Raises `PlaceError`."""
    with volumes(blocks, devices) as found:
        for name, volume in found:
            if volume.label.casefold() == NOCLOUD_LABEL:
                data = _read(volume, NOCLOUD_FILE, name)
                if data is None:
                    raise PlaceError(f"the disk {name} is labelled {volume.label} and has no file {NOCLOUD_FILE}")
                return Found(f"{NOCLOUD_FILE} of the disk {name}", data)
    return None


def ovf(blocks: Path = BLOCKS, devices: Path = DEVICES) -> Found | None:
    """The property `user-data` of the OVF environment, in base64, as vSphere's ISO transport brings it. None where there is no
    such CD or the property is empty. Raises `PlaceError`."""
    with volumes(blocks, devices) as found:
        for name, volume in found:
            data = _read(volume, OVF_FILE, name)
            if data is not None:
                value = ovf_property(data)
                return Found(f"property {OVF_PROPERTY} of the OVF environment", value) if value else None
    return None


def _read(volume: Volume, file: str, device: str) -> bytes | None:
    try:
        return volume.read(file)
    except (OSError, VolumeError) as error:
        raise PlaceError(f"{file} of the disk {device} cannot be read: {error}") from error


def ovf_property(environment: bytes) -> bytes:
    """What the property holds, decoded; empty where there is none. Raises `PlaceError`."""
    if len(environment) > OVF_BYTES:
        raise PlaceError(f"{OVF_FILE}: found {len(environment)} bytes; allowed: {OVF_BYTES}")
    values: list[str] = []
    depth = 0

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def element(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > OVF_DEPTH:
            raise PlaceError(f"{OVF_FILE}: found more than {OVF_DEPTH} elements within each other")
        if name == f"{OVF_NAMESPACE} Property" and attributes.get(f"{OVF_NAMESPACE} key") == OVF_PROPERTY:
            values.append(attributes.get(f"{OVF_NAMESPACE} value", ""))

    def document_type(*_: object) -> None:  # in whatever encoding: only with it are there entities that grow
        raise PlaceError(f"{OVF_FILE}: found a document type; allowed: elements and attributes")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = element, end
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(environment, True)  # noqa: FBT003 - expat's own: this is all of it
    except expat.ExpatError as error:
        raise PlaceError(f"{OVF_FILE}: is not XML: {error}") from error
    return from_base64(values[0], f"property {OVF_PROPERTY}") if values else b""


def from_base64(text: str, what: str) -> bytes:
    """Decode; raises `PlaceError` for what is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PlaceError(f"{what}: must be in base64 ({error})") from error
