"""Topics about the management plane: people, sessions, revisions and the audit trail."""

from appliance.apply import stamp
from appliance.audit import TAG, TALLY_TAG
from appliance.configd import accounts, ages
from appliance.configd.api import Facts, Table, Text
from appliance.configd.errors import refused
from appliance.configd.facts.context import LINES, Context, Topic, tail, word

# Anybody may claim a tag; unit and user the journal adds itself.
TRAIL = (
    f"SYSLOG_IDENTIFIER={TAG}",
    "_SYSTEMD_UNIT=sentry-configd.service",
    "+",  # or
    f"SYSLOG_IDENTIFIER={TALLY_TAG}",
    "_UID=0",
)
RUNTIME_LOG = "/var/log/sentry/audit.log"


def sessions(context: Context, _argument: str) -> Table:
    """Who is logged in."""
    found = tuple(
        (
            held.user,
            held.role,
            word(held.privileged),
            held.manner,
            held.source,
            f"{context.monotonic - held.opened:.0f}",
            f"{context.monotonic - held.touched:.0f}",
        )
        for held in context.sessions
    )
    columns = ("user", "role", "privileged", "by", "from", "open (s)", "idle (s)")
    return Table(title="sessions", columns=columns, rows=found)


def users(context: Context, _argument: str) -> Table:
    """The accounts of the configuration; of secrets, whether there is one, and until when a password may stay; when each was used
    last, and whether it is locked because that is too long ago."""
    held = context.setting("users", "accounts", default={})
    locked = ages.locked(context.ages, context.tree, context.now)
    found = tuple(
        (
            name,
            str(account.get("role", "")),
            str(account.get("full_name", "")),
            word(bool(account.get("password_hash"))),
            str(len(account.get("ssh_keys", ()))),
            _ends(context, name) if account.get("password_hash") else "",
            _used(context, name),
            word(name in locked),
        )
        for name, account in sorted(held.items())
    )
    columns = ("user", "role", "name", "password", "SSH keys", "password ends", "last log-in", "locked")
    return Table(title="users", columns=columns, rows=found)


def _ends(context: Context, user: str) -> str:
    seconds = ages.password_seconds(context.ages, context.tree, user, context.now)
    if seconds is None:
        return "never"
    return "has ended" if seconds <= 0 else stamp(context.now + seconds)


def _used(context: Context, user: str) -> str:
    use = context.ages.uses.get(user)
    return stamp(use.logged_in) if use is not None and use.logged_in else "never"


def timeout(context: Context, _argument: str) -> Facts:
    """After how long sessions end, and how many there may be."""
    tree = context.tree
    facts = (
        ("CLI session timeout (minutes)", str(accounts.cli_idle_seconds(tree) // 60)),
        ("portal session timeout (minutes)", str(accounts.portal_idle_seconds(tree) // 60)),
        ("CLI sessions at once", str(accounts.max_sessions(tree))),
    )
    return Facts(title="timeout", facts=facts)


def revisions(context: Context, _argument: str) -> Table:
    """The kept configurations, newest first."""
    found = tuple((str(one.number), one.when, one.user, one.comment, word(one.current)) for one in context.revisions)
    return Table(title="revisions", columns=("number", "when", "by", "comment", "running"), rows=found)


def confirmation(context: Context, _argument: str) -> Facts:
    """Whether a commit waits for confirmation."""
    pending = context.pending
    if pending is None:
        return Facts(title="confirmation", facts=(("waiting", "no"),))
    facts = (
        ("waiting", f"revision {pending.revision} by {pending.user}"),
        ("returns to", f"revision {pending.previous}"),
        ("at", stamp(pending.deadline)),
    )
    return Facts(title="confirmation", facts=facts)


def log(context: Context, argument: str) -> Text:
    """The last lines of the audit trail: the management plane's and log-ins, or with `gateway` the data plane's."""
    if argument not in ("", "gateway"):
        raise refused("invalid", f"found {argument!r} after log; allowed: gateway")
    if argument == "gateway":
        output = context.system.run(["tail", "-n", str(LINES), "--", RUNTIME_LOG])
    else:
        output = context.system.run(["journalctl", "--no-pager", "-o", "cat", "-n", str(LINES), *TRAIL])
    return Text(title="log", lines=tail(output) or ("nothing was logged yet",))


TOPICS = {
    "sessions": Topic("who is logged in", sessions),
    "users": Topic("accounts and roles", users),
    "timeout": Topic("idle times and session limits", timeout),
    "revisions": Topic("kept configurations", revisions),
    "confirmation": Topic("whether a commit waits for confirmation", confirmation),
    "log": Topic("the audit trail", log, argument="gateway"),
}
