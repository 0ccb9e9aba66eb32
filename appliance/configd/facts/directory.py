"""The topic about the site's directory: whether each of its servers can be asked."""

from appliance.alerts.happening import plain
from appliance.configd import accounts
from appliance.configd.api import Table
from appliance.configd.facts.context import Context, Topic
from appliance.directory import api as directory_api

COLUMNS = ("server", "state", "seconds")


def directory(context: Context, _argument: str) -> Table:
    """Each server is dialled, and shown the appliance's own account where there is one. Raises `ControlError`."""
    said = accounts.directory(context.tree)
    if not said.asked:
        return Table(title="directory (none: no directory servers are set)", columns=COLUMNS, rows=())
    report: directory_api.Report = context.call(
        directory_api.SOCKET, directory_api.Look(), directory_api.Report, seconds=said.seconds
    )
    rows = tuple(
        (
            plain(one.server, directory_api.WORDS_CHARACTERS),
            f"FAILED: {plain(one.problem, directory_api.WORDS_CHARACTERS)}" if one.problem else "answers",
            f"{one.seconds:.2f}",
        )
        for one in report.servers
    )
    return Table(title="directory", columns=COLUMNS, rows=rows)


TOPICS = {"directory": Topic("whether the directory's servers can be asked", directory)}
