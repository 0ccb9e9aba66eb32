"""Disks made by the programs that people make them with, read from their blocks."""

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.first_boot import disks
from appliance.first_boot.fat import open_fat
from appliance.first_boot.found import PlaceError
from appliance.first_boot.iso9660 import open_iso
from appliance.first_boot.volume import FILE_BYTES, VolumeError
from tests.unit.appliance.first_boot import tiny

TEXT = b"hostname: gw1.example.test\n" * 400  # more than a cluster and a sector
MIB = 1 << 20


def files(folder: Path, **content: bytes) -> Path:
    place = folder / "files"
    place.mkdir()
    for number in range(60):  # a root folder of more than one sector
        (place / f"another-file-{number:02}").write_bytes(b"x")
    for name, data in content.items():
        (place / name.replace("_", "-").replace("-xml", ".xml")).write_bytes(data)
    return place


XORRISO, GENISOIMAGE = ("xorriso", "-as", "mkisofs"), ("genisoimage",)


def iso(*options: str, program: tuple[str, ...] = XORRISO) -> Callable[[Path, str, bytes], Path]:
    def make(folder: Path, label: str, text: bytes) -> Path:
        image = folder / "disk.iso"
        argv = [*program, "-quiet", "-V", label, *options, "-o", str(image)]
        subprocess.run([*argv, str(files(folder, user_data=text, meta_data=b"{}"))], check=True, capture_output=True)
        return image

    return make


def fat(bits: int, mib: int) -> Callable[[Path, str, bytes], Path]:
    def make(folder: Path, label: str, text: bytes) -> Path:
        image = folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(mib * MIB)
        subprocess.run(["mkfs.vfat", "-F", str(bits), "-n", label, str(image)], check=True, capture_output=True)
        for source in sorted(files(folder, user_data=text, meta_data=b"{}").iterdir()):
            subprocess.run(["mcopy", "-i", str(image), str(source), "::"], check=True)
        return image

    return make


def cloud_localds(kind: str) -> Callable[[Path, str, bytes], Path]:
    """cloud-init's own maker of such disks, which has the label cidata and no other."""

    def make(folder: Path, label: str, text: bytes) -> Path:
        image, place = folder / "seed.img", files(folder, user_data=text, meta_data=b"{}")
        argv = ["cloud-localds", "--filesystem", kind, str(image), str(place / "user-data"), str(place / "meta-data")]
        subprocess.run(argv, check=True, capture_output=True)
        return image

    return make


DISKS = {
    "Joliet and Rock Ridge": iso("-J", "-R"),
    "Joliet": iso("-J"),
    "Rock Ridge": iso("-R"),
    "genisoimage, Joliet and Rock Ridge": iso("-joliet", "-rock", program=GENISOIMAGE),
    "genisoimage, Joliet": iso("-J", program=GENISOIMAGE),
    "genisoimage, Rock Ridge": iso("-r", program=GENISOIMAGE),
    "genisoimage, with UDF beside": iso("-udf", "-J", program=GENISOIMAGE),
    "genisoimage, ISO 9660:1999": iso("-iso-level", "4", program=GENISOIMAGE),
    "cloud-localds, CD": cloud_localds("iso"),
    "cloud-localds, FAT": cloud_localds("vfat"),
    "FAT12": fat(12, 2),
    "FAT16": fat(16, 16),
    "FAT32": fat(32, 64),
}


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A NoCloud disk of each kind."""
    return DISKS[request.param](tmp_path, "CIDATA", TEXT)


def plugged(folder: Path, **images: Path) -> tuple[Path, Path]:
    """What /sys/class/block and /dev have with these disks in the machine."""
    blocks, devices = folder / "blocks", folder / "dev"
    blocks.mkdir()
    devices.mkdir()
    for name, image in images.items():
        (blocks / name).mkdir()
        (devices / name).symlink_to(image)
    return blocks, devices


def test_a_nocloud_disk_is_found_by_its_label_and_read(disk: Path, tmp_path: Path) -> None:
    system = tmp_path / "system"
    system.write_bytes(bytes(4 * MIB))
    found = disks.nocloud(*plugged(tmp_path, vda=system, vdb=disk))
    assert found is not None
    assert found.where == "user-data of the disk vdb"
    assert found.data == TEXT


def test_a_file_that_is_not_there_is_none(disk: Path) -> None:
    with disk.open("rb") as file:
        volume = open_iso(file) or open_fat(file)
        assert volume is not None
        assert volume.label.upper() == "CIDATA"
        assert volume.read("vendor-data") is None
        assert volume.read("Meta-Data") == b"{}"


def test_a_disk_with_another_label_is_nobodys_user_data(tmp_path: Path) -> None:
    disk = fat(16, 16)(tmp_path, "OTHER", TEXT)
    assert disks.nocloud(*plugged(tmp_path, vdb=disk)) is None


def test_a_labelled_disk_without_the_file_is_told(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(16 * MIB))
    subprocess.run(["mkfs.vfat", "-n", "CIDATA", str(image)], check=True, capture_output=True)
    with pytest.raises(PlaceError, match="labelled CIDATA and has no file user-data"):
        disks.nocloud(*plugged(tmp_path, sdb=image))


def test_a_drive_without_a_medium_is_passed_over(tmp_path: Path) -> None:
    assert disks.nocloud(*plugged(tmp_path, sr0=tmp_path / "nowhere")) is None


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    disk = iso("-J", "-R")(tmp_path, "cidata", bytes(FILE_BYTES + 1))
    with pytest.raises(PlaceError, match=f"found {FILE_BYTES + 1} bytes; allowed: {FILE_BYTES}"):
        disks.nocloud(*plugged(tmp_path, vdb=disk))


def test_a_disk_that_ends_too_early_is_refused_and_none_hangs(disk: Path) -> None:
    """Cut anywhere: an error or less to read, never a loop and never an exception of another kind."""
    whole = disk.read_bytes()
    used = len(whole.rstrip(b"\0"))
    outcomes = set()
    for end in range(0, used, max(512, used // 40)):
        file = io.BytesIO(whole[:end])
        try:
            volume = open_iso(file) or open_fat(file)
            outcomes.add("no volume" if volume is None else "a volume")
            if volume is not None:
                volume.read("user-data")
        except VolumeError:
            outcomes.add("refused")
    assert {"no volume", "refused"} <= outcomes


def test_a_chain_that_bites_its_tail_ends(tmp_path: Path) -> None:
    disk = fat(16, 16)(tmp_path, "CIDATA", TEXT)
    data = bytearray(disk.read_bytes())
    table = int.from_bytes(data[14:16], "little") * int.from_bytes(data[11:13], "little")
    for cluster in range(2, 200):
        data[table + 2 * cluster : table + 2 * cluster + 2] = cluster.to_bytes(2, "little")
    volume = open_fat(io.BytesIO(bytes(data)))
    assert volume is not None
    assert len(volume.read("user-data") or b"") == len(TEXT)


def udf(folder: Path) -> Path:
    image = folder / "disk.udf"
    with image.open("wb") as file:
        file.truncate(4 * MIB)
    subprocess.run(["mkudffs", "--label=cidata", "--blocksize=2048", str(image)], check=True, capture_output=True)
    return image


def test_a_disk_that_is_udf_alone_is_told_and_not_read(tmp_path: Path) -> None:
    there = plugged(tmp_path, sr0=udf(tmp_path))
    assert disks.nocloud(*there) is None
    with pytest.raises(PlaceError, match="the disk sr0 is UDF; allowed: ISO 9660 or FAT"):
        disks.unreadable(*there)


def test_a_damaged_disk_is_passed_over_where_another_has_the_file_and_told_where_none_has(tmp_path: Path) -> None:
    good = fat(16, 16)(tmp_path, "CIDATA", TEXT)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(good.read_bytes()[:1_024])
    blocks, devices = plugged(tmp_path, vda=damaged, vdb=good)
    found = disks.nocloud(blocks, devices)
    assert found is not None
    assert found.where == "user-data of the disk vdb"
    (blocks / "vdb").rmdir()
    assert disks.nocloud(blocks, devices) is None
    assert disks.ovf(blocks, devices) is None
    with pytest.raises(PlaceError, match="the disk vda cannot be read: the disk ends before byte"):
        disks.unreadable(blocks, devices)


def test_a_fat32_smaller_than_one_may_be_is_read_as_linux_reads_it() -> None:
    """mkfs.vfat makes it with a warning, and mtools refuse to fill it."""
    volume = open_fat(io.BytesIO(tiny.fat(32, clusters=100)))
    assert volume is not None
    assert volume.read("user-data") == tiny.TEXT


def test_disks_of_something_else_are_none_that_could_not_be_read(tmp_path: Path) -> None:
    empty, noise = tmp_path / "empty", tmp_path / "noise"
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(256)) * 400)
    assert disks.unreadable(*plugged(tmp_path, vda=empty, vdb=noise, sr0=tmp_path / "nowhere")) is None


# --- the environment of an OVF package -------------------------------------------------------------------------------

ENVIRONMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="">
  <PlatformSection><Kind>VMware ESXi</Kind><Version>8.0.0</Version></PlatformSection>
  <PropertySection>
    <Property oe:key="hostname" oe:value="gw1"/>
    <Property oe:key="user-data" oe:value="{value}"/>
  </PropertySection>
</Environment>
"""


def ovf_disk(folder: Path, environment: str) -> Path:
    image = folder / "ovf.iso"
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-V", "OVF ENV", "-J", "-R", "-o", str(image)]
    place = folder / "environment"
    place.mkdir()
    (place / "ovf-env.xml").write_text(environment)
    subprocess.run([*argv, str(place)], check=True, capture_output=True)
    return image


def test_the_property_of_an_ovf_environment_is_read(tmp_path: Path) -> None:
    disk = ovf_disk(tmp_path, ENVIRONMENT.format(value="aG9zdG5hbWU6IGd3MQo="))
    found = disks.ovf(*plugged(tmp_path, sr0=disk))
    assert found is not None
    assert (found.where, found.data) == ("property user-data of the OVF environment", b"hostname: gw1\n")


def test_an_empty_property_is_no_user_data(tmp_path: Path) -> None:
    assert disks.ovf(*plugged(tmp_path, sr0=ovf_disk(tmp_path, ENVIRONMENT.format(value="")))) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (ENVIRONMENT.format(value="%%%"), "must be in base64"),
        ("<Environment", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "found a document type"),
    ],
)
def test_an_environment_that_cannot_be_read_is_told(tmp_path: Path, environment: str, said: str) -> None:
    with pytest.raises(PlaceError, match=said):
        disks.ovf(*plugged(tmp_path, sr0=ovf_disk(tmp_path, environment)))
