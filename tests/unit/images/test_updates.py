"""Who signs updates, what a bundle says of itself, and what a machine is given to take one; RAUC itself is in tests/images."""

import configparser
from pathlib import Path

import pytest

from appliance.software.marking import UNWELL
from images.builder.inputs import BuildError, UpdateKey, asked
from images.disk import grub, layout
from images.disk.stages import FILES, Root
from images.papers.sums import SigningError
from images.run import run
from images.updates import bundle, machine, signing
from images.updates.signing import Signer, throw_away

HASH = "ab" * 32


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return throw_away(tmp_path / "key")


def test_a_throw_away_key_is_made_once_and_only_its_owner_reads_it(signer: Signer, tmp_path: Path) -> None:
    before = signer.certificate.read_bytes()
    assert throw_away(tmp_path / "key").certificate.read_bytes() == before
    assert signer.key.stat().st_mode & 0o777 == 0o600
    assert signer.key.parent.stat().st_mode & 0o777 == 0o700


def test_a_throw_away_certificate_signs_code_and_nothing_else(signer: Signer) -> None:
    said = run(["openssl", "x509", "-in", signer.certificate, "-noout", "-text"]).stdout
    assert "CN = Sentry throw-away update key" in said or "CN=Sentry throw-away update key" in said
    assert "Code Signing" in said
    assert "CA:FALSE" in said
    assert "Certificate Sign" not in said


def test_what_it_signs_says_so_in_its_name(signer: Signer) -> None:
    assert bundle.name("sentry-1.2.3", signer) == "sentry-1.2.3.throw-away-key.raucb"
    assert (
        bundle.name("sentry-1.2.3", Signer(signer.key, signer.certificate, signer.certificate)) == "sentry-1.2.3.raucb"
    )


def test_a_key_that_is_given_needs_its_own_certificate(signer: Signer, tmp_path: Path) -> None:
    other = throw_away(tmp_path / "other")
    assert signing.given(signer.key, signer.certificate, other.certificate).authorities == other.certificate
    assert signing.given(signer.key, signer.certificate, None).authorities == signer.certificate
    with pytest.raises(SigningError, match="is the certificate of another key"):
        signing.given(signer.key, other.certificate, None)
    with pytest.raises(SigningError, match="give it as update_certificate"):
        signing.given(signer.key, None, None)
    with pytest.raises(SigningError, match="holds no certificate"):
        signing.given(signer.key, signer.key, None)
    with pytest.raises(SigningError, match="holds no certificate"):
        signing.given(signer.key, signer.certificate, tmp_path / "missing.pem")


def test_a_build_takes_a_key_with_its_certificate_or_neither(signer: Signer) -> None:
    update = UpdateKey(signer.key, signer.certificate)
    assert asked("vm", "1.0", None, None, update).signer == Signer(signer.key, signer.certificate, signer.certificate)
    assert asked("vm", "1.0", None, None).signer is None
    with pytest.raises(BuildError, match="give that as update_key"):
        asked("vm", "1.0", None, None, UpdateKey(certificate=signer.certificate))


def test_a_bundle_says_for_whom_it_is_and_how_its_root_is_verified(tmp_path: Path) -> None:
    said = read(bundle.manifest("1.2.3", Root(tmp_path / "root.img", 4096, HASH)))
    assert dict(said["update"]) == {"compatible": machine.COMPATIBLE, "version": "1.2.3"}
    assert said["bundle"]["format"] == "verity"
    assert (said["image.rootfs"]["filename"], said["image.boot"]["filename"]) == ("root.img", "boot.img")
    assert dict(said["meta.sentry"]) == {"root-hash": HASH, "hash-offset": "4096"}


def test_a_machine_writes_the_partitions_that_the_menu_starts() -> None:
    said = read(machine.system_conf())
    names = {partition.name for partition in layout.PARTITIONS}
    for number, slot in enumerate(grub.PARTITIONS):
        root, boot = said[f"slot.rootfs.{number}"], said[f"slot.boot.{number}"]
        assert root["bootname"] == slot
        assert boot["parent"] == f"rootfs.{number}"
        for found, kind in ((root, "root"), (boot, "boot")):
            name = found["device"].removeprefix("/dev/disk/by-partlabel/")
            assert name == f"{kind}_{slot.lower()}"
            assert name in names
    assert said["system"]["bootloader"] == "grub"
    assert said["system"]["bundle-formats"] == "verity"
    assert said["keyring"]["check-purpose"] == "codesign"


def test_rauc_is_told_which_slot_runs() -> None:
    assert "rauc.slot=${chosen} " in grub.slot(HASH, 4096)


def test_a_tree_is_given_all_of_it_and_nothing_secret(signer: Signer, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for _twice in range(2):
        machine.install(tree, signer.authorities)
    assert (tree / "usr/lib/rauc/system.conf").read_text() == machine.system_conf()
    believed = (tree / "usr/lib/sentry/update-authorities.pem").read_text()
    assert believed == signer.certificate.read_text()
    assert "PRIVATE" not in believed
    for name in machine.UNITS:
        assert (tree / "usr/lib/systemd/system" / name).is_file(), name
    wanted = tree / "etc/systemd/system"
    assert (wanted / "boot-complete.target.requires/sentry-healthy.service").is_symlink()
    assert (wanted / "multi-user.target.wants/sentry-mark-good.service").is_symlink()
    assert (wanted / "timers.target.wants/sentry-slots.timer").is_symlink()
    assert (tree / "efi").is_dir()


def test_a_start_that_is_not_well_and_goes_on_is_not_said_to_be_good() -> None:
    assert f"ConditionPathExists=!{UNWELL}\n" in (FILES / "sentry-mark-good.service").read_text()
    assert (
        f"RuntimeDirectory={UNWELL.parent.name}\nRuntimeDirectoryPreserve=yes\n"
        in (FILES / "sentry-healthy.service").read_text()
    )


def test_nobody_but_root_speaks_to_rauc(signer: Signer, tmp_path: Path) -> None:
    """Its package has a policy by which anybody may say which slot is good."""
    machine.install(tmp_path, signer.authorities)
    policy = (tmp_path / machine.BUS).read_text()
    default, root = policy.split("<policy ")[1:]
    assert default.startswith('context="default"')
    assert "<deny send_destination=" in default
    assert root.startswith('user="root"')
    assert "<allow send_destination=" in root


def test_no_unit_that_decides_may_write_to_a_disk() -> None:
    """The slots are RAUC's to write: the units around it read them or see no device at all."""
    for name in machine.UNITS:
        text = (FILES / name).read_text()
        if not name.endswith(".service"):
            continue
        assert "CapabilityBoundingSet=\n" in text, name
        assert "PrivateDevices=yes" in text or "DevicePolicy=closed" in text, name
        rights = [line.split()[-1] for line in text.splitlines() if line.startswith("DeviceAllow=")]
        assert set(rights) <= {"r"}, name
