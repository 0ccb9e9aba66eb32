"""What configd reads of the running configuration for its own work: who may log in, and the sessions' bounds.

Before the first commit there is no configuration; then only automation (root) has a session, and the bounds are the
features' defaults.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from appliance.configd.api import Path, Role
from appliance.configd.client_certificates import Identity

ENABLE_PATH: Path = ("cli", "enable_secret_hash")
CLI_IDLE_MINUTES = 10  # V-250996
PORTAL_IDLE_MINUTES = 15  # V-250984
MAX_SESSIONS = 10  # the upper end of what V-250982 allows
FAILED_ATTEMPTS = 3  # V-250986
LOCK_SECONDS = 900
MAX_LENGTH = 128
REMEMBER = 5
CHANGE_HOURS = 24
LIFETIME_DAYS = 0
INACTIVE_DAYS = 0
SESSION_HOURS = 8
TIMEOUT_SECONDS = 5
TALKS = 4.0  # of `timeout_seconds` each that a talk with one server takes at most (`directory.bounds.OPERATIONS`)

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """What of the password policy libpwquality does not hold."""

    max_length: int
    remember: int
    change_hours: int
    lifetime_days: int
    inactive_days: int


def password_rules(tree: Tree) -> PasswordRules:
    """The rules of the running configuration."""
    policy = tree.get("users", {}).get("password_policy", {})
    return PasswordRules(
        max_length=int(policy.get("max_length", MAX_LENGTH)),
        remember=int(policy.get("remember", REMEMBER)),
        change_hours=int(policy.get("change_hours", CHANGE_HOURS)),
        lifetime_days=int(policy.get("lifetime_days", LIFETIME_DAYS)),
        inactive_days=int(policy.get("inactive_days", INACTIVE_DAYS)),
    )


def roles(tree: Tree) -> dict[str, Role]:
    """Every account of the configuration and its role."""
    return {name: cast("Role", account["role"]) for name, account in _accounts(tree).items()}


def credentials(tree: Tree) -> dict[str, frozenset[str]]:
    """What each account may show to get in: the reference to its password's hash, its keys, and what certificates name it by."""
    return {
        name: frozenset(filter(None, (account.get("password_hash"), *account.get("ssh_keys", ()), *_named(account))))
        for name, account in _accounts(tree).items()
    }


def identities(tree: Tree) -> dict[str, Identity]:
    """By what client certificates name each account."""
    return {
        name: Identity(edipi=str(account.get("edipi", "")), certificate=str(account.get("certificate", "")))
        for name, account in _accounts(tree).items()
    }


@dataclass(frozen=True, slots=True)
class CertificateLogin:
    """Whether and how people log in by certificate."""

    mode: str = "off"
    mapping: tuple[str, ...] = ()
    strict: bool = True
    fetched: bool = False
    """Whether the agent knows what has been revoked, by lists it fetches or a responder it asks."""


def certificate_login(tree: Tree) -> CertificateLogin:
    """What the running configuration says of it."""
    held = tree.get("portal", {}).get("certificate_login", {})
    revocation = held.get("revocation", {})
    return CertificateLogin(
        mode=str(held.get("mode", "off")),
        mapping=tuple(held.get("mapping", ())),
        strict=revocation.get("check", "strict") != "off",
        fetched=bool(revocation.get("crl_urls") or revocation.get("ocsp_url")),
    )


@dataclass(frozen=True, slots=True)
class Directory:
    """Whether people of the site's directory log in: for how many seconds it may be asked about one, the roles that its groups
    give, and what a session of such a person leans on: the settings as they are."""

    asked: bool = False
    seconds: float = 0.0
    roles: frozenset[Role] = frozenset()
    credentials: frozenset[str] = frozenset()


def directory(tree: Tree) -> Directory:
    """What the running configuration says of it."""
    held = tree.get("directory", {})
    if not held.get("servers"):
        return Directory()
    digest = hashlib.sha256(msgspec.json.encode(held, order="sorted")).hexdigest()
    return Directory(
        asked=True,
        seconds=len(held["servers"]) * TALKS * float(held.get("timeout_seconds", TIMEOUT_SECONDS)),
        roles=frozenset(cast("Role", group["role"]) for group in held["groups"].values()),
        credentials=frozenset({f"directory {digest}"}),
    )


def directory_session_seconds(tree: Tree) -> int:
    """For how long a session of a person of the directory stands."""
    return 3_600 * int(tree.get("directory", {}).get("session_hours", SESSION_HOURS))


def _named(account: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{field} {account[field]}" for field in ("edipi", "certificate") if account.get(field))


def _accounts(tree: Tree) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", tree.get("users", {}).get("accounts", {}))


def password_path(user: str) -> Path:
    """Where the hash of `user`'s password stands."""
    return ("users", "accounts", user, "password_hash")


def password_reference(tree: Tree, user: str) -> str | None:
    """The reference to the hash of `user`'s password; None where there is none."""
    found = _accounts(tree).get(user, {}).get("password_hash")
    return str(found) if found else None


def has_password(tree: Tree, user: str) -> bool:
    """Whether the account has a password."""
    return bool(_accounts(tree).get(user, {}).get("password_hash"))


def enable_reference(tree: Tree) -> str | None:
    """The reference to the hash of the enable secret; None when none is set."""
    found = tree.get(ENABLE_PATH[0], {}).get(ENABLE_PATH[1])
    return str(found) if found else None


def cli_idle_seconds(tree: Tree) -> int:
    """How long a CLI session may be idle."""
    return 60 * int(tree.get("cli", {}).get("idle_minutes", CLI_IDLE_MINUTES))


def portal_idle_seconds(tree: Tree) -> int:
    """How long a portal session may be idle."""
    return 60 * int(tree.get("portal", {}).get("idle_minutes", PORTAL_IDLE_MINUTES))


def max_sessions(tree: Tree) -> int:
    """How many CLI sessions may be open at once (V-250982)."""
    return int(tree.get("ssh", {}).get("max_sessions", MAX_SESSIONS))


def failed_attempts(tree: Tree) -> int:
    """After how many failures a log-in or `enable` is locked (V-250986)."""
    return int(tree.get("users", {}).get("password_policy", {}).get("failed_attempts", FAILED_ATTEMPTS))


def lock_seconds(tree: Tree) -> int:
    """How long it stays locked, and within which time failures count."""
    return int(tree.get("users", {}).get("password_policy", {}).get("lock_seconds", LOCK_SECONDS))
