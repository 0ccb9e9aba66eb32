"""The OVA as strict importers read it: order, kind of tar, manifest, and a descriptor that says the truth."""

import hashlib
import re
import tarfile
from pathlib import Path

import pytest
from lxml import etree

from images.formats import ova, ovf
from images.formats.ova import MOST_BYTES
from images.formats.ovf import Machine
from images.formats.sparse import DiskError
from images.run import run

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
VMW = "{http://www.vmware.com/schema/ovf}"
MACHINE = Machine("sentry", "1.2.3", "sentry-1.2.3-disk1.vmdk", 1_000, 16 << 30)
MOMENT = 1_756_684_800


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An OVA with a disk of a thousand bytes."""
    disk = tmp_path / MACHINE.disk
    disk.write_bytes(b"d" * 1_000)
    ova.write(tmp_path / "sentry.ova", "sentry-1.2.3", ovf.descriptor(MACHINE), disk, MOMENT)
    return tmp_path / "sentry.ova"


@pytest.fixture
def envelope() -> etree._Element:
    """The descriptor, parsed."""
    return etree.fromstring(ovf.descriptor(MACHINE))


def test_the_descriptor_comes_first_then_the_manifest_then_the_disk(made: Path) -> None:
    with tarfile.open(made) as tar:
        assert tar.getnames() == ["sentry-1.2.3.ovf", "sentry-1.2.3.mf", "sentry-1.2.3-disk1.vmdk"]
    assert run(["tar", "--list", f"--file={made}"]).stdout.splitlines()[0] == "sentry-1.2.3.ovf"


def test_every_member_is_a_plain_file_of_ustar_without_an_owner(made: Path) -> None:
    content = made.read_bytes()
    heads = [match.start() - 257 for match in re.finditer(rb"ustar\x0000", content)]
    assert len(heads) == 3
    assert [content[head + 156 : head + 157] for head in heads] == [b"0", b"0", b"0"]  # neither PAX nor GNU heads
    with tarfile.open(made) as tar:
        assert {(member.uid, member.gid, member.mtime, member.mode) for member in tar} == {(0, 0, MOMENT, 0o644)}


def test_the_manifests_lines_are_exact_and_true(made: Path) -> None:
    with tarfile.open(made) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    lines = content["sentry-1.2.3.mf"].decode().splitlines()
    named = ["sentry-1.2.3.ovf", "sentry-1.2.3-disk1.vmdk"]
    assert lines == [f"SHA256({name})= {hashlib.sha256(content[name]).hexdigest()}" for name in named]


def test_the_same_input_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    disk = tmp_path / MACHINE.disk
    disk.touch()
    ova.write(tmp_path / "again.ova", "sentry-1.2.3", ovf.descriptor(MACHINE), disk, MOMENT)
    assert (tmp_path / "again.ova").read_bytes() == made.read_bytes()


def test_a_disk_that_ustar_has_no_number_for_is_refused_before_it_is_read(tmp_path: Path) -> None:
    disk = tmp_path / "disk.vmdk"
    with disk.open("wb") as file:
        file.truncate(MOST_BYTES)
    with pytest.raises(DiskError, match="at most 8589934591"):
        ova.write(tmp_path / "out.ova", "sentry", b"", disk, MOMENT)
    assert not (tmp_path / "out.ova").exists()


def test_the_envelopes_sections_stand_in_the_schemas_order(envelope: etree._Element) -> None:
    assert [child.tag for child in envelope] == [
        f"{OVF}{name}" for name in ("References", "DiskSection", "NetworkSection", "VirtualSystem")
    ]
    system = envelope.find(f"{OVF}VirtualSystem")
    assert system is not None
    assert [child.tag.removeprefix(OVF) for child in system] == [
        "Info", "Name", "OperatingSystemSection", "VirtualHardwareSection", "ProductSection",
    ]  # fmt: skip


def test_the_disk_is_the_file_and_its_sizes_are_those_of_file_and_disk(envelope: etree._Element) -> None:
    file, disk = envelope.find(f".//{OVF}File"), envelope.find(f".//{OVF}Disk")
    assert file is not None
    assert disk is not None
    assert file.get(f"{OVF}href") == MACHINE.disk
    assert file.get(f"{OVF}size") == "1000"
    assert disk.get(f"{OVF}fileRef") == file.get(f"{OVF}id")
    assert disk.get(f"{OVF}capacity") == str(16 << 30)
    assert disk.get(f"{OVF}capacityAllocationUnits") == "byte"
    assert disk.get(f"{OVF}format") == "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


def test_an_items_fields_stand_in_the_order_of_the_alphabet_and_its_id_is_its_own(envelope: etree._Element) -> None:
    items = envelope.findall(f".//{OVF}Item")
    assert len(items) == 9
    ids = [item.findtext(f"{RASD}InstanceID") for item in items]
    assert len(set(ids)) == 9
    for item in items:
        names = [child.tag.removeprefix(RASD) for child in item]
        assert names == sorted(names)
        assert {"ElementName", "InstanceID", "ResourceType"} <= set(names)
        parent = item.findtext(f"{RASD}Parent")
        assert parent is None or parent in ids


def test_network_cards_are_on_networks_that_are_named(envelope: etree._Element) -> None:
    named = [network.get(f"{OVF}name") for network in envelope.findall(f".//{OVF}Network")]
    connected = [node.text for node in envelope.findall(f".//{RASD}Connection")]
    assert connected == named == ["Device", "Management", "Backend"]


def test_the_machine_starts_with_uefi_and_secure_boot(envelope: etree._Element) -> None:
    told = {node.get(f"{VMW}key"): node.get(f"{VMW}value") for node in envelope.findall(f".//{VMW}Config")}
    assert told == {"firmware": "efi", "bootOptions.efiSecureBootEnabled": "true"}


def test_the_site_configuration_is_handed_over_on_a_cd(envelope: etree._Element) -> None:
    hardware = envelope.find(f".//{OVF}VirtualHardwareSection")
    assert hardware is not None
    assert hardware.get(f"{OVF}transport") == "iso"
    assert "15" in [node.text for node in envelope.findall(f".//{RASD}ResourceType")]  # a drive for it
    keys = [node.get(f"{OVF}key") for node in envelope.findall(f".//{OVF}Property")]
    assert keys == ["user-data"]


def test_what_xml_would_take_for_its_own_is_escaped() -> None:
    odd = Machine('a"<b>&', "1", "d.vmdk", 1, 1 << 20)
    parsed = etree.fromstring(ovf.descriptor(odd))
    assert parsed.findtext(f".//{OVF}Name") == 'a"<b>&'
