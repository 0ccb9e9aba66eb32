"""The administrators' Unix accounts, brought in step with the configuration.

An account is ours when its login shell is the CLI and its primary group is `sentry-mgmt`; no other account is ever
changed or removed. Password hashes go to chpasswd(8) by its standard input, never into an argument list.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from appliance.features.base import Problem, System, Tree
from appliance.process import CommandError

GROUP = "sentry-mgmt"
SHELL = "/usr/lib/sentry/bin/sentry-cli"
HOME = "/"  # it exists, so sshd does not complain, and no administrator can leave a file in it
FIRST_UID = 1_000  # below are the accounts of the system
TALLY = "/run/sentry-tally"  # `appliance.tally` counts failed log-ins there, a file for each account
NO_PROCESS = 1  # pkill(1): nothing matched
DAY_HOURS = 24
NO_LIMIT = -1  # of shadow(5): an empty field
NO_PASSWORD = "*"  # noqa: S105 - crypt(5): matches no password, and unlike `!` does not mean a locked account


class AccountsError(RuntimeError):
    """The accounts of this machine are not in a state we may change; the message says which and why."""


class Days(NamedTuple):
    """How long a password lives at least and at most, and how long after that an account stays open (shadow(5))."""

    least: int
    most: int
    inactive: int


@dataclass(frozen=True, slots=True)
class Account:
    """One line of passwd(5) with the hash of shadow(5)."""

    name: str
    uid: int
    gid: int
    full_name: str
    shell: str
    password: str
    days: Days


def strangers(tree: Tree, system: System) -> tuple[Problem, ...]:
    """The accounts of the tree that this machine has for something else. Asked before anything is written: a file of keys
    alone would already open such an account."""
    gid = _group_id(system)
    foreign = {account.name for account in _accounts(system) if not _is_ours(account, gid)}
    return tuple(
        Problem(f"users.accounts.{name}", "an account this machine has for something else", "other names")
        for name in sorted(foreign.intersection(tree["users"]["accounts"]))
    )


def reconcile(tree: Tree, system: System) -> bool:
    """Add, change and remove until the accounts are those of the tree; says whether anything had to be done."""
    gid = _group_id(system)
    wanted: Mapping[str, Mapping[str, Any]] = tree["users"]["accounts"]
    present = {account.name: account for account in _accounts(system)}
    ours = {name for name, account in present.items() if _is_ours(account, gid)}
    if foreign := strangers(tree, system):
        raise AccountsError("; ".join(map(str, foreign)))
    for name in sorted(ours - set(wanted)):
        _remove(present[name], system)
    days = _days(tree)
    changed = [_bring(name, wanted[name], present.get(name), days, system) for name in sorted(wanted)]
    return any(changed) or bool(ours - set(wanted))


def _days(tree: Tree) -> Days:
    """The policy in whole days, as shadow(5) keeps it. configd holds it: the hours where passwords are set, the rest where
    sessions begin, which PAM lets begin for it. Here it stands for who reads the file (SENTRY-OS-0110, 0112 and 0113)."""
    policy = tree["users"]["password_policy"]
    hours: int = policy["change_hours"]
    return Days(-(-hours // DAY_HOURS), policy["lifetime_days"] or NO_LIMIT, policy["inactive_days"] or NO_LIMIT)


def _bring(name: str, wanted: Mapping[str, Any], present: Account | None, days: Days, system: System) -> bool:
    """Make one account what the configuration says."""
    changed = False
    if present is None:
        options = ["--no-create-home", "--no-user-group", "--gid", GROUP, "--home-dir", HOME, "--shell", SHELL]
        system.run(["useradd", *options, "--comment", wanted["full_name"], "--", name])
        changed = True
    elif present.full_name != wanted["full_name"]:
        system.run(["usermod", "--comment", wanted["full_name"], "--", name])
        changed = True
    reference = wanted.get("password_hash")
    password = system.secret(reference) if reference else NO_PASSWORD
    if present is None or present.password != password:
        system.run(["chpasswd", "--encrypted"], stdin=f"{name}:{password}\n")
        changed = True
    if present is None or present.days != days:
        least, most, inactive = map(str, days)
        system.run(["chage", "--mindays", least, "--maxdays", most, "--inactive", inactive, "--", name])
        changed = True
    return changed


def _remove(account: Account, system: System) -> None:
    # The count of failed log-ins would otherwise greet the next account of this name.
    system.run(["rm", "-f", "--", f"{TALLY}/{account.name}"])
    # --force: somebody who is still logged in does not keep the account.
    system.run(["userdel", "--force", "--", account.name])
    # The next account may get the same number, and with it whatever still runs under it.
    try:
        system.run(["pkill", "-KILL", "-U", str(account.uid)])
    except CommandError as error:
        if error.status != NO_PROCESS:
            raise


def _is_ours(account: Account, gid: int) -> bool:
    return account.shell == SHELL and account.gid == gid and account.uid >= FIRST_UID


def _group_id(system: System) -> int:
    for fields in _rows(system, "/etc/group", 4):
        if fields[0] == GROUP:
            return int(fields[2])
    raise AccountsError(f"there is no group {GROUP} on this machine; the role `management` makes it")


def _accounts(system: System) -> Iterator[Account]:
    kept = {row[0]: (row[1], row[3], row[4], row[6]) for row in _rows(system, "/etc/shadow", 9)}
    for name, _x, uid, gid, comment, _home, shell in _rows(system, "/etc/passwd", 7):
        password, least, most, inactive = kept.get(name, ("", "", "", ""))
        days = Days(int(least or 0), int(most or NO_LIMIT), int(inactive or NO_LIMIT))
        yield Account(name, int(uid), int(gid), comment, shell, password, days)


def _rows(system: System, path: str, fields: int) -> Iterator[list[str]]:
    for line in (system.read(path) or "").splitlines():
        row = line.split(":")
        if len(row) == fields:
            yield row
