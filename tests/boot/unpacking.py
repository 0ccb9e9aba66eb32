"""From a file that ships to the disk that a machine starts from, as an operator or a platform unpacks it."""

import os
from pathlib import Path

from images.formats import vhd
from images.run import run

FORMATS = ("qcow2", "ova", "raw.zst", "vhd.zst")


def disk(built: Path, version: str, form: str, folder: Path) -> Path:
    """The qcow2 itself, or the raw disk that is in the file of this form."""
    packed = built / f"sentry-{version}.{form}"
    raw = folder / f"{form.removesuffix('.zst')}.raw"
    if form == "qcow2":
        return packed
    if form == "ova":
        run(["tar", "--extract", f"--file={packed}", f"--directory={folder}"])
        run(["qemu-img", "convert", "-O", "raw", folder / f"sentry-{version}-disk1.vmdk", raw])
        return raw
    run(["zstd", "--quiet", "--decompress", "--sparse", packed, "-o", raw])
    if form == "vhd.zst":
        without_footer(raw)
    return raw


def raw(built: Path, version: str, form: str, folder: Path) -> Path:
    """The raw disk in the file of this form."""
    found = disk(built, version, form, folder)
    if found.suffix != ".qcow2":
        return found
    made = folder / "qcow2.raw"
    run(["qemu-img", "convert", "-O", "raw", found, made])
    return made


def without_footer(disk: Path) -> None:
    """A fixed VHD is a raw disk with its footer behind it."""
    with disk.open("r+b") as file:
        file.seek(-vhd.FOOTER_BYTES, os.SEEK_END)
        size = vhd.read(file.read()).size
        file.truncate(size)
