"""The disks of the machine that may hold user-data: a NoCloud disk, and the environment of an OVF package on a CD."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

from appliance.first_boot.fat import open_fat
from appliance.first_boot.found import Found, PlaceError
from appliance.first_boot.iso9660 import open_iso
from appliance.first_boot.volume import Volume, VolumeError

NOCLOUD_LABEL = "cidata"
NOCLOUD_FILE = "user-data"
OVF_FILE = "ovf-env.xml"
OVF_PROPERTY = "user-data"
OVF_NAMESPACE = "{http://schemas.dmtf.org/ovf/environment/1}"  # DSP0243, OVF environment document
BLOCKS = Path("/sys/class/block")
DEVICES = Path("/dev")
NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "nbd")  # made by this machine itself, of which none is plugged in


@contextmanager
def volumes(blocks: Path = BLOCKS, devices: Path = DEVICES) -> Iterator[list[tuple[str, Volume]]]:
    """The file systems that we can read, with the names of their devices; those that are damaged are left out."""
    with ExitStack() as stack:
        found: list[tuple[str, Volume]] = []
        for name in sorted(path.name for path in blocks.iterdir() if not path.name.startswith(NOT_DISKS)):
            try:
                file = stack.enter_context((devices / name).open("rb"))
                volume = open_iso(file) or open_fat(file)
            except (OSError, VolumeError):  # a drive without a medium, a disk of something else
                continue
            if volume is not None:
                found.append((name, volume))
        yield found


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
    if b"<!DOCTYPE" in environment:
        raise PlaceError(f"{OVF_FILE}: found a document type; allowed: elements and attributes")
    try:
        root = ElementTree.fromstring(environment)  # noqa: S314 - without a document type there are no entities
    except ElementTree.ParseError as error:
        raise PlaceError(f"{OVF_FILE}: is not XML: {error}") from error
    for element in root.iter(f"{OVF_NAMESPACE}Property"):
        if element.get(f"{OVF_NAMESPACE}key") == OVF_PROPERTY:
            return from_base64(element.get(f"{OVF_NAMESPACE}value") or "", f"property {OVF_PROPERTY}")
    return b""


def from_base64(text: str, what: str) -> bytes:
    """Decode; raises `PlaceError` for what is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PlaceError(f"{what}: must be in base64 ({error})") from error
