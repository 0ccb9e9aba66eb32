"""Every page of the portal: method, path, the roles that it is open to, and what it does. What is not here is not served.

The roles are those of configd (`appliance.configd.roles`), which decides for itself: a row here that lets somebody in whom
configd refuses only shows a refusal.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from appliance.config.schema import Schema
from appliance.configd.api import Role
from appliance.portal import (
    backup_pages,
    certificate_pages,
    changes_pages,
    dashboard,
    device_pages,
    fact_pages,
    follow_pages,
    people_pages,
    service_pages,
    software_pages,
    step_up,
    stig_pages,
    support_pages,
    token_pages,
)
from appliance.portal.settings_pages import SettingsPages
from appliance.portal.visit import Visit

EVERYBODY: Final = frozenset[Role]({"administrator", "operator", "auditor"})
OPERATORS: Final = frozenset[Role]({"administrator", "operator"})
ADMINISTRATORS: Final = frozenset[Role]({"administrator"})
AUDITORS: Final = frozenset[Role]({"administrator", "auditor"})

ENDED: Final = "/password"
"""The only page for a person whose password is older than it may be."""

Page = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row. A path in braces stands for a word that is looked up: a feature of the schema."""

    method: str
    path: str
    roles: frozenset[Role]
    does: str
    page: Page


def routes(schema: Schema) -> tuple[Route, ...]:
    """The table."""
    settings = SettingsPages(schema)
    return (
        Route("GET", "/", EVERYBODY, "everything at a glance", dashboard.page),
        Route("GET", "/settings", EVERYBODY, "the features", settings.every),
        Route("GET", "/settings/{feature}", EVERYBODY, "the settings at one place, secrets never", settings.one),
        Route("POST", "/settings/{feature}", ADMINISTRATORS, "change them in one's candidate", settings.change),
        Route("GET", "/changes", ADMINISTRATORS, "what one's candidate would change", changes_pages.review),
        Route("POST", "/changes/commit", ADMINISTRATORS, "commit, also with a time limit", changes_pages.commit),
        Route("POST", "/changes/discard", ADMINISTRATORS, "forget one's candidate", changes_pages.discard),
        Route("POST", "/changes/keep", ADMINISTRATORS, "confirm the commit that waits", changes_pages.keep),
        Route("GET", "/revisions", EVERYBODY, "the kept revisions", changes_pages.revisions),
        Route("GET", "/revisions/compare", EVERYBODY, "what differs between two", changes_pages.compare),
        Route("POST", "/revisions/rollback", ADMINISTRATORS, "have an earlier one run again", changes_pages.rollback),
        *_devices(),
        *_machine(),
        *_who_gets_in(),
        *_support(),
        Route("GET", "/logs", EVERYBODY, "the audit trails, also followed", fact_pages.logs),
        Route("GET", "/logs/stream", EVERYBODY, "a log as it comes, for half an hour at most", follow_pages.stream),
        Route("GET", "/facts", EVERYBODY, "any topic of `show`", fact_pages.every),
        Route("GET", "/compliance", EVERYBODY, "what the STIGs' rules look at", fact_pages.compliance),
        Route("GET", "/stig", EVERYBODY, "what the appliance's scan of itself has found", stig_pages.page),
        Route("POST", "/stig/scan", AUDITORS, "have it scan itself now", stig_pages.scan_now),
        Route("GET", "/stig/report", AUDITORS, "download a checklist or a report", stig_pages.download),
    )


def _devices() -> tuple[Route, ...]:
    return (
        Route("GET", "/devices", EVERYBODY, "search in the device list", device_pages.search),
        Route("GET", "/devices/one", EVERYBODY, "one device, and why it gets through or not", device_pages.one),
        Route("POST", "/devices/act", OPERATORS, "register, allow, block, remove, wipe", device_pages.act),
        Route("POST", "/devices/flag", OPERATORS, "say that something is wrong with it", device_pages.flag),
        Route("POST", "/devices/policy", OPERATORS, "assign a policy", device_pages.policy),
        Route("POST", "/devices/redirects", OPERATORS, "forget redirections", device_pages.forget_redirects),
    )


def _machine() -> tuple[Route, ...]:
    return (
        Route("GET", "/services", EVERYBODY, "the services and their counters", service_pages.services),
        Route("POST", "/services/control", OPERATORS, "start or restart; administrators stop", service_pages.control),
        Route("POST", "/services/maintain", OPERATORS, "quiesce, resume; administrators drain", service_pages.maintain),
        Route("GET", "/tools", EVERYBODY, "tools of the network", service_pages.tools),
        Route("POST", "/tools/look", OPERATORS, "ping, DNS look-up, traceroute", service_pages.look),
        Route("POST", "/tools/do", OPERATORS, "acts of the moment", service_pages.do),
        Route("POST", "/tools/enrol", ADMINISTRATORS, "enrol at the UEM (password)", service_pages.enrol),
        Route(
            "GET", "/backups", ADMINISTRATORS, "backups that lie here, and whether copies arrived", backup_pages.page
        ),
        Route("POST", "/backups/send", ADMINISTRATORS, "send one to every destination now", backup_pages.send),
        Route("GET", "/software", EVERYBODY, "what the slots hold", software_pages.page),
        Route("POST", "/software/upload", ADMINISTRATORS, "bring an update", software_pages.upload),
        Route("POST", "/software/update", ADMINISTRATORS, "write it (password)", software_pages.update),
        Route("POST", "/software/rollback", ADMINISTRATORS, "take the other slot (password)", software_pages.roll_back),
        Route("GET", "/power", ADMINISTRATORS, "restart or turn off: the form", service_pages.power),
        Route("POST", "/power", ADMINISTRATORS, "restart or turn off (password)", service_pages.power_off),
    )


def _support() -> tuple[Route, ...]:
    own = support_pages
    return (
        Route("GET", "/support", ADMINISTRATORS, "files that wait to be fetched, and how to make them", own.page),
        Route("POST", "/support/bundle", ADMINISTRATORS, "make a support bundle", own.bundle),
        Route("POST", "/support/capture", ADMINISTRATORS, "capture packets (whole ones: password)", own.capture),
        Route("POST", "/support/capture/stop", ADMINISTRATORS, "end the capture that runs", own.stop_capture),
        Route("POST", "/support/fetch", ADMINISTRATORS, "download a file, which is deleted then", own.fetch),
        Route("POST", "/support/drop", ADMINISTRATORS, "delete a file that waits", own.drop),
    )


def _who_gets_in() -> tuple[Route, ...]:
    own = certificate_pages
    return (
        Route("GET", "/certificates", EVERYBODY, "which there are and when they end", own.page),
        Route("GET", "/certificates/request", EVERYBODY, "download a request (CSR)", own.request_text),
        Route("POST", "/certificates/request", ADMINISTRATORS, "make a key and a request", own.make_request),
        Route("POST", "/certificates/upload", ADMINISTRATORS, "upload PEM or PKCS12 (password)", own.upload),
        Route("POST", "/certificates/renew", ADMINISTRATORS, "make an own one anew (password)", own.renew),
        Route("GET", "/people", EVERYBODY, "accounts, and who is logged in", people_pages.page),
        Route("POST", "/people/add", ADMINISTRATORS, "add an account (password)", people_pages.add),
        Route("POST", "/people/password", ADMINISTRATORS, "set a password (password)", people_pages.set_password),
        Route("POST", "/people/own", EVERYBODY, "set one's own password (password)", people_pages.set_own_password),
        Route("GET", ENDED, EVERYBODY, "the form for a new password where one's own is too old", people_pages.ended),
        Route("POST", ENDED, EVERYBODY, "set it, before anything else (password)", people_pages.replace_ended),
        Route("POST", "/people/enable-secret", ADMINISTRATORS, "set it (password)", people_pages.set_enable_secret),
        Route("GET", "/card", EVERYBODY, "show one's card again: the form", step_up.card),
        Route("POST", "/card", EVERYBODY, "show one's card again, without a password", step_up.show_card),
        Route("GET", "/tokens", ADMINISTRATORS, "tokens of the REST API", token_pages.page),
        Route("POST", "/tokens/issue", ADMINISTRATORS, "issue one, shown once (password)", token_pages.issue),
        Route("POST", "/tokens/revoke", ADMINISTRATORS, "take one back (password)", token_pages.revoke),
    )
