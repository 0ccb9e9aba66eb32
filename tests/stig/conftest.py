"""What the tests of scans share: the lab as an auditor sees it."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from images.run import run
from tests.lab import Lab, Ssh

AUDITOR = "assessor"


@pytest.fixture(scope="module")
def auditor(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab as an account of the role auditor sees it; the account is gone afterwards."""
    folder = tmp_path_factory.mktemp("auditor")
    enter = ("enable", lab.enable_secret)
    rows = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in rows if row["current"] == "*")
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", AUDITOR, "-f", folder / "key"])
    key = (folder / "key.pub").read_text(encoding="utf-8").strip()
    account = f"users accounts {AUDITOR}"
    lab.cli(*enter, "configure terminal", f"{account} role auditor", f'{account} ssh_keys "{key}"', "commit")
    try:
        yield replace(lab, ssh=Ssh(AUDITOR, lab.ssh.port, folder / "key"))
    finally:
        lab.cli(*enter, "configure terminal", f"rollback {number}")
