"""Backups as an administrator has them at the command line: printed as a block, pasted back, shown, and asked about."""

import json
import subprocess
import sys

import pytest

from appliance.backup import armour
from tests.unit.appliance.cli.desk import ENVIRONMENT, HOST, SECRET, Configd, Dialogue, Run

PASSPHRASE = "a long enough passphrase"
ENTER = f"enable\n{SECRET}\n"
EXPORT = f"{ENTER}backup export\n{PASSPHRASE}\n{PASSPHRASE}\n"
CHANGE = f"{ENTER}configure terminal\nntp servers 192.0.2.8\ncommit\n"


def block(cli: Run) -> str:
    done = cli(stdin=EXPORT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def servers(configd: Configd) -> list[str]:
    found: list[str] = configd.daemon.running()["ntp"]["servers"]
    return found


def test_what_was_printed_is_pasted_back_and_runs_again(cli: Run, configd: Configd) -> None:
    printed = block(cli)
    assert printed.startswith(f"{armour.BEGIN}\n")
    assert printed.endswith(f"{armour.END}\n")
    before = servers(configd)
    assert cli(stdin=CHANGE).returncode == 0
    assert servers(configd) != before
    restore = f"{ENTER}backup restore\n{printed}{PASSPHRASE}\n"
    refused = cli(stdin=f"{restore}no\n")
    assert "Not done." in refused.stderr
    assert servers(configd) != before
    done = cli(stdin=f"{restore}yes\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "192.0.2.8" in done.stdout
    assert "is running." in done.stdout
    assert servers(configd) == before
    assert "Nothing is different" in cli(stdin=restore).stdout


def test_the_file_as_json(cli: Run) -> None:
    done = cli(stdin=EXPORT.replace("backup export", "backup export | json"))
    made = json.loads(done.stdout)
    assert made["host"] == "gw1.example.test"
    assert armour.decoded(made["backup"]).startswith(b"SENTRY-BACKUP\n")


def test_another_passphrase_and_another_text_are_refused(cli: Run, configd: Configd) -> None:
    printed = block(cli)
    wrong = cli(stdin=f"{ENTER}backup restore\n{printed}not the passphrase at all\n")
    assert "this passphrase does not open" in wrong.stderr
    assert "allowed: -----BEGIN SENTRY BACKUP-----" in cli(stdin=f"{ENTER}backup restore\nnonsense\n").stderr
    two = cli(stdin=f"{ENTER}backup export\n{PASSPHRASE}\nanother long passphrase\n")
    assert "The two are not the same" in two.stderr
    assert len(configd.daemon.store.revisions()) == 1


def test_the_passphrase_is_not_shown_at_a_terminal(dialogue: Dialogue) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("enable", r"secret:\s*$")
    dialogue.answer(SECRET)
    dialogue.do("backup export", r"Passphrase of the backup:\s*$")
    dialogue.send(f"{PASSPHRASE}\r")
    dialogue.expect(r"more:\s*$")
    assert armour.END in dialogue.answer(PASSPHRASE)
    assert PASSPHRASE not in dialogue.raw
    assert "*" not in dialogue.raw


@pytest.mark.parametrize("pasted", ["\r", "\n"], ids=["line by line", "in one piece"])
def test_a_person_pastes_a_block_and_is_asked(dialogue: Dialogue, cli: Run, configd: Configd, pasted: str) -> None:
    printed = block(cli)
    assert cli(stdin=CHANGE).returncode == 0
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("enable", r"secret:\s*$")
    dialogue.answer(SECRET)
    dialogue.do("backup restore", r"END SENTRY BACKUP-----\.\s*$")
    text = pasted.join(printed.strip().splitlines())
    dialogue.send(f"\x1b[200~{text}\x1b[201~\r" if pasted == "\n" else f"{text}\r")
    dialogue.expect(r"Passphrase of the backup:\s*$")
    dialogue.send(f"{PASSPHRASE}\r")
    assert "192.0.2.8" in dialogue.expect(r"(?s)Passphrase.*no\]\s*$")
    assert "is running." in dialogue.answer("yes")
    assert "192.0.2.8" not in servers(configd)


def test_the_command_line_starts_without_a_cipher() -> None:
    """Each SSH command starts it anew; what takes long to load is configd's."""
    program = "import sys, appliance.cli.table; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=False).returncode == 0
