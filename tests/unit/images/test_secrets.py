"""The lab's secrets: made once, for their owner's eyes, good enough for the password policy."""

import stat
from pathlib import Path

import pytest

from images.lab import secrets
from images.paths import Layout, write_file
from images.run import run


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A build folder with all secrets made."""
    layout = Layout(tmp_path_factory.mktemp("build"))
    secrets.ensure_all(layout)
    return layout


def test_no_secret_is_readable_by_others(layout: Layout) -> None:
    """Folder 0700, private files 0600."""
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700
    private = [path for path in layout.secrets.iterdir() if path.suffix != ".pub"] + list(layout.lab.glob("*.key"))
    assert len(private) == 24
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_what_is_there_stays(layout: Layout) -> None:
    """A second run makes nothing anew: the running appliance keeps its keys."""
    before = {path: path.read_bytes() for folder in (layout.secrets, layout.lab) for path in folder.iterdir()}
    secrets.ensure_all(layout)
    assert {path: path.read_bytes() for path in before} == before


def test_the_hash_is_the_passwords(layout: Layout) -> None:
    """sha512crypt with its own salt, of the password without its line end."""
    hashed = (layout.secrets / "admin.hash").read_text().strip()
    _, kind, rounds, salt, _ = hashed.split("$")
    assert (kind, rounds) == ("6", "rounds=100000")
    clear = (layout.secrets / "admin.password").read_text()
    assert run(["openssl", "passwd", "-6", "-salt", f"{rounds}${salt}", "-stdin"], stdin=clear).stdout.strip() == hashed


def test_the_mail_servers_certificate_is_the_lab_authoritys(layout: Layout) -> None:
    """It verifies against the lab's CA, for the name the site configuration expects."""
    verified = run(
        ["openssl", "verify", "-CAfile", layout.lab / "backend-ca.pem", "-verify_hostname", "mail.lab.test",
         "-purpose", "sslserver", layout.lab / "mail.pem"]
    )  # fmt: skip
    assert verified.stdout.strip().endswith("OK")


def test_one_card_is_good_and_the_other_is_revoked(layout: Layout) -> None:
    """By the authority's own list, as configd asks."""
    folder = layout.lab
    asked: list[str | Path] = ["openssl", "verify", "-CAfile", folder / "card-ca.pem", "-purpose", "sslclient", "-crl_check_all",
             "-CRLfile", folder / "card-ca.crl.pem"]  # fmt: skip
    assert run([*asked, folder / "admin-card.pem"]).stdout.strip().endswith("OK")
    refused = run([*asked, folder / "revoked-card.pem"], check=False)
    assert "certificate revoked" in refused.stderr


def test_passwords_are_long_mixed_and_never_repeat_a_class() -> None:
    """Every run of four characters has all four classes, so at most two of one class stand together."""
    made = {secrets.password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        assert len(password) == secrets.PASSWORD_LENGTH
        for start in range(0, len(password), 4):
            quartet = password[start : start + 4]
            assert sum(any(character in alphabet for character in quartet) for alphabet in secrets._CLASSES) == 4


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    """It replaces what was there, and leaves no temporary file."""
    target = tmp_path / "deep" / "file"
    write_file(target, "one", 0o600)
    write_file(target, "two", 0o600)
    assert target.read_text() == "two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
