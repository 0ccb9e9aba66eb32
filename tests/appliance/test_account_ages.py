"""An account whose password is too old, and one that nobody has used, on the running appliance: over SSH and at the portal.

Time passes in what configd remembers and in the shadow file; the clock stays what it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from images.lab import secrets
from images.run import run
from tests.appliance.card_holder import SECONDS, enter_by_password
from tests.appliance.knocking import forget, knock
from tests.lab import Lab, Ssh

pytestmark = pytest.mark.appliance

NAME = "newcomer"
# Of the passwords that configd remembers the newest is the newcomer's.
AGE_PASSWORD = """
import json, pathlib
place = pathlib.Path("/var/lib/sentry/config/ages.json")
held = json.loads(place.read_text())
newest = max(held["passwords"], key=held["passwords"].get)
held["passwords"][newest] -= 61 * 86400
place.write_text(json.dumps(held))
"""
AGE_EVERYBODY = """
import json, pathlib
place = pathlib.Path("/var/lib/sentry/config/ages.json")
held = json.loads(place.read_text())
for use in held["uses"].values():
    use["unused"] -= 36 * 86400
    use["logged_in"] = use["unused"]
place.write_text(json.dumps(held))
"""
# What PAM answers as to an account that has shown who it is (Linux-PAM, _pam_types.h).
ASK_PAM = """
import ctypes, sys
class Talk(ctypes.Structure):
    _fields_ = [("says", ctypes.c_void_p), ("data", ctypes.c_void_p)]
pam, handle, silent = ctypes.CDLL("libpam.so.0"), ctypes.c_void_p(), 0x8000
assert pam.pam_start(b"login", sys.argv[1].encode(), ctypes.byref(Talk()), ctypes.byref(handle)) == 0
print(pam.pam_acct_mgmt(handle, silent))
"""
LETS_IN, ASKS_FOR_A_NEW_PASSWORD = "0", "12"
OTHER, AUTOMATION = "mechanic", "sentry-automation"


@dataclass(frozen=True)
class Newcomer:
    """An operator: the lab as they see it, and their password."""

    lab: Lab
    password: str


@pytest.fixture
def newcomer(lab: Lab, tmp_path: Path) -> Iterator[Newcomer]:
    """Their account is there, and passwords end after 60 days, accounts after 35; afterwards all is as before."""
    enter = ("enable", lab.enable_secret)
    rows = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in rows if row["current"] == "*")
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", NAME, "-f", tmp_path / "key"])
    key, password = (tmp_path / "key.pub").read_text(encoding="utf-8").strip(), secrets.password()
    lab.cli(
        *enter,
        "configure terminal",
        "users password_policy lifetime_days 60",
        "users password_policy inactive_days 35",
        "users password_policy change_hours 0",
        f"users accounts {NAME} role operator",
        f'users accounts {NAME} ssh_keys "{key}"',
        f"username {NAME} password",
        password,
        password,
        "commit",
    )
    try:
        yield Newcomer(replace(lab, ssh=Ssh(NAME, lab.ssh.port, tmp_path / "key")), password)
    finally:
        lab.cli(*enter, "configure terminal", f"rollback {number}")
        forget(lab)


def remembers(lab: Lab, change: str) -> None:
    """Have configd remember something else."""
    lab.root("systemctl", "stop", "sentry-configd.service")
    try:
        lab.root("python3", "-I", "-c", change)
    finally:
        lab.root("systemctl", "start", "sentry-configd.service")


def browser(lab: Lab, password: str) -> tuple[requests.Session, int]:
    """At the portal with this password, and how the log-in was answered."""
    session = lab.http()
    return session, enter_by_password(lab, session, NAME, password)[0]


def shadow(lab: Lab) -> list[str]:
    return lab.root("passwd", "-S", NAME).stdout.split()


def test_an_old_password_lets_in_to_set_a_new_one_and_to_nothing_else(newcomer: Newcomer, lab: Lab) -> None:
    """By whatever way: SSH by password and by key, and the portal. PAM has been told of its age, and lets configd decide."""
    assert newcomer.lab.cli("show version").code == 0  # configd knows of the account now
    assert shadow(lab)[3:5] == ["0", "60"]
    remembers(lab, AGE_PASSWORD)
    ended = datetime.now(UTC).date() - timedelta(days=61)
    for day in (ended.isoformat(), "2020-01-01"):  # ended, and longer ago than the account may stay unused
        lab.root("chage", "--lastday", day, NAME)
        assert knock(lab, newcomer.password, user=NAME)
    refused = newcomer.lab.cli("show version", check=False)
    assert (refused.code, refused.stdout) == (1, "")
    assert "older than it may be" in refused.stderr
    session, status = browser(lab, newcomer.password)
    assert status == 303
    page = session.get(f"{lab.portal_url}/devices", timeout=SECONDS, allow_redirects=False)
    assert (page.status_code, page.headers["Location"]) == (303, "/password")
    assert "your password is older than it may be" in session.get(f"{lab.portal_url}/password", timeout=SECONDS).text
    new = secrets.password()
    wrong = newcomer.lab.cli("password", "not the password", new, new, check=False)
    assert (wrong.code, "your present password is wrong" in wrong.stderr) == (1, True)
    assert "Your password is set" in newcomer.lab.cli("password", newcomer.password, new, new).stdout
    assert newcomer.lab.cli("show version").code == 0
    session, status = browser(lab, new)
    assert (status, session.get(f"{lab.portal_url}/devices", timeout=SECONDS).status_code) == (303, 200)
    assert browser(lab, newcomer.password)[1] == 401


def test_an_account_that_nobody_used_is_locked_and_the_last_administrator_is_not(newcomer: Newcomer, lab: Lab) -> None:
    assert newcomer.lab.cli("show version").code == 0
    assert shadow(lab)[6] == "35"
    remembers(lab, AGE_EVERYBODY)
    refused = newcomer.lab.cli("show version", check=False)
    assert (refused.code, refused.stdout) == (1, "")
    assert "this account is locked: nobody has logged in to it for 35 days" in refused.stderr
    assert browser(lab, newcomer.password)[1] == 401
    enter = ("enable", lab.enable_secret)  # the administrator comes after as long a time, and is let in
    table = json.loads(lab.cli(*enter, "show users | json").stdout)
    assert {row["user"]: row["locked"] for row in table["rows"]} == {"admin": "no", NAME: "yes"}
    new = secrets.password()
    lab.cli(*enter, "configure terminal", f"username {NAME} password", new, new, "commit")
    assert newcomer.lab.cli("show version").code == 0
    assert browser(lab, new)[1] == 303


@pytest.fixture
def mechanic(lab: Lab) -> Iterator[str]:
    """An account that is not of the configuration, as a host that was made an appliance has them; its password has ended."""
    lab.root("useradd", "--no-create-home", "--password", "$6$a$b", OTHER)
    try:
        lab.root("chage", "--maxdays", "60", "--inactive", "-1", "--lastday", "2020-01-01", OTHER)
        yield OTHER
    finally:
        lab.root("userdel", OTHER)


def test_pam_decides_itself_about_who_is_not_of_the_configuration(newcomer: Newcomer, mechanic: str, lab: Lab) -> None:
    assert newcomer.lab.cli("show version").code == 0

    def asked(name: str) -> str:
        return lab.root("python3", "-I", "-c", ASK_PAM, name).stdout.strip()

    assert (asked(NAME), asked(mechanic)) == (LETS_IN, ASKS_FOR_A_NEW_PASSWORD)
    lab.root("chage", "--lastday", "2020-01-01", NAME)
    assert asked(NAME) == LETS_IN
    lab.root("chage", "--expiredate", "1970-01-02", NAME)
    lab.root("chage", "--inactive", "35", mechanic)
    for name in (NAME, mechanic):
        assert asked(name) not in (LETS_IN, ASKS_FOR_A_NEW_PASSWORD)
    lab.root("usermod", "--append", "--groups", AUTOMATION, mechanic)  # who has a key alone cannot set a new one
    assert asked(mechanic) == LETS_IN
    lab.root("usermod", "--remove", "--groups", AUTOMATION, mechanic)
    lab.root("chage", "--lastday", "-1", mechanic)
    assert asked(mechanic) == LETS_IN
