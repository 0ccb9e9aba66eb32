"""Many files in one call: what changes, what is refused, and that nothing is half done."""

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.conftest import Module

MODULE = "roles/base/library/sentry_files.py"
OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


def item(path: Path, **options: Any) -> dict[str, Any]:
    return {"path": str(path), "owner": OWNER, "group": GROUP, **options}


def test_a_file_is_made_with_its_text_and_exactly_its_mode_whatever_the_umask_says(
    module: Module, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "sudoers"
    before = os.umask(0o077)
    try:
        answer = module(MODULE, files=[item(target, content="root ALL\n", mode="0444")])
    finally:
        os.umask(before)
    assert answer["changed"] is True
    assert answer["paths"] == [str(target)]
    assert target.read_text() == "root ALL\n"
    assert target.stat().st_mode & 0o7777 == 0o444
    assert target.parent.stat().st_mode & 0o7777 == 0o755


def test_a_second_run_changes_nothing(module: Module, tmp_path: Path) -> None:
    files = [
        item(tmp_path / "text", content="a\n"),
        item(tmp_path / "folder", state="directory", mode="0750"),
        item(tmp_path / "link", state="link", target="text"),
        item(tmp_path / "none", state="absent"),
    ]
    assert module(MODULE, files=files)["changed"] is True
    second = module(MODULE, files=files)
    assert second["changed"] is False
    assert second["paths"] == []


def test_a_wrong_mode_alone_is_put_right_and_the_text_kept(module: Module, tmp_path: Path) -> None:
    target = tmp_path / "key"
    target.write_text("secret\n")
    target.chmod(0o666)
    assert module(MODULE, files=[item(target, content="secret\n", mode="0600")])["changed"] is True
    assert target.stat().st_mode & 0o7777 == 0o600
    assert target.read_text() == "secret\n"


def test_attributes_touch_only_a_file_that_is_there_and_never_its_text(module: Module, tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("somebody else's")
    there.chmod(0o755)
    files = [item(path, state="attributes", mode="0640") for path in (there, missing)]
    assert module(MODULE, files=files)["paths"] == [str(there)]
    assert there.stat().st_mode & 0o7777 == 0o640
    assert there.read_text() == "somebody else's"
    assert not missing.exists()


def test_check_mode_says_what_would_change_and_changes_nothing(module: Module, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old\n")
    answer = module(MODULE, check=True, diff=True, files=[item(target, content="new\n")])
    assert answer["changed"] is True
    assert "old" in answer["diff"][0]["before"]
    assert "new" in answer["diff"][0]["after"]
    assert target.read_text() == "old\n"


def test_a_file_its_checker_refuses_keeps_every_file_as_it_was(module: Module, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("old\n")
    answer = module(
        MODULE, files=[item(good, content="new\n"), item(bad, content="wrong\n", validate="/bin/grep -q right %s")]
    )
    assert answer["failed"] is True
    assert str(bad) in answer["msg"]
    assert good.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good"], "nothing staged is left behind"


def test_a_checker_sees_the_new_text_also_inside_a_word(module: Module, tmp_path: Path) -> None:
    target = tmp_path / "openssl.cnf"
    checker = "/usr/bin/env NAME=%s /bin/sh -c 'grep -q right $NAME'"
    assert module(MODULE, files=[item(target, content="right\n", validate=checker)])["changed"] is True


def test_a_link_is_replaced_by_a_file_and_not_followed(module: Module, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "resolv.conf"
    outside.write_text("theirs\n")
    target.symlink_to(outside)
    assert module(MODULE, files=[item(target, content="ours\n")])["changed"] is True
    assert not target.is_symlink()
    assert target.read_text() == "ours\n"
    assert outside.read_text() == "theirs\n"


def test_a_folder_that_may_hold_only_some_files_loses_the_others(module: Module, tmp_path: Path) -> None:
    folder = tmp_path / "sshd_config.d"
    (folder / "sub").mkdir(parents=True)
    for name in ("10-crypto.conf", "00-theirs.conf"):
        (folder / name).write_text("x\n")
    files = [item(folder, state="directory", only=["10-crypto.conf"])]
    assert str(folder / "00-theirs.conf") in module(MODULE, files=files)["paths"]
    assert sorted(path.name for path in folder.iterdir()) == ["10-crypto.conf", "sub"]
    assert module(MODULE, files=files)["changed"] is False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state": "file"}, "needs 'content'"),
        ({"state": "link"}, "needs 'target'"),
        ({"content": "", "owner": "no-such-account"}, "no-such-account"),
    ],
)
def test_a_mistake_of_the_role_is_named_with_its_path(
    module: Module, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    answer = module(MODULE, files=[{**item(tmp_path / "x"), **options}])
    assert answer["failed"] is True
    assert said in answer["msg"]
    assert str(tmp_path / "x") in answer["msg"]


def test_a_folder_with_somebodys_data_never_becomes_a_file(module: Module, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mail").write_text("keep")
    answer = module(MODULE, files=[item(folder, content="x")])
    assert answer["failed"] is True
    assert "found a directory" in answer["msg"]
    assert (folder / "mail").read_text() == "keep"
