"""What a Cloud has set, over restarts."""

import os
from pathlib import Path

import pytest

from sentry_runtime.agent.cloud_word import FILE, CloudWord
from sentry_runtime.uem.cloud_api import CloudSettings
from tests.unit.agent.ears import Ears

HERE, THERE = "https://cloud.lab.test", "https://other.lab.test"
ALLOW = CloudSettings(fail_mode="allow", allow_unmanaged=True, licence="gold")


def test_before_the_first_word_a_new_device_is_blocked(tmp_path: Path, ears: Ears) -> None:
    """Deny by default."""
    word = CloudWord(tmp_path, HERE, ears.audit)
    assert (word.settings, word.fail_mode()) == (None, "block")


def test_the_last_word_holds_over_a_restart_and_a_change_is_audited_once(tmp_path: Path, ears: Ears) -> None:
    """The same again is no news."""
    word = CloudWord(tmp_path, HERE, ears.audit)
    word.take(ALLOW)
    word.take(ALLOW)
    assert ears.events == ["uem_settings_changed"]
    again = CloudWord(tmp_path, HERE, ears.audit)
    assert (again.settings, again.fail_mode()) == (ALLOW, "allow")


def test_another_clouds_word_does_not_count(tmp_path: Path, ears: Ears) -> None:
    """The site has changed to this one, which has not said anything."""
    CloudWord(tmp_path, HERE, ears.audit).take(ALLOW)
    assert CloudWord(tmp_path, THERE, ears.audit).fail_mode() == "block"


@pytest.mark.parametrize("text", [b"", b"{", b'{"fail_mode": "allow"}', b"\xff" * 2_000])
def test_a_file_that_says_nothing_is_as_good_as_none(tmp_path: Path, ears: Ears, text: bytes) -> None:
    """And it is written anew."""
    (tmp_path / FILE).write_bytes(text)
    word = CloudWord(tmp_path, HERE, ears.audit)
    assert word.fail_mode() == "block"
    word.take(ALLOW)
    assert CloudWord(tmp_path, HERE, ears.audit).fail_mode() == "allow"


def test_a_disk_that_refuses_it_is_audited_and_the_word_holds(tmp_path: Path, ears: Ears) -> None:
    """Until the agent ends."""
    folder = tmp_path / "devices"
    folder.mkdir()
    word = CloudWord(folder, HERE, ears.audit)
    folder.rmdir()
    word.take(ALLOW)
    assert word.fail_mode() == "allow"
    assert ears.events == ["uem_settings_changed", "device_list_failed"]


def test_what_somebody_else_has_put_there_is_no_word_of_the_cloud(tmp_path: Path, ears: Ears) -> None:
    """Others may read the folder; who could write there once must not open the door for an outage."""
    CloudWord(tmp_path, HERE, ears.audit).take(ALLOW)
    os.chown(tmp_path / FILE, 54322, 54322)
    assert CloudWord(tmp_path, HERE, ears.audit).fail_mode() == "block"


def test_it_is_written_into_nobodys_trap(tmp_path: Path, ears: Ears) -> None:
    """A link where the new file is made is removed, not followed; and the file is the agent's alone."""
    key = tmp_path / "identity.pem"
    key.write_text("key")
    for name in (FILE, f"{FILE}.new", "cloud.new"):
        (tmp_path / name).symlink_to(key)
    CloudWord(tmp_path, HERE, ears.audit).take(ALLOW)
    assert key.read_text() == "key"
    assert (tmp_path / FILE).lstat().st_mode & 0o777 == 0o600
    assert CloudWord(tmp_path, HERE, ears.audit).fail_mode() == "allow"
