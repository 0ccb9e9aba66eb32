"""The topic of what waits to be fetched: support bundles and captures of packets."""

from appliance.apply import stamp
from appliance.configd.api import Table
from appliance.configd.facts.context import Context, Topic
from appliance.support.shelf import KEPT_SECONDS

COLUMNS = ("download", "what", "made", "until", "bytes")


def downloads(context: Context, _argument: str) -> Table:
    """The files that wait, newest first, and until when."""
    found = tuple(
        (one.name, one.kind, stamp(one.when), stamp(one.when + KEPT_SECONDS), str(one.size))
        for one in context.shelf.all()
    )
    return Table(title="downloads", columns=COLUMNS, rows=found)


TOPICS = {"downloads": Topic("files that wait to be fetched", downloads)}
