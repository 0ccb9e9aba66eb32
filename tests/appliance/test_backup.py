"""Backups of the running appliance, by the command line and over REST: what was changed since is as before again."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

from images.run import CommandError
from tests.lab import Lab

pytestmark = pytest.mark.appliance

PASSPHRASE = "a long enough passphrase"
NAME = "backups"
OTHER = "10.98.2.78"  # nobody's; chrony does not run in a container, and asks nobody
TIMEOUT = 120.0
PATIENCE_SECONDS = 60.0  # configd looks every ten
IDENTITY = ("ca.pem", "ca.key", "gateway/key.pem", "portal/key.pem", "gateway/fleet.key")


def privileged(lab: Lab, *lines: str, check: bool = True) -> str:
    done = lab.cli("enable", lab.enable_secret, *lines, check=check)
    return done.stdout + done.stderr


def block(lab: Lab, *lines: str) -> list[str]:
    """The backup that a command prints; what it tells people beside it stands on standard error."""
    return lab.cli("enable", lab.enable_secret, *lines).stdout.strip().splitlines()


def told(lab: Lab, line: str) -> Any:
    """What a command says as JSON."""
    return json.loads(lab.cli("enable", lab.enable_secret, f"{line} | json").stdout)


def servers(lab: Lab) -> list[str]:
    found: list[str] = told(lab, "show running-config")["ntp"]["servers"]
    return found


def changed(lab: Lab) -> None:
    privileged(lab, "configure terminal", f"ntp servers {OTHER}", "commit comment to be undone by a backup")
    assert OTHER in servers(lab)
    assert OTHER in lab.root("cat", "/etc/chrony/chrony.conf").stdout


def digests(lab: Lab) -> str:
    return lab.root("sha256sum", *(f"/var/lib/sentry/tls/{name}" for name in IDENTITY)).stdout


@pytest.fixture
def kept(lab: Lab) -> Iterator[None]:
    """The revision of before is committed again afterwards, whatever became of the test."""
    rows = told(lab, "show revisions")["rows"]
    number = next(row["revision"] for row in rows if row["current"] == "*")
    yield
    privileged(lab, "configure terminal", f"rollback {number}")


@pytest.fixture
def token(lab: Lab) -> Iterator[str]:
    """A token for the same over REST."""
    with suppress(CommandError):
        privileged(lab, f"token revoke {NAME}")
    line = f"token create {NAME} administrator scopes read,configure,accounts days 1"
    yield str(told(lab, line)["token"])
    privileged(lab, f"token revoke {NAME}")


def test_a_backup_that_was_printed_is_pasted_back(lab: Lab, kept: None) -> None:
    """In FIPS mode, by the machine's own OpenSSL; another passphrase opens nothing."""
    before, identity = servers(lab), digests(lab)
    printed = block(lab, "backup export", PASSPHRASE, PASSPHRASE)
    assert (printed[0], printed[-1]) == ("-----BEGIN SENTRY BACKUP-----", "-----END SENTRY BACKUP-----")
    changed(lab)
    wrong = privileged(lab, "backup restore", *printed, f"not the {PASSPHRASE}", check=False)
    assert "this passphrase does not open" in wrong
    assert OTHER in servers(lab)
    done = privileged(lab, "backup restore", *printed, PASSPHRASE, "yes")
    assert OTHER in done
    assert "is running." in done
    assert servers(lab) == before
    assert OTHER not in lab.root("cat", "/etc/chrony/chrony.conf").stdout
    assert digests(lab) == identity
    rows = told(lab, "show revisions")["rows"]
    assert "restored from the backup of gateway.lab.test of " in rows[0]["comment"]
    trail = lab.root("tail", "-n", "500", "/var/log/auth.log").stdout
    assert '"event":"backup.export"' in trail
    assert '"event":"backup.restore"' in trail
    assert PASSPHRASE not in trail
    assert PASSPHRASE not in lab.root("journalctl", "-u", "sentry-configd", "-n", "200", "-o", "cat").stdout


def test_the_same_over_rest(lab: Lab, kept: None, token: str) -> None:
    def ask(path: str, body: dict[str, Any]) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with lab.http() as session:
            url = f"{lab.portal_url}/api/v1/backup/{path}"
            return session.post(url, data=json.dumps(body), headers=headers, timeout=TIMEOUT)

    before = servers(lab)
    made = ask("export", {"passphrase": PASSPHRASE})
    assert made.status_code == 200, made.text
    changed(lab)
    asked = {"backup": made.json()["backup"], "passphrase": PASSPHRASE}
    refused = ask("restore", {**asked, "passphrase": f"not the {PASSPHRASE}"})
    assert (refused.status_code, "this passphrase does not open" in refused.text) == (422, True)
    checked = ask("restore", {**asked, "check_only": True})
    assert [change["path"] for change in checked.json()["changes"]] == [["ntp", "servers"]]
    assert OTHER in servers(lab)
    done = ask("restore", {**asked, "digest": checked.json()["digest"]})
    assert done.status_code == 200, done.text
    assert servers(lab) == before


def kept_here(lab: Lab) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(lab.cli("show backups | json").stdout)["rows"]
    return found


def test_the_appliance_keeps_one_by_itself_and_gives_it_out(lab: Lab, kept: None) -> None:
    lines = ("backup on_change true", "backup passphrase", PASSPHRASE, "commit")
    privileged(lab, "configure terminal", *lines)
    rows = told(lab, "show revisions")["rows"]
    running = str(next(row["revision"] for row in rows if row["current"] == "*"))
    until = time.monotonic() + PATIENCE_SECONDS
    while running not in [row["revision"] for row in kept_here(lab)]:
        assert time.monotonic() < until
        time.sleep(1.0)
    name = kept_here(lab)[0]["name"]
    folder = "/var/lib/sentry/backups"
    said = lab.root("stat", "-c", "%a %U:%G", folder, f"{folder}/{name}").stdout.splitlines()
    assert said == ["700 root:root", "600 root:root"]
    printed = block(lab, f"backup export {name}")
    assert "Nothing is different" in privileged(lab, "backup restore", *printed, PASSPHRASE)
    trail = lab.root("tail", "-n", "500", "/var/log/auth.log").stdout
    assert '"event":"backup.kept"' in trail
    assert PASSPHRASE not in trail
