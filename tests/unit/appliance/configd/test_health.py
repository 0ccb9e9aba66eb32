"""What the alert service is told, from what the machine says, and that nobody else may ask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.alerts import api as alerts_api
from appliance.configd import api, facts, health, roles
from appliance.configd.client import Refused
from appliance.configd.facts.context import Context
from appliance.directory import api as directory_api
from appliance.features import directory
from sentry_runtime.control import ControlError, Status
from tests.unit.appliance.configd.shown import Box
from tests.unit.appliance.workbench import ACCOUNTS, ALERTS, ALICE, FEATURES, OLGA, Daemon

UNITS = """Id=sentry-gateway.service
ActiveState=active
UnitFileState=enabled
ConditionResult=yes
NRestarts=3

Id=sentry-uem.service
ActiveState=inactive
UnitFileState=enabled
ConditionResult=no
NRestarts=0

Id=chrony.service
ActiveState=failed
UnitFileState=enabled
ConditionResult=yes
NRestarts=

Id=auditd.service
ActiveState=inactive
UnitFileState=disabled
ConditionResult=no
NRestarts=0
"""
DF = "Use% File\n  7% /\n 91% /var/log\n  -  /nowhere\n"
DIRECTORY: dict[str, Any] = {
    "servers": {"one": {"host": "192.0.2.1"}},
    "base_dn": "dc=lab,dc=test",
    "bind": "user",
    "groups": {"ops": {"dn": "cn=ops,dc=lab,dc=test", "role": "operator"}},
}
PROVIDERS = "Providers:\n  fips\n    name: OpenSSL FIPS Provider\n    version: 3.5.7\n    status: active\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    made = Daemon(tmp_path)
    made.commit({"name": "box", "users": {"accounts": ACCOUNTS}})
    return made


@pytest.fixture
def box() -> Box:
    prints = {"systemctl show": UNITS, "df --output=pcent,file": DF, "openssl list": PROVIDERS}
    return Box(prints=prints, refuses={"openssl dgst -md5 /dev/null"})


def _call(_path: str, _request: object, _kind: object) -> dict[str, Any]:
    return {}


def look(daemon: Daemon, box: Box, *, thorough: bool = False, **rest: Any) -> api.Health:
    context: Context = replace(daemon.context(), **{"system": box, "attempt": box.attempt, "call": _call, **rest})
    return health.health(context, thorough=thorough)


def test_units_with_what_should_run(daemon: Daemon, box: Box) -> None:
    """A unit whose condition does not hold is not missed."""
    units = {unit.name: unit for unit in look(daemon, box).units}
    assert (units["sentry-gateway.service"].wanted, units["sentry-gateway.service"].restarts) == (True, 3)
    assert (units["sentry-uem.service"].wanted, units["auditd.service"].wanted) == (False, False)
    assert (units["chrony.service"].wanted, units["chrony.service"].active) == (True, "failed")


def test_disks_and_the_clock(daemon: Daemon, box: Box) -> None:
    found = look(daemon, box)
    assert found.disks == {"/": 7, "/var/log": 91}
    assert found.synchronised is False
    box.prints["chronyc -c"] = "0A620201,10.98.2.1,3,0.1"
    assert look(daemon, box).synchronised is True
    box.prints["systemctl show"] = UNITS.replace(
        "ActiveState=failed\nUnitFileState=enabled\nConditionResult=yes",
        "ActiveState=inactive\nUnitFileState=enabled\nConditionResult=no",
    )
    assert look(daemon, box).synchronised is None


def test_a_process_that_does_not_answer_says_nothing(daemon: Daemon, box: Box) -> None:
    def call(path: str, request: object, _kind: object) -> dict[str, Any]:
        if "agent" in path:
            raise ControlError("nobody there")
        return {"state": "running", "audit_dropped": 2, "compiled": True, "odd": None}

    found = look(daemon, box, call=call)
    assert msgspec.json.decode(msgspec.json.encode(found), type=api.Health) == found
    assert found.gateway == {"state": "running", "audit_dropped": 2}
    assert found.agent == {}


def test_the_thorough_look(daemon: Daemon, box: Box) -> None:
    assert (look(daemon, box).fips, look(daemon, box).certificates) == (None, {})
    box.files = {"/var/lib/sentry/tls/ca.pem": "x", "/var/lib/sentry/tls/portal/cert.pem": "x"}
    box.prints["openssl x509"] = "notAfter=2026-12-31 12:00:00Z\n"
    found = look(daemon, box, thorough=True)
    assert found.fips is True
    assert found.certificates == {"of its authority": "2026-12-31T12:00:00Z", "portal": "2026-12-31T12:00:00Z"}
    box.refuses = {"openssl"}
    assert look(daemon, box, thorough=True).fips is False


def directory_report(*problems: str) -> directory_api.Report:
    return directory_api.Report(
        servers=tuple(
            directory_api.Standing(server=f"dc{place}:636", problem=one) for place, one in enumerate(problems)
        )
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (directory_report("", ""), ""),
        (directory_report("refused", ""), ""),
        (directory_report("refused", "timed out"), "dc0:636: refused; dc1:636: timed out"),
        (directory_report(), None),
        (None, None),
    ],
)
def test_a_directory_is_away_when_none_of_its_servers_can_be_asked(
    tmp_path: Path, box: Box, said: directory_api.Report | None, found: str | None
) -> None:
    """By what its service knows already: nobody is dialled for the look, and what is not known is no outage."""
    asked: list[object] = []

    def call(path: str, request: object, kind: object) -> Any:
        if path != directory_api.SOCKET:
            return {}
        asked.append(request)
        if said is None:
            raise ControlError("nobody there")
        return msgspec.json.decode(msgspec.json.encode(said), type=kind)

    daemon = Daemon(tmp_path, (*FEATURES, directory.FEATURE))
    daemon.commit({"name": "box", "users": {"accounts": ACCOUNTS}, "directory": DIRECTORY})
    assert look(daemon, box, call=call).directory == found
    assert asked == [directory_api.Status()]


def test_where_there_is_no_directory_its_service_is_not_asked(daemon: Daemon, box: Box) -> None:
    def call(path: str, _request: object, _kind: object) -> Any:
        assert path != directory_api.SOCKET
        return {}

    assert look(daemon, box, call=call).directory == ""


# --- who may -------------------------------------------------------------------------------------------------------


def test_the_alert_service_may_ask_this_one_thing_and_leaves_no_line_of_audit(daemon: Daemon) -> None:
    daemon.commands._df = lambda _argv, _stdin: DF  # type: ignore[attr-defined]
    daemon.commands._chronyc = lambda _argv, _stdin: ""  # type: ignore[attr-defined]
    peer, session = daemon.open(ALERTS)
    assert (session.user, session.role, session.privileged) == ("sentry-alerts", "auditor", False)
    before = len(daemon.ledger.entries)
    daemon.told = {Status: {}}
    found = daemon.say(peer, api.LookAtHealth(session=session.handle), api.Health)
    assert found.disks == {"/": 7, "/var/log": 91}
    assert len(daemon.ledger.entries) == before
    for verb in (
        api.Show(session=session.handle, topic="clock"),
        api.GetConfig(session=session.handle),
        api.SendTestAlert(session=session.handle),
        api.Touch(session=session.handle),
    ):
        with pytest.raises(Refused, match=r"may do nothing else|may not do this"):
            daemon.say(peer, verb)


def test_a_commit_does_not_end_its_session(daemon: Daemon) -> None:
    _peer, session = daemon.open(ALERTS)
    daemon.sessions.follow({}, {})
    assert [held.handle for held in daemon.sessions.all()] == [session.handle]


@pytest.mark.parametrize("role", sorted(roles.EVERYBODY))
def test_nobody_else_may_ask_it(role: api.Role) -> None:
    for manner in ("cli", "portal", "automation"):
        standing = roles.Standing(role=role, manner=manner, privileged=True)
        assert roles.refusal(api.LookAtHealth, standing) is not None


# --- alerts for people -----------------------------------------------------------------------------------------------

REPORT = alerts_api.Report(
    server="mail.lab.test port 587 (starttls)",
    sender="gateway@lab.test",
    recipients=("isso@lab.test", "sca@lab.test"),
    per_hour=10,
    batch_minutes=5,
    actions={"account_locked": "mail"},
    sent_last_hour=2,
    rows=(
        alerts_api.Row(
            alert="account_locked",
            subject="admin",
            words="The account",
            first=0,
            last=60,
            count=2,
            over=False,
            how="waits",
        ),
    ),
    lost=1,
    answer="",
    problem="nobody there",
)


def show(daemon: Daemon, topic: str) -> Any:
    daemon.told = {alerts_api.Status: REPORT}
    return facts.show(topic, "", daemon.context())


def test_what_waits_is_shown_with_why(daemon: Daemon) -> None:
    table = show(daemon, "alerts")
    assert table.title == "alerts (1 wait; 1 found no room; no mail could be sent: nobody there)"
    assert table.rows == (("1970-01-01T00:01:00Z", "account_locked", "admin", "raised", "2", "waits", "The account"),)


def test_delivery_and_ids(daemon: Daemon) -> None:
    delivery = dict(show(daemon, "alerts-delivery").facts)
    assert delivery["recipients"] == "isso@lab.test, sca@lab.test"
    assert (delivery["last answer"], delivery["problem"]) == ("none yet", "nobody there")
    ids = {row[0]: row for row in show(daemon, "alerts-ids").rows}
    assert ids["account_locked"][1:3] == ("warning", "mail")
    assert ids["audit_disk_full"][2:4] == ("unknown", "V-250998, V-251021")


def test_the_trial_is_the_services_and_is_told_by_whom(daemon: Daemon) -> None:
    daemon.told = {alerts_api.SendTest: alerts_api.Tested(sent=False, answer="554 no")}
    peer, session = daemon.open(OLGA)
    with pytest.raises(Refused, match="give `enable` first"):
        daemon.say(peer, api.SendTestAlert(session=session.handle))
    daemon.sessions.all()[0].privileged = True
    said = daemon.say(peer, api.SendTestAlert(session=session.handle), api.Facts)
    assert dict(said.facts) == {"sent": "NO", "answer": "554 no"}
    assert daemon.asked[-1] == (alerts_api.SOCKET, alerts_api.SendTest(by="olga"))
    assert ALICE != OLGA
