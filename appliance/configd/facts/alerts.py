"""Topics about alerts: what the alert service has told and what waits, how it delivers, and which alerts there are."""

from appliance.alerts import api as alerts_api
from appliance.alerts.table import ALERTS
from appliance.apply import stamp
from appliance.configd.api import Facts, Table
from appliance.configd.facts.context import Context, Topic, word

COLUMNS = ("last", "alert", "about", "state", "times", "told", "what")


def _report(context: Context) -> alerts_api.Report:
    said: alerts_api.Report = context.call(alerts_api.SOCKET, alerts_api.Status(), alerts_api.Report)
    return said


def alerts(context: Context, _argument: str) -> Table:
    """What waits, and what was told, the newest first."""
    said = _report(context)
    waits = sum(row.how == "waits" for row in said.rows)
    more = [f"{waits} wait"] if waits else []
    more += [f"{said.lost} found no room"] if said.lost else []
    more += [f"no mail could be sent: {said.problem}"] if said.problem else []
    rows = tuple(
        (
            stamp(row.last),
            row.alert,
            row.subject,
            "over" if row.over else "raised",
            str(row.count),
            row.how,
            row.words,
        )
        for row in said.rows
    )
    return Table(title=f"alerts ({'; '.join(more)})" if more else "alerts", columns=COLUMNS, rows=rows)


def delivery(context: Context, _argument: str) -> Facts:
    """Who gets mail by which server, how often, and what became of the last one: what the running service goes by."""
    said = _report(context)
    facts = (
        ("mail server", said.server or "none"),
        ("from", said.sender or "nobody"),
        ("recipients", word(said.recipients) or "none"),
        ("mails per hour", str(said.per_hour)),
        ("batch interval (minutes)", str(said.batch_minutes)),
        ("mails in the last hour", str(said.sent_last_hour)),
        ("waiting", str(sum(row.how == "waits" for row in said.rows))),
        ("found no room", str(said.lost)),
        ("last answer", said.answer or "none yet"),
        ("problem", said.problem or "none"),
    )
    return Facts(title="alerts delivery", facts=facts)


def ids(context: Context, _argument: str) -> Table:
    """Every alert there is, and what the running service does with it."""
    actions = _report(context).actions
    rows = tuple(
        (name, alert.severity, actions.get(name, "unknown"), word(alert.rules), alert.what)
        for name, alert in ALERTS.items()
    )
    return Table(title="alerts ids", columns=("alert", "severity", "action", "STIG", "raised when"), rows=rows)


TOPICS = {
    "alerts": Topic("alerts that wait and that were told", alerts),
    "alerts-delivery": Topic("who gets alerts, and whether they arrive", delivery),
    "alerts-ids": Topic("the alerts there are, and what is done with each", ids),
}
