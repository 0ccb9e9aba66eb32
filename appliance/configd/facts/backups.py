"""The topics about backups: those that lie on the appliance, and where copies of them are sent."""

from appliance.alerts.happening import plain
from appliance.apply import stamp
from appliance.configd.api import Table, Text
from appliance.configd.facts.context import Context, Topic
from appliance.features.base import Tree
from appliance.offsite import api as offsite_api

COLUMNS = ("name", "when", "revision", "bytes")
NO_KEY = "none yet: it is made once backups are sent somewhere (backup sftp, backup s3)"
DESTINATIONS = ("destination", "kind", "has", "since", "state")


def backups(context: Context, _argument: str) -> Table:
    """Those that lie here, newest first, and what kept the last one from being made."""
    rows = tuple(
        (one.name, stamp(one.when.timestamp()), str(one.revision), str(one.size)) for one in context.backups.all()
    )
    trouble = context.backups.trouble
    title = f"backups (the last one FAILED: {trouble})" if trouble else "backups"
    return Table(title=title, columns=COLUMNS, rows=rows)


def destinations(tree: Tree) -> dict[str, str]:
    """The names of where backups are sent, with their kind."""
    held = tree.get("backup", {})
    return {name: kind for kind in ("sftp", "s3") for name in held.get(kind, {})}


def report(context: Context) -> offsite_api.Report:
    """What the service that sends says. Raises `ControlError`."""
    said: offsite_api.Report = context.call(offsite_api.SOCKET, offsite_api.Status(), offsite_api.Report)
    return said


def sent(context: Context, _argument: str) -> Table:
    """Where backups are sent, which one lies there, and what keeps the newest from being sent."""
    names = destinations(context.tree)
    found = report(context).destinations if names else {}
    rows = tuple((name, kind, *_standing(found.get(name))) for name, kind in names.items())
    return Table(title="destinations of backups", columns=DESTINATIONS, rows=rows)


def _standing(now: offsite_api.Standing | None) -> tuple[str, str, str]:
    if now is None:
        return "", "", "not known to the service yet"
    since = stamp(now.sent_at) if now.sent_at else ""
    has = plain(now.sent, offsite_api.WORDS_CHARACTERS) or "none yet"
    if not now.problem:
        return has, since, "sent" if now.sent else "nothing was sent yet"
    words = plain(now.problem, offsite_api.WORDS_CHARACTERS)
    following = (
        f"next at {stamp(now.next_try)}" if now.next_try else "not tried again until the next backup, or `backup send`"
    )
    return has, since, f"FAILED {now.tries} times, last at {stamp(now.tried)}: {words}; {following}"


def key(context: Context, _argument: str) -> Text:
    """The public half of the key by which backups are sent to SFTP servers: for their `authorized_keys`."""
    line = NO_KEY
    if destinations(context.tree):
        line = plain(report(context).public_key, offsite_api.WORDS_CHARACTERS)
    return Text(title="key of backups", lines=(line,))


TOPICS = {
    "backups": Topic("backups that lie here, and whether the last one could be made", backups),
    "backup-destinations": Topic("where backups are sent, and whether they arrived", sent),
    "backup-key": Topic("the public key by which backups are sent to SFTP servers", key),
}
