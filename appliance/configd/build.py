"""configd's parts, put together for the real machine."""

import pwd
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance import process
from appliance.apply import Engine
from appliance.audit import Audit, SyslogAudit
from appliance.backup.keeping import Folder
from appliance.config.schema import Schema
from appliance.config.secrets import Secrets
from appliance.config.stepping_back import step_back
from appliance.config.store import Store
from appliance.configd import passwords
from appliance.configd.acme import Acme
from appliance.configd.ages import Aging
from appliance.configd.capturing import Capturing
from appliance.configd.directory_login import asker as directory_asker
from appliance.configd.examining import asker, examiner
from appliance.configd.facts import Context
from appliance.configd.following import Following
from appliance.configd.gate import Doors, Gate
from appliance.configd.hanging import Hanging
from appliance.configd.keeper import Keeper
from appliance.configd.offsite import Offsite
from appliance.configd.renewal import Renewal
from appliance.configd.sessions import Sessions
from appliance.configd.support import Support
from appliance.configd.tidying import Tidying
from appliance.configd.tokens import Tokens
from appliance.configd.verbs_impl import Actions
from appliance.configd.watch import Watch
from appliance.features import FEATURES
from appliance.features.base import Feature
from appliance.software.spool import Spool
from appliance.support.records import Records
from appliance.support.shelf import Shelf
from appliance.system import Appliance, Machine
from sentry_runtime import control
from sentry_runtime.settings import Paths

PORTAL_ACCOUNT = "sentry-portal"
PROXY_ACCOUNT = "sentry-tls-proxy"
ALERTS_ACCOUNT = "sentry-alerts"
SCANNER_ACCOUNT = "sentry-stig"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server needs."""

    engine: Engine
    sessions: Sessions
    gate: Gate
    watch: Watch
    stepped_back: str = ""
    """What was done because an earlier version runs again."""


def build(
    state: Path,
    *,
    features: tuple[Feature, ...] = FEATURES,
    machine: Machine | None = None,
    audit: Audit | None = None,
    doors: Doors | None = None,
    paths: Paths | None = None,
) -> Parts:
    """All parts over the state folder. What is not given is the appliance's own; tests give theirs."""
    vault = Secrets(state / "secrets")
    schema = Schema(features)
    store = Store(state / "config", complete=schema.fill)
    stepped_back = step_back(store)
    sessions = Sessions()
    machine = machine or Appliance(vault.reveal)
    engine = Engine(schema, store, vault, machine, staging=state / "config" / "staging", in_use=sessions.candidates)

    backups = Folder(state / "backups")
    shelf = Shelf(state / "support", clock=time.time)
    records = Records(state / "hung", clock=time.time)

    aging = Aging(store)

    def context() -> Context:
        running, now = store.current(), time.time()
        return Context(
            system=machine,
            attempt=process.attempt,
            call=control.call,
            paths=paths or Paths(),
            schema=schema,
            running=running,
            pending=store.pending(),
            revisions=store.revisions(),
            sessions=sessions.all(),
            now=now,
            monotonic=sessions.clock(),
            backups=backups,
            shelf=shelf,
            records=records,
            ages=aging.known(running.tree if running else {}, now),
        )

    tokens = Tokens(state / "tokens", clock=time.time)
    support, capturing = Support(engine, shelf, context), Capturing(engine, shelf)
    actions = Actions(
        engine,
        sessions,
        context=context,
        aging=aging,
        backups=backups,
        software=Spool(state / "software"),
        support=support,
        capturing=capturing,
        following=Following(machine.run, lambda: {held.handle for held in sessions.all()}),
        paths=paths,
    )
    gate = Gate(
        actions,
        sessions,
        audit or SyslogAudit(),
        doors or _doors(paths or Paths()),
        reveal=vault.reveal,
        tokens=tokens,
    )
    renewal = Renewal(engine, gate, sessions)
    acme = Acme(engine, gate, sessions)
    keeper = Keeper(engine, gate, sessions, backups)
    tidy, hanging = Tidying(shelf, gate), Hanging(records, gate, process.attempt)
    offsite = Offsite(engine, gate, backups)
    ticks = (
        renewal.tick,
        acme.tick,
        keeper.tick,
        offsite.tick,
        tidy.tick,
        partial(capturing.tick, gate.note),
        hanging.tick,
    )
    watch = Watch(engine, gate, sessions, renew=ticks)
    return Parts(engine, sessions, gate, watch, stepped_back)


def _doors(paths: Paths) -> Doors:
    return Doors(
        name_of=_name_of,
        portal_uid=lambda: _uid_of(PORTAL_ACCOUNT),
        alerts_uid=lambda: _uid_of(ALERTS_ACCOUNT),
        scanner_uid=lambda: _uid_of(SCANNER_ACCOUNT),
        proxy_uid=lambda: _uid_of(PROXY_ACCOUNT),
        examine=examiner(process.attempt),
        standing=asker(control.call, paths.agent_socket),
        directory=directory_asker(control.call),
        login=lambda user, source, password: passwords.pam_login(user, source, password, process.attempt),
    )


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _uid_of(account: str) -> int | None:
    try:
        return pwd.getpwnam(account).pw_uid
    except KeyError:
        return None
