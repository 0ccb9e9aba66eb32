"""Administrators and the rules for their passwords; `appliance.features.accounts` keeps the Unix accounts in step."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.features import accounts, values
from appliance.features.base import Feature, File, Problem, Tree
from appliance.features.template import filled

ROLES = ("administrator", "operator", "auditor")
ACCOUNTS = 64
KEYS_PER_ACCOUNT = 8
LONGEST_PASSWORD = 256  # libxcrypt takes 511 bytes; a character has up to four, but nobody types them by the hundred
KEYS_FOLDER = "/etc/ssh/authorized_keys.d"
ACCOUNT_NAME = (
    "a lower-case letter, then up to 30 of a-z, 0-9, - and _; not a name of the system (root, builder, sentry-...)"
)

# Debian's fixed accounts (base-passwd, systemd, the packages of the appliance) and the automation account.
# fmt: off
RESERVED = frozenset(
    (
        "root", "builder", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp",
        "proxy", "www-data", "backup", "list", "irc", "nobody", "_apt", "_chrony", "sshd", "messagebus",
        "syslog", "polkitd", "dnsmasq", "postfix", "adm", "tty", "disk", "kmem", "dialout", "fax", "voice",
        "cdrom", "floppy", "tape", "sudo", "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl",
        "plugdev", "staff", "users", "nogroup", "input", "sgx", "clock", "kvm", "render", "crontab", "_ssh"
    )
)
# fmt: on
EDIPI = 'ten digits in quotes, such as "1234567890"'
_EDIPI = re.compile(r"([0-9]{10})?")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


def _is_account_name(name: str) -> bool:
    taken = name in RESERVED or name.startswith(("sentry-", "systemd-"))
    return _NAME.fullmatch(name) is not None and not taken


def ways_in(tree: Tree, account: Mapping[str, Any]) -> frozenset[str]:
    """The ways `account` may log in over SSH: each of its keys, and the word `password`."""
    by_password = account.get("password_hash") and tree["ssh"]["password_authentication"]
    return frozenset((*account["ssh_keys"], *(("password",) if by_password else ())))


def verify(tree: Tree) -> Iterable[Problem]:
    """Nobody without a way to log in, and never an appliance that nobody may administer."""
    held, policy = tree["users"]["accounts"], tree["users"]["password_policy"]
    if policy["max_length"] < policy["min_length"]:
        found = f"{policy['max_length']}, which is below min_length {policy['min_length']}"
        yield Problem("users.password_policy.max_length", found, "a length that is not below the least one")
    yield from _verify_lifetime(policy)
    for name, account in held.items():
        if not account.get("password_hash") and not account["ssh_keys"]:
            yield Problem(f"users.accounts.{name}", "neither password_hash nor ssh_keys", "at least one of the two")
    administrators = [account for account in held.values() if account["role"] == "administrator"]
    if not administrators:
        yield Problem("users.accounts", "no account with role administrator", "at least one")
    elif not any(ways_in(tree, account) for account in administrators):
        yield Problem(
            "users.accounts",
            "no administrator who could log in over SSH",
            "at least one with ssh_keys, or with password_hash while ssh.password_authentication is true",
        )


def _verify_lifetime(policy: Mapping[str, Any]) -> Iterable[Problem]:
    """Whose password has ended must be able to set another one, and must not set the same."""
    if not policy["lifetime_days"]:
        return
    if policy["lifetime_days"] * accounts.DAY_HOURS <= policy["change_hours"]:
        found = f"{policy['lifetime_days']}, and change_hours {policy['change_hours']}"
        yield Problem("users.password_policy.lifetime_days", found, "more than change_hours")
    if not policy["remember"]:
        allowed = "at least 1, since passwords end (lifetime_days)"
        yield Problem("users.password_policy.remember", "0", allowed)


def render(tree: Tree) -> Mapping[str, File]:
    """The password rules, the lock-out and each account's keys. The files of keys are root's, so that no account can give
    itself another key."""
    policy = tree["users"]["password_policy"]
    files = {
        "/etc/security/pwquality.conf": File(filled("pwquality.conf.j2", policy=policy)),
        "/etc/security/faillock.conf": File(filled("faillock.conf.j2", policy=policy)),
    }
    for name, account in tree["users"]["accounts"].items():
        if account["ssh_keys"]:
            files[f"{KEYS_FOLDER}/{name}"] = File("".join(f"{key}\n" for key in account["ssh_keys"]))
    return files


PASSWORD_POLICY = values.group(
    "Password policy",
    "The rules for administrators' passwords and the lock-out after wrong ones.",
    min_length=values.number("Minimum length", "V-250989 asks for 15.", low=8, high=128, default=15),
    max_length=values.number(
        "Maximum length", "The longest one that may be set.", low=16, high=LONGEST_PASSWORD, default=128
    ),
    min_classes=values.number(
        "Minimum character classes",
        "How many of the four kinds below there must be, whichever they are; beside those that are asked for one by one.",
        low=1,
        high=4,
        default=1,
    ),
    upper=values.switch("Upper-case letter", "At least one (V-250990).", default=True),
    lower=values.switch("Lower-case letter", "At least one (V-250991).", default=True),
    digit=values.switch("Digit", "At least one (V-250992).", default=True),
    special=values.switch("Special character", "At least one (V-250993).", default=True),
    different=values.number(
        "Different characters", "How many must not be in the password before.", low=0, high=64, default=8
    ),
    remember=values.number(
        "History",
        "How many of an account's last passwords must not be set again; 0: any may.",
        low=0,
        high=24,
        default=5,
    ),
    change_hours=values.number(
        "Hours between changes",
        "How long one keeps a password before one may change it oneself; another administrator may at any time. 0: at once.",
        low=0,
        high=168,
        default=24,
    ),
    lifetime_days=values.number(
        "Lifetime (days)",
        "How old a password may become; then its owner sets a new one at the next log-in, before anything else. 0: any age, as"
        " NIST SP 800-63B has it. SENTRY-OS-0112 asks for 60 at most.",
        low=0,
        high=365,
        default=0,
    ),
    inactive_days=values.number(
        "Lock after (days)",
        "After so many days without a log-in an account is locked, until another administrator gives it a new password or key;"
        " never the administrator who logged in last. 0: never. SENTRY-OS-0110 asks for 35 at most.",
        low=0,
        high=365,
        default=0,
    ),
    repeats=values.number("Repeated characters", "How often one may follow itself; 0: any.", low=0, high=16, default=3),
    failed_attempts=values.number(
        "Failed attempts", "Then the account is locked (V-250986: 3).", low=1, high=16, default=3
    ),
    lock_seconds=values.number(
        "Auto-lock time (seconds)",
        "How long a locked account stays so, and within which time the failures count (V-250986: at least 900).",
        low=60,
        high=3_600,
        default=900,
    ),
)

ACCOUNT = values.group(
    "Account",
    "One administrator: CLI over SSH 22 and portal.",
    role=values.described(
        {"type": "string", "allowed": list(ROLES)},
        "Role",
        "administrator: everything; operator: looks and acts on devices; auditor: looks.",
        required=True,
    ),
    full_name=values.line("Name", "For people.", characters=80, forbidden=":,", default=""),
    email=values.line("E-mail", "For people.", characters=254, forbidden=" :", default=""),
    edipi=values.described(
        {
            "type": "string",
            "check_with": values.check(_EDIPI.fullmatch, EDIPI),
            "meta": {"allowed": EDIPI},
        },
        "EDIPI",
        "The person's number on the smart card, which names the account (V-250994).",
        default="",
    ),
    certificate=values.line(
        "Certificate",
        "The user principal name or the subject (RFC 4514) of the person's certificate, for `portal.certificate_login` with such "
        "a mapping.",
        characters=320,
        default="",
    ),
    password_hash=values.described(
        values.HASH_KIND, "Password", "SHA-512 crypt hash. Without it: no portal, and SSH by key only."
    ),
    ssh_keys=values.several(
        values.SSH_KEY_KIND, "SSH keys", "Public keys that log in over SSH.", most=KEYS_PER_ACCOUNT, default=[]
    ),
)

FEATURE = Feature(
    name="users",
    label="Administrators",
    schema=values.group(
        "Administrators",
        "Local accounts and the rules for their passwords.",
        password_policy={**PASSWORD_POLICY, "default": {}},
        accounts=values.named(
            {
                "type": "string",
                "check_with": values.check(_is_account_name, ACCOUNT_NAME),
                "meta": {"allowed": ACCOUNT_NAME},
            },
            ACCOUNT,
            "Accounts",
            "By user name, which cannot be changed later.",
            least=1,
            most=ACCOUNTS,
            required=True,
        ),
    ),
    verify=verify,
    render=render,
    on_machine=accounts.strangers,
    reconcile=accounts.reconcile,
)
