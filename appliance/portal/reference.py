"""The portal's reference, with every route and its roles: `python -m appliance.portal.reference > docs/portal.md`."""

import sys

from appliance.config.schema import Schema
from appliance.features import FEATURES
from appliance.portal.routes import Route, routes

HEAD = """\
# The portal

Made by `python -m appliance.portal.reference > docs/portal.md`; do not edit.

The administrators' web pages: HTTPS on 8443, in the management zone, from the management networks. Every page works without
script, by keyboard, on a phone, in light and dark; the Content-Security-Policy allows no script at all.

Whatever is changed under Settings is in one's own candidate, as at the command line: a bar says how many changes there are,
Review shows what would differ and commits, also with a time limit. A commit with a time limit is taken back unless somebody
presses Keep; somebody else's commit meanwhile is told, and nothing of theirs is overwritten. Revisions can be compared and
brought back.

## Who may do what

There is no `enable` here. Everybody who logs in has given a password or shown a certificate, and the role decides.
What changes who gets in (accounts, passwords, keys, certificates, the enable secret, from where
management is reached), what stops the machine, and a wipe ask for
one's own password again, which configd has PAM judge: it holds for five minutes, wrong ones count as failed log-ins, and the
log-in itself does not count. The portal's process cannot do any of this by itself (`docs/architecture.md`, "Log-ins and locks").

Without a log-in there are the log-in page and its style sheet. Every other path is a redirection to the log-in, or a 401 below
`/api`, whether or not there is something. A path is taken as it stands: `//`, `/.;/`, `%2e` and other letters' case lead nowhere.
A form carries a token of its session; its Origin and the Host of every request must be the appliance's own.

Pages that renew themselves (the dashboard, a log that is followed) do not keep a session from ending when nobody does anything.
A log is also followed as it comes (`/logs/stream`): a page that does not end while lines come, still without script. It ends with
its session, after half an hour, and when its person follows a third one at the same time, that one is refused.
"""
OPEN = (
    ("GET", "/login", "the banner and the log-in"),
    ("POST", "/login", "log in"),
    ("POST", "/login/certificate", "log in by the certificate that the browser has shown"),
    ("GET", "/static/portal.css", "the style sheet"),
)
LOGGED_IN = (("POST", "/logout", "log out"), ("GET", "/api/v1/status", "the dashboard's facts as JSON"))
ROLES = ("administrator", "operator", "auditor")


def page() -> str:
    """The whole page as Markdown."""
    rows = [_row(method, path, ("yes", "yes", "yes", "yes"), does) for method, path, does in OPEN]
    rows += [_row(method, path, ("yes", "yes", "yes", ""), does) for method, path, does in LOGGED_IN]
    rows += [_of(route) for route in routes(Schema(FEATURES))]
    head = "| | path | administrator | operator | auditor | nobody | what |\n|---|---|---|---|---|---|---|\n"
    return f"{HEAD}\n## Routes\n\n{head}{''.join(rows)}"


def _of(route: Route) -> str:
    may = tuple("yes" if role in route.roles else "" for role in ROLES)
    return _row(route.method, route.path, (*may, ""), route.does)


def _row(method: str, path: str, may: tuple[str, ...], does: str) -> str:
    return f"| {method} | `{path}` | {' | '.join(may)} | {does} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
