"""What comes with an image: packages, bill of materials, digests with their signature, notes."""

import hashlib
import json
from pathlib import Path
from uuid import UUID

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from images.formats import aws, packed
from images.papers import dpkg, notes, sbom, sums
from images.papers.dpkg import Package, PackageError
from images.papers.notes import Facts, NotesError, Shipped
from images.papers.sbom import Subject, Wheel
from images.papers.sums import SigningError
from images.run import CommandError, run
from images.toolbox import Here
from tests.unit.images import disks

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.3.dfsg+really1.3.1-1+b1
Maintainer: Mark Brown <broonie@debian.org>
Description: compression library - runtime
 a second line: with a colon

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: binary
Status: install ok installed
Architecture: all
Source: other (2.0-1)
Version: 3.0-1
"""
SUBJECT = Subject("sentry", "1.2.3", UUID(int=7), 1_756_684_800, "0123456789abcdef")


def test_installed_packages_are_read_with_their_sources() -> None:
    assert dpkg.installed(STATUS) == (
        Package("binary", "3.0-1", "all", "other", "2.0-1", "", ""),
        Package(
            "zlib1g", "1:1.3.dfsg+really1.3.1-1+b1", "amd64", "zlib", "1:1.3.dfsg+really1.3.1-1+b1",
            "Mark Brown <broonie@debian.org>", "compression library - runtime",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no installed package"),
        ("Package: a\nStatus: install ok installed\nArchitecture: all\n", "paragraph 1.*Version"),
    ],
)
def test_a_record_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(PackageError, match=said):
        dpkg.installed(text)


def test_the_machines_own_record_can_be_read() -> None:
    """A real one, of a Debian with hundreds of packages: what dpkg-query says itself."""
    wanted = run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version} ${source:Package}\\n"]
    )
    lines = [line.split()[1:] for line in wanted.stdout.splitlines() if line.startswith("installed ")]
    found = dpkg.installed(Path("/var/lib/dpkg/status").read_text(encoding="utf-8"))
    assert sorted([one.name, one.version, one.source] for one in found) == sorted(lines)


def test_the_manifest_has_a_line_for_each() -> None:
    lines = dpkg.manifest(dpkg.installed(STATUS)).splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [
        "binary\t3.0-1\tall\tother\t2.0-1",
        "zlib1g\t1:1.3.dfsg+really1.3.1-1+b1\tamd64\tzlib\t1:1.3.dfsg+really1.3.1-1+b1",
    ]


def test_the_bill_of_materials_names_everything_by_package_url() -> None:
    bill = json.loads(sbom.bill(SUBJECT, dpkg.installed(STATUS), (Wheel("httptools", "0.6.4"),)))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["serialNumber"] == f"urn:uuid:{SUBJECT.identity}"
    assert bill["metadata"]["timestamp"] == "2025-09-01T00:00:00Z"
    assert [part["purl"] for part in bill["components"]] == [
        "pkg:deb/debian/binary@3.0-1?arch=all&distro=debian-13",
        "pkg:deb/debian/zlib1g@1%3A1.3.dfsg%2Breally1.3.1-1%2Bb1?arch=amd64&distro=debian-13",
        "pkg:generic/sentry@0123456789abcdef",
        "pkg:pypi/httptools@0.6.4",
    ]
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(set(refs)) == len(refs)
    assert bill["dependencies"] == [{"ref": "sentry", "dependsOn": refs}]
    assert {part["type"] for part in bill["components"]} == {"library", "application"}


def test_the_bill_is_one_by_the_schema_of_cyclonedx() -> None:
    """In its strict form, which allows nothing unknown; with the hundreds of packages of this machine."""
    packages = dpkg.installed(Path("/var/lib/dpkg/status").read_text(encoding="utf-8"))
    bill = sbom.bill(SUBJECT, packages, (Wheel("httptools", "0.6.4"),))
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(bill) is None
    assert validator.validate_str(bill.replace('"operating-system"', '"machine"')) is not None


def test_the_same_image_has_the_same_bill() -> None:
    packages = dpkg.installed(STATUS)
    assert sbom.bill(SUBJECT, packages, ()) == sbom.bill(SUBJECT, packages[::-1], ())


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder with two files to ship."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "b.qcow2").write_bytes(b"bb")
    (folder / "a.ova").write_bytes(b"aa")
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A signing key."""
    path = tmp_path / "key.pem"
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])
    return path


def verify(folder: Path, public: Path, signature: Path) -> None:
    run(["openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, folder / "SHA256SUMS"])


def test_the_sums_are_what_sha256sum_checks(output: Path, key: Path) -> None:
    sums.sign(output, key)
    assert (output / "SHA256SUMS").read_text() == (
        f"{hashlib.sha256(b'aa').hexdigest()}  a.ova\n{hashlib.sha256(b'bb').hexdigest()}  b.qcow2\n"
    )
    assert run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=output).stdout == "a.ova: OK\nb.qcow2: OK\n"


def test_a_signature_by_the_given_key_verifies_and_a_changed_sum_does_not(
    output: Path, key: Path, tmp_path: Path
) -> None:
    written = sums.sign(output, key)
    assert [path.name for path in written] == ["SHA256SUMS", "SHA256SUMS.sig"]
    public = tmp_path / "public.pem"
    run(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
    verify(output, public, output / "SHA256SUMS.sig")
    with (output / "SHA256SUMS").open("a") as file:
        file.write("0  c\n")
    with pytest.raises(CommandError):
        verify(output, public, output / "SHA256SUMS.sig")


def test_a_throw_away_key_says_so_in_its_name_and_its_private_half_is_nowhere(output: Path) -> None:
    written = sums.sign(output, None)
    assert [path.name for path in written] == [
        "SHA256SUMS",
        "SHA256SUMS.throw-away-key.sig",
        "SHA256SUMS.throw-away-key.pem",
    ]
    verify(output, written[2], written[1])
    assert not [path for path in output.iterdir() if b"PRIVATE" in path.read_bytes()]


def test_signing_again_leaves_no_signature_by_another_key(output: Path, key: Path) -> None:
    sums.sign(output, None)
    sums.sign(output, key)
    assert sorted(path.name for path in output.iterdir()) == ["SHA256SUMS", "SHA256SUMS.sig", "a.ova", "b.qcow2"]


def test_a_key_that_cannot_be_used_unattended_is_refused_with_its_name(tmp_path: Path, key: Path) -> None:
    sums.check_key(key)
    locked = tmp_path / "locked.pem"
    run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked])
    (tmp_path / "none.pem").write_text("no key\n")
    for wrong in (locked, tmp_path / "none.pem", tmp_path / "missing.pem"):
        with pytest.raises(SigningError, match=wrong.name):
            sums.check_key(wrong)


FACTS = Facts("1.2.3", 200, "6.12.1-cloud-amd64", "0123456789abcdef", "ab" * 32)


def test_the_notes_say_what_there_is_and_that_it_was_not_scanned() -> None:
    text = notes.text(FACTS, [Shipped("sentry-1.2.3.ova", 123_456_789, "00", "vSphere")], None)
    assert "| `sentry-1.2.3.ova` | 123.5 | vSphere | `00` |" in text
    assert f"`{'ab' * 32}`" in text
    assert "This image has not been scanned." in text


def test_the_notes_count_the_scans_rules(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    found = [("I", "not_a_finding"), ("I", "open"), ("II", "not_applicable"), ("II", "not_applicable")]
    rows = [{"category": one, "status": two} for one, two in found]
    results.write_text(json.dumps({"asset": {"image": FACTS.root_hash}, "results": rows}))
    text = notes.text(FACTS, [], notes.counts(results, FACTS.root_hash))
    assert "| I | 1 | 1 | 0 | 0 | 0 |" in text
    assert "| II | 0 | 0 | 2 | 0 | 0 |" in text
    assert "not been scanned" not in text


@pytest.mark.parametrize(
    ("image", "said"),
    [("cd" * 32, f"of the image with the root hash {'cd' * 32}"), ("", "of a machine that was started from no image")],
)
def test_a_scan_of_another_image_is_refused(tmp_path: Path, image: str, said: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"asset": {"image": image}, "results": []}))
    with pytest.raises(NotesError, match=f"is a scan {said}; this image has the root hash {FACTS.root_hash}"):
        notes.counts(tmp_path / "results.json", FACTS.root_hash)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"asset": {}, "results": [1]}', '{"asset": [], "results": []}'])
def test_results_that_are_none_are_refused_with_their_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(NotesError, match=r"results\.json: is no result"):
        notes.counts(tmp_path / "results.json", FACTS.root_hash)


def test_aws_is_told_of_a_snapshot_and_never_to_change_the_guest() -> None:
    said = aws.parameters("sentry", "1.2.3", 16)
    assert list(said) == ["import-snapshot", "register-image"]
    assert said["import-snapshot"]["DiskContainer"]["Format"] == "RAW"
    image = said["register-image"]
    assert {name: image[name] for name in ("BootMode", "ImdsSupport", "TpmSupport", "EnaSupport", "VirtualizationType")} == {
        "BootMode": "uefi", "ImdsSupport": "v2.0", "TpmSupport": "v2.0", "EnaSupport": True, "VirtualizationType": "hvm",
    }  # fmt: skip
    (disk,) = image["BlockDeviceMappings"]
    assert disk["DeviceName"] == image["RootDeviceName"]
    assert disk["Ebs"]["VolumeSize"] == 16


def test_a_qcow2_is_the_same_disk_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    disk = disks.lively(tmp_path / "raw")
    for name in ("one", "two"):
        packed.qcow2(disk, tmp_path / name, Here())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "identical" in run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", disk, tmp_path / "one"]).stdout
    shown = json.loads(run(["qemu-img", "info", "--output=json", tmp_path / "one"]).stdout)
    assert shown["virtual-size"] == disk.stat().st_size
    assert shown["format-specific"]["data"]["compat"] == "1.1"


def test_a_packed_disk_unpacks_to_itself_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    disk = disks.lively(tmp_path / "raw")
    for name in ("one.zst", "two.zst"):
        packed.zstd(disk, tmp_path / name, Here())
    assert (tmp_path / "one.zst").read_bytes() == (tmp_path / "two.zst").read_bytes()
    run(["zstd", "-q", "-d", tmp_path / "one.zst", "-o", tmp_path / "back"])
    assert (tmp_path / "back").read_bytes() == disk.read_bytes()
