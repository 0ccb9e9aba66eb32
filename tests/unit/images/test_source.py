"""The release archive: the same bytes for the same content, and nothing in it that does not belong."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from images import source
from tests.unit.images.locked_wheels import LOCK, OTHER, wheel_bytes

COMPILED = {
    "sentry_runtime/gateway/__main__.cpython.so": b"machine code",
    "sentry_runtime__mypyc.cpython.so": b"of all",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A project with the release's rooms and another, leftovers of Python and editors, and a kept wheel whose hash is locked."""
    root = tmp_path / "repo"
    for name in (
        "appliance/__init__.py",
        "appliance/templates/a.j2",
        "sentry_runtime/gateway/__main__.py",
        "stig/x.py",
        "images/x.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    for name in ("appliance/__pycache__/a.cpython-311.pyc", "appliance/.a.py.swp", "appliance/a.py~"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("left behind")
    wheel = wheel_bytes("httptools/__init__.py", "httptools/parser.so")
    (root / "wheels").mkdir()
    (root / "wheels" / "httptools-0.6.4-cp313-cp313-manylinux.whl").write_bytes(wheel)
    lock = LOCK.format(hash=hashlib.sha256(wheel).hexdigest(), other=OTHER)
    (root / "requirements.txt").write_text(lock)
    return root


def build(repo: Path, output: Path) -> source.Release:
    return source.build(repo, output, repo / "wheels", COMPILED)


def test_the_archive_holds_our_rooms_and_the_wheel_and_nothing_left_behind(repo: Path, tmp_path: Path) -> None:
    release = build(repo, tmp_path / "out")
    with tarfile.open(release.archive) as tar:
        files = [member.name for member in tar if member.isfile()]
        assert all(member.uid == member.gid == 0 and member.mode in {0o644, 0o755} for member in tar)
    assert [name.removeprefix(f"{release.digest}/") for name in files] == [
        "appliance/__init__.py",
        "appliance/templates/a.j2",
        "sentry_runtime/gateway/__main__.cpython.so",
        "sentry_runtime/gateway/__main__.py",
        "sentry_runtime__mypyc.cpython.so",
        "stig/x.py",
        "vendor/httptools/__init__.py",
        "vendor/httptools/parser.so",
        "RELEASE",
    ]


def test_every_folder_with_code_brings_the_folder_of_its_compiled_files(repo: Path, tmp_path: Path) -> None:
    release = build(repo, tmp_path / "out")
    with tarfile.open(release.archive) as tar:
        folders = {member.name.removeprefix(f"{release.digest}/") for member in tar if member.isdir()}
    assert {"appliance/__pycache__", "sentry_runtime/gateway/__pycache__", "vendor/httptools/__pycache__"} <= folders
    assert "appliance/templates/__pycache__" not in folders


def test_the_same_content_gives_the_same_bytes_whatever_its_dates(repo: Path, tmp_path: Path) -> None:
    first = build(repo, tmp_path / "one")
    (repo / "appliance/__init__.py").touch()
    second = build(repo, tmp_path / "two")
    assert first.digest == second.digest
    assert first.archive.read_bytes() == second.archive.read_bytes()


def test_a_release_that_is_there_is_not_made_again_and_a_changed_file_makes_another(repo: Path, tmp_path: Path) -> None:
    first = build(repo, tmp_path)
    assert first.built
    assert not build(repo, tmp_path).built
    (repo / "appliance/__init__.py").write_text("changed = True\n")
    changed = build(repo, tmp_path)
    assert changed.built
    assert changed.digest != first.digest


def test_other_machine_code_makes_another_release(repo: Path, tmp_path: Path) -> None:
    first = build(repo, tmp_path)
    other = source.build(repo, tmp_path, repo / "wheels", dict.fromkeys(COMPILED, b"other"))
    assert other.digest != first.digest


def test_the_release_file_names_the_whole_digest(repo: Path, tmp_path: Path) -> None:
    release = build(repo, tmp_path / "out")
    with tarfile.open(release.archive) as tar:
        held = tar.extractfile(f"{release.digest}/RELEASE")
        assert held is not None
        stated = json.loads(held.read())
    assert stated["digest"].startswith(release.digest)
    assert len(stated["digest"]) == 64
    assert stated["files"] == 8
