"""Alerts: who gets which, how often. The alert service's settings file, with the mail server that `email` sets."""

from collections.abc import Iterable, Mapping

import msgspec

from appliance.alerts.settings import SETTINGS_PATH, Server, Settings
from appliance.alerts.table import ACTIONS, ALERTS
from appliance.features import backends, email, service_file, values
from appliance.features.base import Feature, File, Problem, Tree, Unit
from appliance.features.values import Rules

FILE = str(SETTINGS_PATH)
GROUP = email.USER
RECIPIENTS = 16  # people; more have a list of their own at the mail server
PER_HOUR = 10
BATCH_MINUTES = 5
REFUSED_LOGINS = 10


def verify(tree: Tree) -> Iterable[Problem]:
    """Who gets mail needs a server that takes it."""
    if tree["alerts"]["recipients"] and "server" not in tree["email"]:
        yield Problem("email.server", "nothing", "a mail server, because there are alerts.recipients")


def settings(tree: Tree) -> Settings:
    """The service's settings; decoded from what will be written, so that a wrong value is seen here."""
    held = tree["alerts"]
    whole = Settings(
        host_name=tree["hostname"],
        server=_server(tree),
        recipients=tuple(held["recipients"]),
        per_hour=held["per_hour"],
        batch_minutes=held["batch_minutes"],
        actions={name: held["actions"].get(name, held["default_action"]) for name in ALERTS},
        disk_percent=held["disk_percent"],
        audit_disk_percent=held["audit_disk_percent"],
        refused_logins=held["refused_logins"],
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def _server(tree: Tree) -> Server | None:
    held = tree["email"]
    if "server" not in held:
        return None
    return Server(
        host=held["server"],
        port=held["port"],
        security=held["security"],
        trust=email.TRUST if "ca_certificates" in held else backends.SYSTEM_TRUST,
        sender=held["from"],
        account=held.get("account", ""),
        password_path=email.PASSWORD if "password" in held else "",
        minimum=held["tls_versions"]["minimum"],
        maximum=held["tls_versions"]["maximum"],
    )


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, indented for people, with a line end."""
    return {FILE: service_file.readable_by(GROUP, settings(tree))}


def _action(label: str, text: str, **rules: object) -> Rules:
    return values.described({"type": "string", "allowed": list(ACTIONS)}, label, text, **rules)


FEATURE = Feature(
    name="alerts",
    label="Alerts",
    default={},
    schema=values.group(
        "Alerts",
        "Who hears of what goes wrong. `show alerts ids` lists the alerts, `show alerts` what has happened.",
        recipients=values.several(
            email.ADDRESS_KIND,
            "Recipients",
            "Who gets mail: the ISSO, the ISSM and the SCA at least (V-251021, V-251035). Empty: nobody; alerts go to the "
            "system's log alone.",
            most=RECIPIENTS,
            default=[],
        ),
        per_hour=values.number(
            "Alerts per hour",
            "How many mails are sent within an hour; what comes beyond waits. The last one is kept for critical alerts.",
            low=1,
            high=60,
            default=PER_HOUR,
        ),
        batch_minutes=values.number(
            "Batch interval (minutes)",
            "How long alerts are gathered into one mail. Critical ones go at once, and take the others with them (V-250998).",
            low=0,
            high=60,
            default=BATCH_MINUTES,
        ),
        default_action=_action(
            "Default action",
            "What is done with an alert that has no action of its own. mail: also to the system's log.",
            default="mail",
        ),
        actions={
            **values.group(
                "Actions",
                "What is done with each alert, where it is not the default: mail, syslog only, or none.",
                **{name: _action(name, alert.what) for name, alert in ALERTS.items()},
            ),
            "default": {},
        },
        disk_percent=values.number(
            "Disks (percent)", "From when on a disk is nearly full.", low=50, high=99, default=90
        ),
        audit_disk_percent=values.number(
            "Disks of the audit trail (percent)",
            "From when on /var/log and /var/log/audit are nearly full.",
            low=50,
            high=99,
            default=75,
        ),
        refused_logins=values.number(
            "Refused log-ins",
            "How many log-ins, of whomever, must be refused within 15 minutes.",
            low=3,
            high=1_000,
            default=REFUSED_LOGINS,
        ),
    ),
    verify=verify,
    render=render,
    units=(Unit("sentry-alerts.service", "restart", (FILE, email.TRUST)),),
    facts=("alerts", "alerts-delivery", "alerts-ids"),
)
