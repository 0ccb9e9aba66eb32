"""The operator's side: a site file is read and checked before anything is sent."""

import json
from pathlib import Path

import pytest

from appliance.config import migrations, site
from appliance.config.schema import Schema
from appliance.plan import InvalidError
from tests.unit.appliance.workbench import FEATURES


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "FEATURES", FEATURES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sites").mkdir()
    return tmp_path / "sites/lab.yml"


def test_a_right_site_is_printed_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "token").write_text("line one\nline two\n\n")
    file.write_text("name: box\nweb:\n  port: 80\n  token: !file token\n")
    assert site.main([str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": migrations.VERSION,
        "name": "box",
        "web": {"port": 80, "token": "line one\nline two\n"},
    }


def test_a_check_prints_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("name: box\n")
    assert site.main(["--check", str(file)]) == 0
    assert capsys.readouterr() == ("", "")


def test_problems_are_told_one_a_line_without_secrets(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("web: {port: 0, token: abc}\n")
    assert site.main([str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "name: found nothing; allowed: 1 to 8 lower-case letters",
        "web.port: found 0; allowed: a whole number from 1 to 65535",
        "web.token: found a secret value; allowed: a string, at least 4 characters",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("web: {port: 1, port: 2}\n", "the key 'port' stands twice"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("a: [", "expected the node content"),
        ("- a\n", "found list; allowed: settings"),
        ("", "found NoneType; allowed: settings"),
        ("a: !!python/object/apply:os.system [x]\n", "could not determine a constructor"),
        ("a: !file\n", "!file wants a path"),
        ("a: !file [x]\n", "!file wants a path"),
        ("a: !file missing.txt\n", "missing.txt cannot be read: [Errno 2] No such file"),
        ("a: b\n---\nc: d\n", "expected a single document"),
        ("version: 99\nname: box\n", "version: found 99, of a later version of the appliance; allowed: 1"),
        ("version: one\nname: box\n", "version: found 'one'; allowed: 1"),
        ("version: true\nname: box\n", "version: found True; allowed: 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_name(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file.write_text(text)
    assert site.main([str(file)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert str(file) in error


def test_a_missing_site_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.main([str(tmp_path / "nowhere.yml")]) == 1
    assert "nowhere.yml: cannot be read" in capsys.readouterr().err


def test_files_without_end_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "FILE_BYTES", 8)
    (file.parent / "big").write_text("123456789")
    file.write_text("name: !file big\n")
    with pytest.raises(site.SiteError, match="more than 8 bytes"):
        site.load(file)
    monkeypatch.setattr(site, "SITE_BYTES", 8)
    with pytest.raises(site.SiteError, match="found more than 8 bytes"):
        site.load(file)


def test_the_check_is_the_one_the_appliance_makes(file: Path) -> None:
    file.write_text("name: box\nweb: {port: 22}\n")
    with pytest.raises(InvalidError, match="22, which is SSH's"):
        site.check(site.load(file), Schema(FEATURES))
