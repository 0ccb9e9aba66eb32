"""Nothing is sent that is not what was signed, and what is sent is what was verified."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.papers import sums
from images.papers.proof import ProofError, Proven, proven
from images.publish.disk import DiskFileError, packed, verified
from images.publish.sending import WORKERS, send
from images.run import CommandError, reading, run
from tests.unit.images.publish import built

BLOCK = 524_288
RAW = f"sentry-{built.VERSION}.raw.zst"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A signing key and its public half."""
    return built.key_pair(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """What a build left, signed."""
    return built.folder(tmp_path, keys[0])


def test_a_folder_signed_by_the_key_is_proven(folder: Path, keys: tuple[Path, Path]) -> None:
    made = proven(folder, keys[1])
    assert made.digests[RAW] == hashlib.sha256((folder / RAW).read_bytes()).hexdigest()


def test_a_throw_away_key_is_believed_only_when_that_is_said(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = built.folder(tmp_path)
    with pytest.raises(ProofError, match="is signed by a throw-away key, not by the half of"):
        proven(folder, keys[1])
    assert RAW in proven(folder, None, throw_away=True).digests


def _other_key(folder: Path, public: Path) -> None:
    built.key_pair(public.parent)


def _changed_sums(folder: Path, public: Path) -> None:
    (folder / sums.NAME).write_text((folder / sums.NAME).read_text().replace("a", "b", 1))


def _no_signature(folder: Path, public: Path) -> None:
    (folder / "SHA256SUMS.sig").unlink()


def _no_sums(folder: Path, public: Path) -> None:
    (folder / sums.NAME).unlink()


def _no_key(folder: Path, public: Path) -> None:
    public.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_key, r"SHA256SUMS\.sig: does not verify with .*public\.pem"),
        (_changed_sums, "does not verify"),
        (_no_signature, r"SHA256SUMS\.sig: cannot be read \(No such file"),
        (_no_sums, r"SHA256SUMS: cannot be read \(No such file"),
        (_no_key, r"public\.pem: cannot be read \(No such file"),
    ],
)
def test_what_is_not_signed_is_refused_with_what_is_wrong(
    folder: Path, keys: tuple[Path, Path], spoil: Callable[[Path, Path], None], said: str
) -> None:
    spoil(folder, keys[1])
    with pytest.raises(ProofError, match=said):
        proven(folder, keys[1])


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="there is no such folder"):
        proven(tmp_path / "none", None, throw_away=True)


@pytest.mark.parametrize("lines", ["no digest\n", f"{'0' * 64}  ../a\n", f"{'0' * 64}  a\n{'1' * 64}  a\n"])
def test_signed_lines_that_are_none_are_refused(tmp_path: Path, keys: tuple[Path, Path], lines: str) -> None:
    (tmp_path / sums.NAME).write_text(lines)
    run(["openssl", "dgst", "-sha256", "-sign", keys[0], "-out", tmp_path / "SHA256SUMS.sig", tmp_path / sums.NAME])
    with pytest.raises(ProofError, match="is no digest of a file of its own"):
        proven(tmp_path, keys[1])


def test_a_disk_with_another_digest_is_refused_before_it_is_unpacked(folder: Path, keys: tuple[Path, Path]) -> None:
    made = proven(folder, keys[1])
    (folder / RAW).write_bytes(b"no disk")
    with pytest.raises(ProofError, match=r"raw\.zst: found SHA-256 .*; signed is "), verified(made, RAW, BLOCK):
        raise AssertionError("it was taken")


def test_a_file_that_was_not_signed_is_refused(folder: Path, keys: tuple[Path, Path]) -> None:
    made = proven(folder, keys[1])
    (folder / "other.raw.zst").write_bytes(b"")
    with pytest.raises(ProofError, match=r"has no line for other\.raw\.zst"), verified(made, "other.raw.zst", BLOCK):
        raise AssertionError("it was taken")


def test_another_file_in_the_disks_place_is_not_sent(folder: Path, keys: tuple[Path, Path]) -> None:
    raw = built.unpacked(folder / RAW)
    with verified(proven(folder, keys[1]), RAW, BLOCK) as disk:
        (folder / "new").write_bytes(b"x")
        (folder / "new").replace(folder / RAW)
        sent = dict(disk.parts())
    assert disk.size == len(raw)
    assert disk.end == raw[-512:]
    assert len(sent) == disk.blocks
    assert all(content == raw[index * BLOCK : (index + 1) * BLOCK] for index, content in sent.items())
    left = [raw[at : at + BLOCK] for at in range(0, len(raw), BLOCK) if at // BLOCK not in sent]
    assert left
    assert not any(any(block) for block in left)


@pytest.mark.parametrize("content", [b"no zstd", b""])
def test_what_zstd_cannot_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RAW).write_bytes(content)
    made = Proven(tmp_path, {RAW: hashlib.sha256(content).hexdigest()})
    with pytest.raises(CommandError, match="zstd"), verified(made, RAW, BLOCK):
        raise AssertionError("it was taken")


def test_a_disk_of_zeros_is_none(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(3 * BLOCK))
    run(["zstd", "-q", tmp_path / "zeros", "-o", tmp_path / RAW])
    made = Proven(tmp_path, {RAW: hashlib.sha256((tmp_path / RAW).read_bytes()).hexdigest()})
    with (
        pytest.raises(DiskFileError, match=f"holds a disk of {3 * BLOCK} bytes, all of them zeros"),
        verified(made, RAW, BLOCK),
    ):
        raise AssertionError("it was taken")


def test_a_packed_disk_that_is_cut_is_refused_before_any_of_it_is_sent(folder: Path) -> None:
    content = (folder / RAW).read_bytes()[:-100]
    (folder / RAW).write_bytes(content)
    made = Proven(folder, {RAW: hashlib.sha256(content).hexdigest()})
    with pytest.raises(CommandError, match="zstd"), verified(made, RAW, BLOCK):
        raise AssertionError("it was taken")


def test_two_disks_in_a_folder_are_one_too_many(folder: Path) -> None:
    assert packed(folder, "raw.zst") == RAW
    (folder / "old.raw.zst").touch()
    with pytest.raises(DiskFileError, match=r"found old\.raw\.zst, sentry-1\.2\.3\.raw\.zst .*allowed is one"):
        packed(folder, "raw.zst")
    with pytest.raises(DiskFileError, match=r"found no file with the ending \.ova"):
        packed(folder, "ova")


# --- a command that is read while it runs ----------------------------------------------------------------------------


def test_who_stops_reading_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    with (tmp_path / "in").open("rb") as file, pytest.raises(ZeroDivisionError), reading(["sleep", "600"], file):
        raise ZeroDivisionError


def test_who_has_not_read_all_is_told_and_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(1 << 20))
    with (
        (tmp_path / "in").open("rb") as file,
        pytest.raises(CommandError, match="ended with code"),
        reading(["cat"], file) as stream,
    ):
        assert stream.read(10) == bytes(10)


def test_a_command_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    with (
        (tmp_path / "in").open("rb") as file,
        pytest.raises(CommandError, match="cannot be started"),
        reading([tmp_path / "nothing"], file),
    ):
        raise AssertionError("it ran")


# --- sending ---------------------------------------------------------------------------------------------------------


def test_every_part_is_put_and_progress_is_told() -> None:
    put: list[int] = []
    said: list[str] = []
    assert send(range(100), put.append, 100, said.append) == 100
    assert sorted(put) == list(range(100))
    assert said[-1] == "sent: 100 of 100 parts (100 %)"
    assert len(said) <= 11


def test_no_more_parts_are_read_than_are_under_way() -> None:
    """The first one blocks; so the reader stops soon, and does not fill the memory."""
    gate = threading.Event()
    read: list[int] = []

    def parts() -> Iterator[int]:
        for number in range(1_000):
            read.append(number)
            if number == 2 * WORKERS - 1:
                threading.Timer(0.2, gate.set).start()
            assert len(read) <= 2 * WORKERS or gate.is_set()
            yield number

    def put(_: int) -> None:
        assert gate.wait(30)

    send(parts(), put, 1_000, lambda _: None)
    assert len(read) == 1_000


def test_an_error_ends_it_and_nothing_new_begins() -> None:
    put: list[int] = []

    def failing(number: int) -> None:
        put.append(number)
        if number == 3:
            raise ValueError("the line is cut")

    with pytest.raises(ValueError, match="the line is cut"):
        send(range(10_000), failing, 10_000, lambda _: None)
    assert len(put) < 1_000
