"""The topic about backups that lie on the appliance."""

from appliance.apply import stamp
from appliance.configd.api import Table
from appliance.configd.facts.context import Context, Topic

COLUMNS = ("name", "when", "revision", "bytes")


def backups(context: Context, _argument: str) -> Table:
    """Those that lie here, newest first, and what kept the last one from being made."""
    rows = tuple(
        (one.name, stamp(one.when.timestamp()), str(one.revision), str(one.size)) for one in context.backups.all()
    )
    trouble = context.backups.trouble
    title = f"backups (the last one FAILED: {trouble})" if trouble else "backups"
    return Table(title=title, columns=COLUMNS, rows=rows)


TOPICS = {"backups": Topic("backups that lie here, and whether the last one could be made", backups)}
