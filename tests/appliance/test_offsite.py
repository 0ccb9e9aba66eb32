"""Backups of the running appliance on their way to another machine: OpenSSH's own server at the lab's end of management."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import ssh_server
from tests.lab import Lab

pytestmark = pytest.mark.appliance

HERE = "10.98.2.1"  # the lab's end of the management network
PASSPHRASE = "a long enough passphrase"
PATIENCE_SECONDS = (
    90.0  # configd looks at what is to be kept every ten seconds, and at what is to be sent every fifteen
)


def privileged(lab: Lab, *lines: str) -> str:
    done = lab.cli("enable", lab.enable_secret, *lines)
    return done.stdout + done.stderr


def told(lab: Lab, line: str) -> Any:
    """What a command says as JSON."""
    return json.loads(lab.cli("enable", lab.enable_secret, f"{line} | json").stdout)


@pytest.fixture
def kept(lab: Lab) -> Iterator[None]:
    """The revision of before is committed again afterwards, whatever became of the test."""
    number = next(row["revision"] for row in told(lab, "show revisions")["rows"] if row["current"] == "*")
    yield
    privileged(lab, "configure terminal", f"rollback {number}")


@pytest.mark.usefixtures("kept")
def test_a_backup_is_sent_by_a_service_that_is_not_root_and_lies_there_as_it_lies_here(lab: Lab) -> None:
    with ssh_server.folder() as folder, ssh_server.serving(folder, host=HERE) as server:
        assert lab.root("systemctl", "is-active", "sentry-offsite.service", check=False).stdout.strip() == "inactive"
        privileged(
            lab,
            "configure terminal",
            "backup on_change true",
            "backup passphrase",
            PASSPHRASE,
            f"backup sftp vault host {HERE}",
            f"backup sftp vault port {server.port}",
            f"backup sftp vault user {server.user}",
            f'backup sftp vault host_keys "{server.host_key}"',
            "commit",
        )
        server.authorize("\n".join(told(lab, "show backup-key")["lines"]))
        deadline = time.monotonic() + PATIENCE_SECONDS
        revision = next(row["revision"] for row in told(lab, "show revisions")["rows"] if row["current"] == "*")
        while revision not in [row["revision"] for row in told(lab, "show backups")["rows"][:1]]:
            assert time.monotonic() < deadline, "no backup was made of this revision"
            time.sleep(1)
        privileged(lab, "backup send")
        name = told(lab, "show backups")["rows"][0]["name"]
        assert name in server.names(), server.log.read_text()
        here = lab.root("sha256sum", f"/var/lib/sentry/backups/{name}").stdout.split()[0]
        there = subprocess.run(["sha256sum", str(server.files / name)], capture_output=True, text=True, check=True)
        assert there.stdout.split()[0] == here
        (row,) = told(lab, "show backup-destinations")["rows"]
        assert (row["destination"], row["has"], row["state"]) == ("vault", name, "sent")
        owner = lab.root("ps", "-o", "user:32=", "-C", "sentry-offsite").stdout.split()
        assert set(owner) == {"sentry-offsite"}
