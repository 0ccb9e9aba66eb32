"""Wheels come as they are locked, fit the appliance's Python, and bring nothing that they must not."""

import hashlib
from pathlib import Path

import pytest

from images.wheels import WheelError, _genuine, fetch_wheel, locked, wheel_files
from tests.unit.images.locked_wheels import LOCK, OTHER, wheel_bytes


@pytest.mark.parametrize(
    "name",
    ["httptools.libs/libssl-1f2e.so.3", "httptools.libs/libcrypto.so.3", "libcrypto-abc.so", "x/libgnutls.so.30"],
)
def test_a_wheel_with_its_own_cryptography_is_refused(tmp_path: Path, name: str) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(wheel_bytes("httptools/__init__.py", name))
    with pytest.raises(WheelError, match="cryptography comes from Debian packages only"):
        wheel_files(wheel)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/passwd"])
def test_a_wheel_that_would_write_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(wheel_bytes(name))
    with pytest.raises(WheelError, match="outside its folder"):
        wheel_files(wheel)


def test_the_locked_lines_are_those_of_one_package_only() -> None:
    lines = locked(LOCK.format(hash="1" * 64, other=OTHER), "httptools")
    assert lines.startswith("httptools==0.6.4")
    assert "1" * 64 in lines
    assert "httpcore" not in lines
    assert "idna" not in lines


def test_a_package_without_hashes_is_refused() -> None:
    with pytest.raises(WheelError, match="found no httptools with hashes"):
        locked("httptools==0.6.4\n", "httptools")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A project whose lock has the hashes of two kept wheels of a version: one for the appliance's Python, one for another."""
    wheels = {
        "httptools-0.6.4-cp313-cp313-manylinux.whl": wheel_bytes("httptools/parser.so"),
        "httptools-0.6.4-cp311-cp311-manylinux.whl": wheel_bytes("httptools/older.so"),
    }
    ours, others = (hashlib.sha256(content).hexdigest() for content in wheels.values())
    (tmp_path / "requirements.txt").write_text(LOCK.format(hash=ours, other=others))
    (tmp_path / "wheels").mkdir()
    for name, content in wheels.items():
        (tmp_path / "wheels" / name).write_bytes(content)
    return tmp_path


def test_the_kept_wheel_of_the_appliances_python_is_taken(repo: Path) -> None:
    taken = fetch_wheel(repo, repo / "wheels", "httptools")
    assert taken.name == "httptools-0.6.4-cp313-cp313-manylinux.whl"
    taken.unlink()
    lines = locked((repo / "requirements.txt").read_text(), "httptools")
    assert _genuine(repo / "wheels", "httptools-*.whl", lines) is None


def test_a_kept_wheel_with_another_hash_is_not_used(repo: Path) -> None:
    fetch_wheel(repo, repo / "wheels", "httptools").write_bytes(b"tampered")
    lines = locked((repo / "requirements.txt").read_text(), "httptools")
    assert _genuine(repo / "wheels", "httptools-*.whl", lines) is None


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("librt-0.16.0-cp313-cp313-manylinux_2_17_x86_64.whl", True),
        ("ast_serialize-0.13.1-cp39-abi3-manylinux_2_17_x86_64.whl", True),
        ("pathspec-1.1.1-py3-none-any.whl", True),
        ("six-1.17.0-py2.py3-none-any.whl", True),
        ("librt-0.16.0-cp313-cp313t-manylinux_2_17_x86_64.whl", False),
        ("librt-0.16.0-cp312-cp312-manylinux_2_17_x86_64.whl", False),
    ],
)
def test_which_wheels_fit_is_told_by_their_tags(tmp_path: Path, name: str, *, fits: bool) -> None:
    (tmp_path / name).write_bytes(b"a wheel")
    line = f"x==1 --hash=sha256:{hashlib.sha256(b'a wheel').hexdigest()}"
    assert (_genuine(tmp_path, "*.whl", line) is not None) == fits
