"""Backups as an administrator has them: exported on one appliance, restored on another, which is then the same."""

import base64
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import fleet_secret, keyring, pki
from appliance.backup import armour, contents, sealing
from appliance.config import migrations
from appliance.config.secrets import masked, references
from appliance.configd import api
from appliance.configd.client import Refused
from appliance.features.base import File
from appliance.features.tls import AUTHORITY, FOLDER, key_path
from tests.site_pki import answer
from tests.unit.appliance.configd.test_certificates import MIDDLE, SITE, TODAY, Machine, text, with_certificates_alone
from tests.unit.appliance.test_pki import Box
from tests.unit.appliance.workbench import ROOT, Crash, Daemon

PASSPHRASE = "a long enough passphrase"
CANARY = "canary-in-the-store-1234"
WITH_SECRETS: dict[str, Any] = {
    **SITE,
    "email": {
        "server": "mail.example.test",
        "from": "gw@example.test",
        "account": "gw",
        "password": CANARY,
    },
}
OTHER: dict[str, Any] = {**SITE, "hostname": "gw2.example.test", "ntp": {"servers": ["192.0.2.7", "192.0.2.8"]}}


class Runner(Machine):
    """Runs what configd runs; whose a file is that configd wrote itself, it knows from the table of backups."""

    def __call__(self, argv: list[str], *, stdin: str | None = None, **_seconds: float) -> str:
        if argv[0] == "stat" and argv[-1] in contents.PLACES:
            self.owners.setdefault(argv[-1], f"root:{contents.PLACES[argv[-1]].group}")
        return self.run(argv, stdin=stdin)


class Configd(Daemon):
    """configd over a machine whose certificates are made by the real openssl."""

    def restart(self) -> str | None:
        self.commands = Runner(self.root)  # type: ignore[assignment]
        return super().restart()


class Appliance:
    """configd in a folder, new or as it was left, with an administrator's session."""

    kind: type[Configd] = Configd

    def __init__(self, folder: Path, site: dict[str, Any] | None = None) -> None:
        self.daemon = self.kind(folder, with_certificates_alone())
        if site is not None:
            self.daemon.commit(site)
            self.daemon.machine.place(fleet_secret.OWN).write_text(f"{site['hostname']}'s own")
        self.peer, session = self.daemon.open(ROOT)
        self.handle = session.handle

    def say(self, verb: type[Any], result: Any = Any, **fields: Any) -> Any:
        return self.daemon.say(self.peer, verb(session=self.handle, **fields), result)

    def read(self, path: str) -> str | None:
        return self.daemon.machine.read(path)

    def mode(self, path: str) -> int:
        return self.daemon.machine.place(path).stat().st_mode & 0o777

    def export(self) -> api.Backup:
        made = self.say(api.ExportBackup, api.Backup, passphrase=PASSPHRASE)
        assert isinstance(made, api.Backup)
        return made

    def restore(self, backup: str, passphrase: str = PASSPHRASE, **fields: Any) -> api.Committed:
        done = self.say(api.RestoreBackup, api.Committed, backup=backup, passphrase=passphrase, **fields)
        assert isinstance(done, api.Committed)
        return done

    def revealed(self) -> Any:
        """What runs, with the secrets themselves."""

        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: walk(inner) for key, inner in value.items()}
            if isinstance(value, list):
                return [walk(item) for item in value]
            return self.daemon.vault.reveal(value) if value in held else value

        tree = self.daemon.running()
        held = set(references(tree))
        return walk(tree)

    def identity(self) -> dict[str, str]:
        """Every file that makes it this appliance."""
        ring = self.daemon.machine.place(keyring.RING).glob("*.key")
        paths = [*contents.PLACES, *(keyring.place(one.stem) for one in ring)]
        found = {path: self.read(path) for path in paths}
        return {path: text for path, text in found.items() if text is not None}

    def secrets(self) -> set[str]:
        return {place.name for place in (self.daemon.folder / "secrets").iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Appliance, api.Backup]:
    """An appliance with a secret, a certificate for a key that was made on it, an open request and a token; and its backup."""
    first = Appliance(tmp_path_factory.mktemp("first"), WITH_SECRETS)
    request = "\n".join(first.say(api.RequestCertificate, api.Text, service="portal").lines) + "\n"
    signed = answer(request, MIDDLE, starts=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=90))
    first.say(api.UploadCertificate, service="portal", certificate=text(signed))
    first.say(api.Commit, comment="its own portal")
    first.say(api.RequestCertificate, service="gateway")
    first.say(api.CreateToken, name="tool", role="auditor")
    return first, first.export()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another appliance, with a name and keys of its own."""
    folder = tmp_path_factory.mktemp("left")
    Appliance(folder, OTHER)
    return folder


@pytest.fixture
def second(left: Path, tmp_path: Path) -> Appliance:
    """That appliance."""
    shutil.copytree(left, tmp_path / "second", symlinks=True)
    return Appliance(tmp_path / "second")


def refused(call: Callable[[], object]) -> api.Refusal:
    with pytest.raises(Refused) as error:
        call()
    return error.value.refusal


def test_a_fresh_appliance_becomes_the_same_by_a_restore(made: tuple[Appliance, api.Backup], second: Appliance) -> None:
    first, backup = made
    assert second.identity() != first.identity()
    done = second.restore(backup.backup)
    assert done.changed
    assert second.revealed() == first.revealed()
    assert CANARY in str(second.revealed())
    assert second.identity() == first.identity()
    for path in (AUTHORITY, pki.AUTHORITY_KEY, fleet_secret.OWN, key_path("gateway"), contents.TOKENS):
        assert path in second.identity()
    assert any(path.startswith(keyring.RING) for path in second.identity())
    assert second.mode(pki.AUTHORITY_KEY) == 0o600
    assert second.mode(key_path("gateway")) == 0o640
    assert second.mode(f"{FOLDER}/gateway") == 0o755
    assert second.mode(keyring.RING) == 0o700
    newest = second.daemon.store.revisions()[0]
    assert newest.comment == f"restored from the backup of gw1.example.test of {backup.when}"
    assert [one.name for one in second.say(api.ListTokens, tuple[api.TokenFacts, ...])] == ["tool"]
    again = second.restore(backup.backup, check_only=True)
    assert not again.changed


def test_a_rollback_behind_a_restore_brings_the_settings_back(
    made: tuple[Appliance, api.Backup], second: Appliance
) -> None:
    before = second.revealed()
    done = second.restore(made[1].backup)
    second.say(api.Rollback, api.Committed, revision=done.revision - 1)
    assert second.revealed() == before


def test_to_check_says_what_would_change_and_changes_nothing(
    made: tuple[Appliance, api.Backup], second: Appliance
) -> None:
    tree, files, secrets = second.revealed(), second.identity(), second.secrets()
    found = second.restore(made[1].backup, check_only=True)
    changes = {change.path: change for change in found.changes}
    assert changes["hostname",].before == "gw2.example.test"
    assert changes["email", "password"].after == "********"
    assert {AUTHORITY, fleet_secret.OWN} <= set(found.files)
    assert (second.revealed(), second.identity(), second.secrets()) == (tree, files, secrets)
    assert second.daemon.store.journal() is None


@pytest.mark.parametrize(
    ("backup", "passphrase", "said"),
    [
        (None, "another long passphrase", "this passphrase does not open"),
        (None, "", "found a passphrase of 0 characters"),
        ("AAAA", PASSPHRASE, "no backup of this product"),
        ("!", PASSPHRASE, "no base64"),
        ("", PASSPHRASE, "no backup of this product"),
        ("cut", PASSPHRASE, "or one that was changed"),
        ("later", PASSPHRASE, "of a later version of the appliance; allowed: 1 to"),
        ("format", PASSPHRASE, "format 9; allowed: 1"),
        ("stranger", PASSPHRASE, "found the file '/etc/shadow'"),
        ("nonsense", PASSPHRASE, "payload that cannot be read"),
    ],
)
def test_what_is_no_backup_for_here_is_refused_and_nothing_is_changed(
    made: tuple[Appliance, api.Backup], second: Appliance, backup: str | None, passphrase: str, said: str
) -> None:
    whole = made[1].backup
    file = base64.b64decode(whole)
    given = {
        None: whole,
        "cut": base64.b64encode(file[:-1]).decode(),
        "later": sealed_again(file, schema=migrations.VERSION + 1),
        "format": base64.b64encode(file.replace(b'"format":1', b'"format":9', 1)).decode(),
        "stranger": sealed_again(file, more={"/etc/shadow": "root::"}),
        "nonsense": sealed_again(file, payload=b"{}"),
    }.get(backup, backup)
    assert given is not None
    tree, files, secrets = second.revealed(), second.identity(), second.secrets()
    for check_only in (True, False):
        refusal = refused(partial(second.restore, given, passphrase, check_only=check_only))
        assert refusal.kind == "invalid"
        assert said in refusal.message
    assert (second.revealed(), second.identity(), second.secrets()) == (tree, files, secrets)


def test_whose_the_files_are_says_the_table_and_not_the_backup() -> None:
    held = contents.Payload(tree={}, secrets={}, files=dict.fromkeys([*contents.PLACES, keyring.place("0" * 64)], "x"))
    found = contents.files(held, Box(Path("/nowhere")))
    assert found[key_path("gateway")] == File("x", mode=0o640, group="sentry-gateway")
    assert found[key_path("portal")] == File("x", mode=0o640, group="sentry-tls-proxy")
    assert found[pki.AUTHORITY_KEY] == found[keyring.place("0" * 64)] == File("x", mode=0o600)
    assert {path for path, file in found.items() if file.mode & 0o007} == {
        path for path in found if path.endswith(".pem") and "key" not in path
    }


def sealed_again(
    file: bytes,
    *,
    schema: int = migrations.VERSION,
    more: dict[str, str] | None = None,
    payload: bytes | None = None,
    tree: dict[str, Any] | None = None,
) -> str:
    """A backup that somebody with the passphrase has made of another."""
    header, packed = sealing.unseal(file, PASSPHRASE)
    held = contents.read(packed)
    held = msgspec.structs.replace(held, files=held.files | (more or {}), tree=tree or held.tree)
    data = payload or msgspec.json.encode(held)
    made = sealing.seal(data, PASSPHRASE, product=header.product, host=header.host, when=header.when, schema=schema)
    return base64.b64encode(made).decode()


def test_a_backup_of_an_older_schema_comes_through_the_migrations(
    made: tuple[Appliance, api.Backup], second: Appliance
) -> None:
    """Version 1 had the TLS of the portal below `portal`."""
    file = base64.b64decode(made[1].backup)
    held = contents.read(sealing.unseal(file, PASSPHRASE)[1])
    old = {key: value for key, value in held.tree.items() if key != "tls"}
    versions = {"minimum": "1.2", "maximum": "1.3"}
    old["portal"] = {**old["portal"], "tls": versions}
    second.restore(sealed_again(file, schema=1, tree=old))
    found = second.daemon.running()["tls"]["management"]
    assert {name: found[name] for name in versions} == versions
    assert "tls" not in second.daemon.running()["portal"]


def test_tokens_of_a_backup_do_not_come_where_there_have_been_tokens(
    made: tuple[Appliance, api.Backup], second: Appliance
) -> None:
    """One that was revoked since the backup was made must not be good again."""
    second.say(api.CreateToken, api.NewToken, name="own", role="auditor")
    second.say(api.RevokeToken, type(None), name="own")
    second.restore(made[1].backup)
    assert second.say(api.ListTokens, tuple[api.TokenFacts, ...]) == ()


def test_what_nobody_confirms_takes_the_files_that_it_brought_with_it(
    made: tuple[Appliance, api.Backup], second: Appliance
) -> None:
    tree, files = second.revealed(), second.identity()
    done = second.restore(made[1].backup, confirm_minutes=5)
    assert done.confirm_by
    assert second.identity() == made[0].identity()
    second.daemon.clock.now += 301
    second.daemon.watch.tick()
    assert second.revealed() == tree
    assert second.identity() == files
    assert second.say(api.ListTokens, tuple[api.TokenFacts, ...]) == ()


STEPS = (
    "vetted", "journal", f"brought {pki.AUTHORITY_KEY}", f"brought {fleet_secret.OWN}", f"brought {contents.TOKENS}",
    "reconciled", "reloaded", "probed", "kept", "running", "journal gone",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_the_middle_of_a_restore_it_is_the_old_appliance_or_the_new_one(
    made: tuple[Appliance, api.Backup], second: Appliance, step: str
) -> None:
    tree, files = second.revealed(), second.identity()
    second.daemon.crash_at = step
    with pytest.raises(Crash):
        second.restore(made[1].backup)
    assert step in second.daemon.steps
    again = Appliance(second.daemon.folder)
    new = step in ("running", "journal gone")
    assert again.revealed() == (made[0].revealed() if new else tree)
    assert again.identity() == (made[0].identity() if new else files)
    assert again.daemon.store.journal() is None


def test_neither_secrets_nor_the_passphrase_are_told_to_anybody(
    made: tuple[Appliance, api.Backup], second: Appliance, caplog: pytest.LogCaptureFixture
) -> None:
    backup = second.export()
    second.restore(made[1].backup)
    refused(lambda: second.restore(backup.backup, "wrong " + PASSPHRASE))
    entries = second.daemon.ledger.entries
    mine = [entry for entry in entries if entry.event.startswith("backup.")]
    assert [(entry.event, entry.result) for entry in mine] == [
        ("backup.export", "ok"),
        ("backup.restore", "ok"),
        ("backup.restore", "invalid"),
    ]
    shown = str(second.say(api.GetConfig, Any, path=())) + str(second.say(api.ListRevisions, Any))
    said = "".join(map(str, entries)) + caplog.text + shown
    key = (made[0].read(pki.AUTHORITY_KEY) or "").splitlines()[1]
    for canary in (PASSPHRASE, CANARY, key, backup.backup[:40], made[1].backup[-40:]):
        assert canary not in said
    file = base64.b64decode(backup.backup)
    assert b"gw2.example.test" in file.split(b"\n")[1]
    assert key.encode() not in file


def test_a_short_passphrase_makes_no_backup(second: Appliance) -> None:
    refusal = refused(lambda: second.say(api.ExportBackup, api.Backup, passphrase="short"))
    assert (refusal.kind, "15 to 512 printable characters" in refusal.message) == ("invalid", True)


def test_what_changed_since_it_was_checked_is_a_conflict(made: tuple[Appliance, api.Backup], second: Appliance) -> None:
    found = second.restore(made[1].backup, check_only=True)
    second.say(api.SetConfig, type(None), path=("banner", "text"), value="x")
    second.say(api.Commit)
    assert refused(lambda: second.restore(made[1].backup, digest=found.digest)).kind == "conflict"


def test_a_block_is_taken_as_it_was_printed(made: tuple[Appliance, api.Backup], second: Appliance) -> None:
    block = "\r\n".join(armour.armoured(made[1].backup))
    assert second.restore(block, check_only=True).changed
    assert masked(second.daemon.running())["hostname"] == "gw2.example.test"
