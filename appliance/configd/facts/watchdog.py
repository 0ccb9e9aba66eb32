"""The topic of services that hung and were ended by systemd's watchdog."""

from appliance.apply import stamp
from appliance.configd.api import Table
from appliance.configd.facts.context import Context, Topic


def watchdog(context: Context, _argument: str) -> Table:
    """Those of which something is kept, newest first."""
    rows = tuple((f"{one.service}.service", stamp(one.when), one.name) for one in context.records.all())
    return Table(title="watchdog", columns=("service", "ended", "kept for a support bundle"), rows=rows)


TOPICS = {"watchdog": Topic("services that hung and were ended", watchdog)}
