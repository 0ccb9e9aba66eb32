"""Topics that put together what several parts of the product say."""

from collections.abc import Iterator

from appliance.apply import stamp
from appliance.configd import clock
from appliance.configd.api import Facts, Table
from appliance.configd.facts import sentry
from appliance.configd.facts.context import Context, Topic, word


def statistics(context: Context, _argument: str) -> Facts:
    """The counters of the gateway and of the agent."""
    parts = (("gateway", context.paths.gateway_control), ("agent", context.paths.agent_socket))
    found = [(f"{name}.{key}", value) for name, path in parts for key, value in sentry.said_by(context, path)]
    return Facts(title="statistics", facts=(("at", stamp(context.now)), *found))


def connectivity(context: Context, _argument: str) -> Table:
    """Everybody whom the appliance must reach, and whether it does."""
    rows = (*_uem(context), *_backends(context), *_time(context))
    return Table(title="connectivity", columns=("who", "where", "state", "since (s)", "problem"), rows=tuple(rows))


def _uem(context: Context) -> Iterator[tuple[str, ...]]:
    said = dict(sentry.said_by(context, context.paths.agent_socket))
    mode = str(context.setting("uem", "mode"))
    state = said.get("link", said.get("status", "unknown"))
    where = word(context.setting("uem", "addresses", default=[])) or mode
    yield "UEM", where, state, said.get("link_seconds", ""), said.get("link_problem", "")


def _backends(context: Context) -> Iterator[tuple[str, ...]]:
    table = sentry.backends(context, "")
    for row in table.rows:
        facts = dict(zip(table.columns, row, strict=True))
        yield f"backend {facts['name']}", f"{facts['host']}:{facts['port']}", facts["state"], "", ""


def _time(context: Context) -> Iterator[tuple[str, ...]]:
    server = clock.followed(context.attempt)
    servers = word(context.setting("ntp", "servers", default=[]))
    state = f"follows {server[0]} (stratum {server[1]})" if server else "follows none"
    yield "time servers", servers, state, "", ""


TOPICS = {
    "statistics": Topic("counters of the gateway and the agent", statistics),
    "connectivity": Topic("whether those are reached who must be", connectivity),
}
