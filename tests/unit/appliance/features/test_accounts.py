"""The administrators' Unix accounts: what is done to reach the configuration, and what is never touched."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import accounts
from appliance.features.accounts import AccountsError, reconcile
from appliance.features.base import Tree
from appliance.process import CommandError

HERE = Path(__file__).parent
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
sentry-portal:x:990:990::/nonexistent:/usr/sbin/nologin
builder:x:1000:1000::/home/builder:/bin/bash
"""
GROUP = """\
root:x:0:
sentry-mgmt:x:980:sentry-portal
"""
SHADOW = """\
root:!:20000:0:99999:7:::
sentry-portal:!:20000::::::
builder:!:20000:0:99999:7:::
"""


class Host:
    """A machine of three files, on which the account commands do what their manual pages say."""

    def __init__(self, passwd: str = PASSWD, group: str = GROUP, shadow: str = SHADOW) -> None:
        self.files = {"/etc/passwd": passwd, "/etc/group": group, "/etc/shadow": shadow}
        self.calls: list[list[str]] = []
        self.typed: list[str] = []
        self._uid = 1_001

    def read(self, path: str) -> str | None:
        """The text of one of the three files."""
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        """Every reference `secret:x` leads to the hash `$6$x`."""
        return f"$6${reference.removeprefix('secret:')}"

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """One of the commands."""
        self.calls.append(argv)
        name = argv[-1]
        if argv[0] == "useradd":
            row = [name, "x", str(self._uid), "980", argv[argv.index("--comment") + 1], "/", accounts.SHELL]
            self._uid += 1
            self.files["/etc/passwd"] += ":".join(row) + "\n"
            self.files["/etc/shadow"] += f"{name}:!:20000:0:99999:7:::\n"
        elif argv[0] == "usermod":
            self._replace("/etc/passwd", name, 4, argv[argv.index("--comment") + 1])
        elif argv[0] == "userdel":
            for path in ("/etc/passwd", "/etc/shadow"):
                rows = self.files[path].splitlines(keepends=True)
                self.files[path] = "".join(row for row in rows if not row.startswith(f"{name}:"))
        elif argv[0] == "chpasswd":
            self.typed.append(stdin or "")
            user, _, password = (stdin or "").strip().partition(":")
            self._replace("/etc/shadow", user, 1, password)
        elif argv[0] == "chage":
            self._replace("/etc/shadow", name, 3, argv[argv.index("--mindays") + 1])
            for word, place in (("--maxdays", 4), ("--inactive", 6)):
                days = argv[argv.index(word) + 1]
                self._replace("/etc/shadow", name, place, "" if days == "-1" else days)
        return ""

    def _replace(self, path: str, name: str, place: int, value: str) -> None:
        rows = [row.split(":") for row in self.files[path].splitlines()]
        for row in rows:
            if row[0] == name:
                row[place] = value
        self.files[path] = "".join(":".join(row) + "\n" for row in rows)

    @property
    def programs(self) -> list[str]:
        """The commands that ran, without their arguments."""
        return [argv[0] for argv in self.calls]

    def rows(self, path: str) -> dict[str, list[str]]:
        """The rows of one of the files by name."""
        return {row.split(":")[0]: row.split(":") for row in self.files[path].splitlines()}


POLICY = {"change_hours": 24, "lifetime_days": 0, "inactive_days": 0}


def tree(**held: dict[str, str]) -> Tree:
    """A tree with these accounts; what is not said is empty. A password lives for a day."""
    accounts_of = {name: {"full_name": "", **account} for name, account in held.items()}
    return {"users": {"accounts": accounts_of, "password_policy": POLICY}}


def test_a_new_administrator_gets_an_account_with_the_cli_as_shell_and_no_home() -> None:
    """Member of the management group, and of nothing else."""
    host = Host()
    assert reconcile(tree(maria={"full_name": "Maria Q", "password_hash": "secret:m"}), host)
    assert host.rows("/etc/passwd")["maria"][2:] == ["1001", "980", "Maria Q", "/", "/usr/lib/sentry/bin/sentry-cli"]
    assert host.rows("/etc/shadow")["maria"][1] == "$6$m"


def test_the_second_time_nothing_is_done() -> None:
    """No command runs when the accounts are what they should be."""
    host, wanted = Host(), tree(maria={"password_hash": "secret:m"}, key_only={})
    assert reconcile(wanted, host)
    before = len(host.calls)
    assert not reconcile(wanted, host)
    assert len(host.calls) == before


@pytest.mark.parametrize(("hours", "days"), [(24, "1"), (25, "2"), (1, "1"), (168, "7"), (0, "0")])
def test_the_shadow_file_says_for_how_many_days_a_password_lives(hours: int, days: str) -> None:
    """Whole days, never fewer than the policy's hours; accounts of an older version are brought in step."""
    host = Host()
    wanted = tree(maria={"password_hash": "secret:m"})
    reconcile(wanted, host)
    wanted = {"users": {**wanted["users"], "password_policy": {**POLICY, "change_hours": hours}}}
    assert reconcile(wanted, host) is (days != "1")
    assert host.rows("/etc/shadow")["maria"][3] == days
    assert not reconcile(wanted, host)


@pytest.mark.parametrize(("setting", "place"), [("lifetime_days", 4), ("inactive_days", 6)])
def test_the_shadow_file_says_how_old_a_password_may_become_and_how_long_unused(setting: str, place: int) -> None:
    """In the fields that SENTRY-OS-0112 and 0110 look at; without a limit a field is empty, whatever Debian has there."""
    host = Host()
    wanted = tree(maria={"password_hash": "secret:m"})
    reconcile(wanted, host)
    assert host.rows("/etc/shadow")["maria"][place] == ""
    for days, field in ((60, "60"), (0, "")):
        policy = {**POLICY, setting: days}
        assert reconcile({"users": {**wanted["users"], "password_policy": policy}}, host)
        assert host.rows("/etc/shadow")["maria"][place] == field
        assert not reconcile({"users": {**wanted["users"], "password_policy": policy}}, host)


def test_a_hash_is_never_an_argument() -> None:
    """Argument lists are for everybody to read; the hash goes by standard input."""
    host = Host()
    reconcile(tree(maria={"password_hash": "secret:m"}), host)
    assert host.typed == ["maria:$6$m\n"]
    assert not [word for argv in host.calls for word in argv if "$6$" in word or "secret:" in word]


def test_only_what_changed_is_changed() -> None:
    """A new password is a chpasswd, a new name a usermod, and neither makes the account anew."""
    host = Host()
    reconcile(tree(maria={"full_name": "M", "password_hash": "secret:1"}), host)
    host.calls.clear()
    assert reconcile(tree(maria={"full_name": "M", "password_hash": "secret:2"}), host)
    assert reconcile(tree(maria={"full_name": "Maria", "password_hash": "secret:2"}), host)
    assert host.programs == ["chpasswd", "usermod"]


def test_a_password_that_goes_leaves_an_account_for_keys_only() -> None:
    """`*` matches no password; `!` would lock the account against keys as well."""
    host = Host()
    reconcile(tree(maria={"password_hash": "secret:1"}), host)
    assert reconcile(tree(maria={}), host)
    assert host.rows("/etc/shadow")["maria"][1] == "*"


def test_a_removed_administrator_is_gone_with_the_count_of_failures() -> None:
    """Somebody of the same name later starts afresh."""
    host = Host()
    reconcile(tree(maria={}, ada={}), host)
    host.calls.clear()
    assert reconcile(tree(ada={}), host)
    assert host.calls == [
        ["rm", "-f", "--", "/run/sentry-tally/maria"],
        ["userdel", "--force", "--", "maria"],
        ["pkill", "-KILL", "-U", "1002"],
    ]
    assert "maria" not in host.files["/etc/passwd"]


@pytest.mark.parametrize(("status", "is_fine"), [(1, True), (2, False)])
def test_an_account_without_processes_is_no_error_and_a_pkill_that_fails_is(status: int, is_fine: bool) -> None:  # noqa: FBT001 - a table's column
    """pkill says 1 when nothing matched, more when it could not look."""
    host = Host()
    reconcile(tree(maria={}, ada={}), host)
    run = host.run

    def nothing_to_kill(argv: list[str], *, stdin: str | None = None) -> str:
        if argv[0] == "pkill":
            raise CommandError(argv, status, "")
        return run(argv, stdin=stdin)

    host.run = nothing_to_kill  # type: ignore[method-assign]
    with nullcontext() if is_fine else pytest.raises(CommandError):
        assert reconcile(tree(ada={}), host)


def test_the_old_tree_undoes_what_the_new_one_did() -> None:
    """A rollback is the same function with the tree before."""
    host = Host()
    old = tree(ada={"full_name": "Ada", "password_hash": "secret:a"})
    reconcile(old, host)
    before = (host.rows("/etc/passwd").keys(), host.rows("/etc/shadow")["ada"][1])
    reconcile(tree(ada={"password_hash": "secret:b"}, maria={}), host)
    reconcile(old, host)
    assert (host.rows("/etc/passwd").keys(), host.rows("/etc/shadow")["ada"][1]) == before


STRANGERS = (
    "zoe:x:1005:1005:another group:/home/zoe:/usr/lib/sentry/bin/sentry-cli",
    "zoe:x:1005:980:another shell:/home/zoe:/bin/bash",
    "zoe:x:205:980:of the system:/:/usr/lib/sentry/bin/sentry-cli",
)


@pytest.mark.parametrize("row", STRANGERS)
def test_an_account_we_did_not_make_is_neither_taken_over_nor_removed(row: str) -> None:
    """Another group, shell or range of numbers: it is somebody else's."""
    host = Host(passwd=f"{PASSWD}{row}\n", shadow=f"{SHADOW}zoe:$6$own:20000::::::\n")
    reconcile(tree(ada={}), host)
    with pytest.raises(
        AccountsError, match=r"users\.accounts\.zoe: found an account this machine has for something else"
    ):
        reconcile(tree(ada={}, zoe={"password_hash": "secret:z"}), host)
    assert host.rows("/etc/shadow")["zoe"][1] == "$6$own"
    assert row in host.files["/etc/passwd"]


def test_a_conflict_is_seen_before_anything_is_changed() -> None:
    """No account is removed on the way to an error."""
    host = Host()
    reconcile(tree(ada={}), host)
    host.calls.clear()
    with pytest.raises(AccountsError):
        reconcile(tree(builder={}), host)
    assert host.calls == []


def test_a_machine_without_the_group_says_who_should_have_made_it() -> None:
    """Instead of a useradd that fails in its own words."""
    with pytest.raises(AccountsError, match=r"no group sentry-mgmt .* role"):
        reconcile(tree(ada={}), Host(group="root:x:0:\n"))


ACCOUNTS = st.dictionaries(
    st.sampled_from(["ada", "maria", "zoe", "kim"]),
    st.fixed_dictionaries(
        {"full_name": st.sampled_from(["", "Name"])},
        optional={"password_hash": st.sampled_from(["secret:1", "secret:2"])},
    ),
    min_size=1,
)


@given(st.lists(ACCOUNTS, min_size=1, max_size=5))
def test_whatever_was_before_the_machine_ends_as_configured(history: list[dict[str, dict[str, str]]]) -> None:
    """The accounts follow the last configuration alone; those of others are as they were."""
    host = Host()
    for held in history:
        reconcile(tree(**held), host)
    people = {name: row for name, row in host.rows("/etc/passwd").items() if row[6] == accounts.SHELL}
    assert people.keys() == history[-1].keys()
    for name, account in history[-1].items():
        assert people[name][4] == account["full_name"]
        wanted = account.get("password_hash", "").replace("secret:", "$6$") or "*"
        assert host.rows("/etc/shadow")[name][1] == wanted
    assert all(line in host.files["/etc/passwd"] for line in PASSWD.splitlines())


def test_the_real_commands_do_what_is_expected_of_them(tmp_path: Path) -> None:
    """useradd, usermod, chpasswd, userdel and pkill on an /etc of their own, in namespaces of their own."""
    (tmp_path / "etc").mkdir()
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("shadow", SHADOW), ("gshadow", ""), ("login.defs", "")):
        (tmp_path / "etc" / name).write_text(text)
    argv = [
        "unshare",
        "--map-root-user",
        "--mount",
        "--pid",  # what pkill finds is what the test started
        "--fork",
        "--mount-proc",
        sys.executable,
        str(HERE / "real_accounts.py"),
        str(tmp_path / "etc"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=HERE.parents[3], check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False", "True", "True", "False"]
    shadow = (tmp_path / "etc" / "shadow").read_text()
    assert "ada:$6$second:" in shadow
    assert "maria" not in shadow
    assert "ada:x:1001:980:Ada Two:/:/usr/lib/sentry/bin/sentry-cli" in (tmp_path / "etc" / "passwd").read_text()
