"""Alerts from the running appliance to a mail server of the tests, at the host's end of the management link."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.portal.gate import FORM_COOKIE, FORM_FIELD
from images.lab.zones import MANAGEMENT
from images.paths import Layout
from images.run import run
from tests.appliance.lab_server import certificate_of
from tests.lab import Lab
from tests.mail_sink import MailSink, context_of, serving

pytestmark = pytest.mark.appliance

HOST = str(MANAGEMENT.link.host_address)
PORT = 2587
PEOPLE = ("isso@lab.test", "issm@lab.test", "sca@lab.test")
VICTIM = f"victim-{secrets.token_hex(4)}"  # nobody whom an earlier run has locked
PATIENCE = 90.0  # what is away is tried again after 15 and 30 seconds


@pytest.fixture(scope="module")
def certificate(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The mail server's, of the authority that the lab's settings name."""
    return certificate_of(layout, tmp_path_factory.mktemp("mail"), "mail", HOST)


@pytest.fixture
def sink(lab: Lab, certificate: tuple[str, str]) -> Iterator[MailSink]:
    """The mail server; what waited from before has arrived and is not counted."""
    with serving(MailSink(), context_of(*certificate), port=PORT, host=HOST) as made:
        fresh(lab)
        until(lambda: waiting(lab) == "0")
        made.mails.clear()
        made.envelopes.clear()
        yield made


def fresh(lab: Lab) -> None:
    """The service as it begins: nothing to be tried later, nothing that was mailed within the hour."""
    lab.root("systemctl", "stop", "sentry-alerts.service")
    lab.root("rm", "-f", "/var/lib/sentry/alerts/state.json")
    lab.root("systemctl", "start", "sentry-alerts.service")


def until(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.5)


def delivery(lab: Lab) -> dict[str, str]:
    """What the running service says of its deliveries."""
    said: dict[str, Any] = json.loads(lab.cli("show alerts delivery | json").stdout)
    return dict(said["facts"])


def waiting(lab: Lab) -> str:
    """How many alerts wait."""
    return delivery(lab)["waiting"]


def enabled(lab: Lab, *lines: str) -> str:
    """Privileged commands."""
    return lab.cli("enable", lab.enable_secret, *lines).stdout


def revision(lab: Lab) -> str:
    """The running revision's number."""
    kept = json.loads(enabled(lab, "show revisions | json"))["rows"]
    return str(next(row["revision"] for row in kept if row["current"] == "*"))


@pytest.fixture
def victim(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """An account to lock, and the revision before it afterwards."""
    number = revision(lab)
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", VICTIM, "-f", tmp_path / "key"])
    key = (tmp_path / "key.pub").read_text(encoding="utf-8").strip()
    account = f"users accounts {VICTIM}"
    enabled(lab, "configure terminal", f"{account} role auditor", f'{account} ssh_keys "{key}"', "commit")
    try:
        yield VICTIM
    finally:
        enabled(lab, "configure terminal", f"rollback {number}")


def fail_to_log_in(lab: Lab, user: str) -> None:
    """One wrong password at the portal."""
    with lab.http() as session:
        session.get(f"{lab.portal_url}/login", timeout=30)
        form = {FORM_FIELD: session.cookies[FORM_COOKIE], "user": user, "password": "not the password"}
        headers = {"Origin": lab.portal_url.rstrip("/")}
        assert session.post(f"{lab.portal_url}/login", data=form, headers=headers, timeout=30).status_code == 401


def test_three_failed_log_ins_lock_an_account_and_a_mail_arrives(lab: Lab, sink: MailSink, victim: str) -> None:
    """Who was locked, to everybody whom the settings name, over TLS."""
    for _ in range(3):
        fail_to_log_in(lab, victim)
    until(lambda: any(f"account_locked {victim}" in text for text in sink.texts))
    text = next(text for text in sink.texts if f"account_locked {victim}" in text)
    assert f"The account {victim} is locked for {HOST}" in text
    assert set(sink.envelopes) == {("gateway@lab.test", PEOPLE)}
    assert all(sink.encrypted)
    locked = [line for line in enabled(lab, "show alerts").splitlines() if "account_locked" in line]
    # PAM and configd tell of it. Who comes second finds the first still waiting, or mailed already; then it waits for an hour.
    assert sum("mailed" in line for line in locked) == 1, locked
    assert all("mailed" in line or "waits" in line for line in locked), locked


def test_who_committed_what_and_who_went_back_is_told(lab: Lab, sink: MailSink) -> None:
    number = revision(lab)
    enabled(lab, "configure terminal", "cli idle_minutes 9", "commit comment a word for the ISSO")
    enabled(lab, "configure terminal", f"rollback {number}")
    until(lambda: any(f"rolled back to revision {number}" in text for text in sink.texts))
    told = "\n".join(sink.texts)
    assert f"{lab.ssh.user} from {HOST} committed a configuration: a word for the ISSO" in told
    assert f"{lab.ssh.user} from {HOST} rolled back to revision {number}" in told


@pytest.mark.slow
def test_a_service_that_stops_and_comes_back_is_told(lab: Lab, sink: MailSink) -> None:
    lab.root("systemctl", "stop", "sentry-uem.service")
    try:
        until(lambda: any("service_down sentry-uem.service" in subject for subject in sink.subjects))
    finally:
        lab.root("systemctl", "start", "sentry-uem.service")
    until(lambda: any("OVER: service_down sentry-uem.service" in text for text in sink.texts))


@pytest.mark.slow
def test_what_happens_while_the_mail_server_is_away_arrives_once(lab: Lab, certificate: tuple[str, str]) -> None:
    """Over a restart of the service, too."""
    with serving(MailSink(), context_of(*certificate), port=PORT, host=HOST):
        fresh(lab)
        until(lambda: waiting(lab) == "0")
    lab.root("systemctl", "restart", "--", "rsyslog.service")  # a root process writes lines that mean nothing
    lab.root("systemctl", "kill", "--signal=KILL", "sentry-portal.service")
    until(lambda: waiting(lab) != "0")
    lab.root("systemctl", "restart", "sentry-alerts.service")
    until(lambda: "refused" in delivery(lab)["problem"])
    with serving(MailSink(), context_of(*certificate), port=PORT, host=HOST) as sink:
        until(lambda: sink.mails)
        until(lambda: waiting(lab) == "0")
        assert delivery(lab)["problem"] == "none"
        told = [line for text in sink.texts for line in text.splitlines() if "service_restarted sentry-portal" in line]
    assert len(told) == 1


def test_the_test_command_says_what_the_server_answered(lab: Lab, sink: MailSink) -> None:
    assert "taken as number" in enabled(lab, "alert test")
    assert sink.subjects[-1] == "[gateway.lab.test] test of alerts"
    sink.refuses = "554 5.7.1 we know no gateway"
    assert "554 5.7.1 we know no gateway" in enabled(lab, "alert test")
    denied = lab.cli("alert test", check=False)
    assert denied.code == 1


def test_a_server_with_another_certificate_gets_nothing(lab: Lab, layout: Layout, tmp_path: Path) -> None:
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mail",
         "-addext", f"subjectAltName=IP:{HOST}", "-keyout", key, "-out", made])  # fmt: skip
    with serving(MailSink(), context_of(str(made), str(key)), port=PORT, host=HOST) as sink:
        assert "its certificate is refused" in enabled(lab, "alert test")
    assert sink.mails == []


def test_every_alert_is_listed_with_its_action_and_delivery_says_what_runs(lab: Lab) -> None:
    rows = json.loads(lab.cli("show alerts ids | json").stdout)["rows"]
    assert {row["action"] for row in rows} == {"mail"}
    assert len(rows) > 15
    facts = delivery(lab)
    assert facts["recipients"] == ", ".join(PEOPLE)
    assert facts["mail server"] == f"{HOST} port {PORT} (starttls)"
    assert "give `enable` first" in lab.cli("show alerts", check=False).stderr


def test_the_service_alone_dials_the_mail_server(lab: Lab) -> None:
    """In the packet filter that runs."""
    rules = [line for line in lab.root("nft", "list", "ruleset").stdout.splitlines() if f"dport {PORT}" in line]
    assert len(rules) == 1
    assert f"ip daddr {HOST}" in rules[0]
    assert "meta skuid" in rules[0]
    uid = lab.root("id", "-u", "sentry-alerts").stdout.strip()
    assert uid != "0"
    shown = lab.root("systemctl", "show", "--property=MainPID", "--value", "sentry-alerts.service").stdout.strip()
    assert lab.root("stat", "-c", "%u", f"/proc/{shown}").stdout.strip() == uid


def test_it_may_ask_configd_for_nothing_but_the_health(lab: Lab) -> None:
    """Whoever has taken it over sees no configuration and sends no order."""
    program = (
        "import sys; sys.path.insert(0, '/usr/lib/sentry/current')\n"
        "from appliance.configd import api\n"
        "from appliance.configd.client import Client, Refused\n"
        "with Client() as client:\n"
        "    session = client.call(api.OpenSession(), api.Session).handle\n"
        "    print(len(client.call(api.LookAtHealth(session=session), api.Health).units) > 5)\n"
        "    for verb in (api.GetConfig(session=session), api.Show(session=session, topic='clock'),\n"
        "                 api.Power(session=session, action='reload')):\n"
        "        try:\n"
        "            client.call(verb)\n"
        "        except Refused as refused:\n"
        "            print(refused.refusal.kind)\n"
    )
    argv = ["setpriv", "--reuid=sentry-alerts", "--regid=sentry-alerts", "--groups=sentry-mgmt", "python3", "-I", "-"]
    done = lab.root(*argv, stdin=program)
    assert done.stdout.split() == ["True", "permission", "permission", "permission"]
