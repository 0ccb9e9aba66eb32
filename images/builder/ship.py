"""Each target's files, made of its raw disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from images.disk import layout
from images.formats import aws, ova, ovf, packed, vhd, vmdk
from images.papers.notes import Shipped
from images.paths import write_json
from images.rootfs import SOURCE_DATE
from images.targets import ABOUT, SYSTEM_GIB, Format, Target
from images.toolbox import Tools

NAME = "sentry"


@dataclass(frozen=True, slots=True)
class Shipping:
    """What files are made of: the version, the raw disk, the folder they go to, and the tools."""

    version: str
    raw: Path
    output: Path
    tools: Tools

    @property
    def stem(self) -> str:
        """How their names begin."""
        return f"{NAME}-{self.version}"


def ship(target: Target, shipping: Shipping) -> list[Shipped]:
    """Make the target's files, and for AWS what to tell it."""
    made = []
    for one in target.formats:
        place = shipping.output / f"{shipping.stem}.{one}"
        _MAKERS[one](shipping, place)
        made.append(as_shipped(place, ABOUT[one]))
    if target.name == "aws":
        place = shipping.output / f"{shipping.stem}.aws.json"
        write_json(place, aws.parameters(NAME, shipping.version, SYSTEM_GIB))
        made.append(as_shipped(place, "AWS: the parameters of import-snapshot and register-image"))
    return made


def as_shipped(place: Path, about: str) -> Shipped:
    """What the notes say of a file."""
    with place.open("rb") as file:
        return Shipped(place.name, place.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest(), about)


def _qcow2(shipping: Shipping, place: Path) -> None:
    packed.qcow2(shipping.raw, place, shipping.tools)


def _raw(shipping: Shipping, place: Path) -> None:
    packed.zstd(shipping.raw, place, shipping.tools)


def _vhd(shipping: Shipping, place: Path) -> None:
    disk = shipping.raw.with_suffix(".vhd")
    vhd.write(shipping.raw, disk, layout.identity(shipping.version, "vhd"), int(SOURCE_DATE))
    packed.zstd(disk, place, shipping.tools)
    disk.unlink()


def _ova(shipping: Shipping, place: Path) -> None:
    disk = shipping.raw.with_name(f"{shipping.stem}-disk1.vmdk")
    vmdk.write(shipping.raw, disk, layout.identity(shipping.version, "vmdk"))
    machine = ovf.Machine(NAME, shipping.version, disk.name, disk.stat().st_size, shipping.raw.stat().st_size)
    ova.write(place, shipping.stem, ovf.descriptor(machine), disk, int(SOURCE_DATE))
    disk.unlink()


_MAKERS: dict[Format, Callable[[Shipping, Path], None]] = {
    "qcow2": _qcow2,
    "ova": _ova,
    "raw.zst": _raw,
    "vhd.zst": _vhd,
}
