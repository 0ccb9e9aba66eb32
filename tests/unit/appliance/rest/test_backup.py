"""Backups over REST: who may have one, and the way back."""

from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.rest.conftest import Stand

BACKUP = "/api/v1/backup"
CONFIG = "/api/v1/config"
PASSPHRASE = "a long enough passphrase"
ENABLE = {"Sentry-Enable-Secret": SECRET}


def test_a_backup_is_made_checked_and_restored(stand: Stand) -> None:
    token = stand.token(scopes=("read", "configure", "accounts"))
    made = stand.ask("POST", f"{BACKUP}/export", token, {"passphrase": PASSPHRASE})
    assert (made.status, made.json["host"]) == (200, "gw1.example.test")
    before = stand.ask("GET", CONFIG, token)
    patch = {"ntp": {"servers": ["192.0.2.9", "192.0.2.10"]}}
    assert stand.ask("PATCH", CONFIG, token, patch).status == 200
    asked = {"backup": made.json["backup"], "passphrase": PASSPHRASE}
    checked = stand.ask("POST", f"{BACKUP}/restore", token, {**asked, "check_only": True})
    assert [change["path"] for change in checked.json["changes"]] == [["ntp", "servers"]]
    assert stand.ask("GET", CONFIG, token).json["ntp"] != before.json["ntp"]
    done = stand.ask("POST", f"{BACKUP}/restore", token, {**asked, "digest": checked.json["digest"]})
    assert (done.status, done.json["revision"]) == (200, 3)
    assert stand.ask("GET", CONFIG, token).json == before.json
    late = stand.ask("POST", f"{BACKUP}/restore", token, {**asked, "digest": "0" * 64})
    assert late.status == 409


def test_the_enable_secret_or_a_token_for_accounts_is_needed(stand: Stand) -> None:
    """Whoever has a backup and its passphrase has every key of the appliance."""
    asked = {"passphrase": PASSPHRASE}
    token = stand.token(scopes=("read", "configure"))
    assert stand.ask("POST", f"{BACKUP}/export", token, asked).status == 403
    assert stand.ask("POST", f"{BACKUP}/export", token, asked, headers=ENABLE).status == 200
    reader = stand.token("reader", "auditor")
    assert stand.ask("POST", f"{BACKUP}/export", reader, asked, headers=ENABLE).status == 403


def test_what_is_no_backup_is_a_problem_that_says_so(stand: Stand) -> None:
    token = stand.token(scopes=("configure", "accounts"))
    answer = stand.ask("POST", f"{BACKUP}/restore", token, {"backup": "AAAA", "passphrase": PASSPHRASE})
    assert answer.status == 422
    assert "no backup of this product" in answer.json["detail"]
    assert stand.ask("POST", f"{BACKUP}/export", token, {"passphrase": "short"}).status == 422
