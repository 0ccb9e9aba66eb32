"""What a service remembers: over its restarts, and never what it cannot trust."""

from pathlib import Path

import msgspec
import pytest

from appliance.state_file import BAD, NAME, KeepError, StateFile

MOST = 64


class Memory(msgspec.Struct, kw_only=True):
    """What is remembered here."""

    words: tuple[str, ...] = ()


def file(folder: Path) -> StateFile[Memory]:
    """Its place in `folder`."""
    return StateFile(folder, Memory, MOST)


def test_what_was_saved_is_remembered_and_nothing_is_at_first(tmp_path: Path) -> None:
    assert file(tmp_path).load() == Memory()
    file(tmp_path).save(Memory(words=("one",)))
    assert file(tmp_path).load() == Memory(words=("one",))


@pytest.mark.parametrize("data", [b"{", b'{"words": 1}', b'{"words": ["' + b"x" * MOST + b'"]}'])
def test_what_cannot_be_read_is_put_aside_and_said(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(data)
    assert file(tmp_path).load() == Memory()
    assert (tmp_path / BAD).read_bytes() == data
    assert f"put aside as {BAD}" in caplog.text


def test_a_disk_that_gives_or_takes_nothing_is_said_with_the_place(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-such-folder"
    with pytest.raises(KeepError, match=rf"{nowhere}/{NAME} cannot be written: No such file"):
        file(nowhere).save(Memory())
    (tmp_path / NAME).mkdir()
    with pytest.raises(KeepError, match=r"cannot be read: Is a directory"):
        file(tmp_path).load()
