"""Mail and alerts as settings: what is rendered, what is refused, who may dial whom, and where the password lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.alerts.settings import Settings, load
from appliance.alerts.table import ALERTS
from appliance.features import alerts, email
from appliance.features.base import Flow, Tree
from appliance.plan import InvalidError
from appliance.settings_file import SettingsError

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
PEM = (MATERIAL / "authority.pem").read_text()


def read(tree: Tree, folder: Path) -> Settings:
    """The settings as the service reads them."""
    place = folder / "alerts.json"
    place.write_text(alerts.render(tree)[alerts.FILE].text)
    return load(place)


def test_the_service_reads_what_is_rendered(trees: dict[str, Tree], tmp_path: Path) -> None:
    lab, edge = read(trees["lab"], tmp_path), read(trees["one_interface"], tmp_path)
    assert lab.recipients == ("isso@lab.test", "issm@lab.test", "sca@lab.test")
    assert set(lab.actions.values()) == {"mail"}
    assert set(lab.actions) == set(ALERTS)
    assert lab.server is not None
    assert (lab.server.host, lab.server.port, lab.server.security) == ("10.98.2.1", 2587, "starttls")
    assert (lab.server.trust, lab.server.account, lab.server.password_path) == (email.TRUST, "", "")
    assert edge.server is not None
    assert (edge.server.security, edge.server.account, edge.server.password_path) == ("tls", "edge", email.PASSWORD)
    assert (edge.server.minimum, edge.server.maximum) == ("1.2", "1.3")
    assert {name: action for name, action in edge.actions.items() if action != "syslog"} == {
        "audit_disk_full": "mail",
        "account_locked": "mail",
        "configuration_changed": "none",
    }
    assert (edge.per_hour, edge.batch_minutes, edge.disk_percent, edge.refused_logins) == (4, 15, 80, 20)


def test_without_settings_alerts_are_for_the_log(lab_with: LabWith, tmp_path: Path) -> None:
    def nothing(tree: dict[str, Any]) -> None:
        del tree["email"], tree["alerts"]

    found = read(lab_with(nothing), tmp_path)
    assert (found.server, found.recipients) == (None, ())


def test_the_file_is_the_services_to_read_and_has_no_secret(trees: dict[str, Tree]) -> None:
    file = alerts.render(trees["one_interface"])[alerts.FILE]
    assert (file.owner, file.group, file.mode) == ("root", "sentry-alerts", 0o640)
    assert "a password of" not in file.text


def test_only_the_alert_service_may_dial_the_mail_server(trees: dict[str, Tree], lab_with: LabWith) -> None:
    lab, edge = trees["lab"], trees["one_interface"]
    assert email.flows(lab) == (Flow("email", "out", "tcp", 2587, None, ("10.98.2.1",), "sentry-alerts"),)
    assert email.flows(edge) == (Flow("email", "out", "tcp", 465, None, ("198.51.100.0/24",), "sentry-alerts"),)
    named = lab_with(lambda tree: tree["email"].update(server="mail.lab.test"))
    assert email.flows(named)[0].peers == ("10.98.3.10",)

    def nothing(tree: dict[str, Any]) -> None:
        del tree["email"], tree["alerts"]

    assert email.flows(lab_with(nothing)) == ()


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Put a value there; None removes it."""

    def apply(tree: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        for step in steps:
            tree = tree.setdefault(step, {})
        if value is None:
            del tree[last]
        else:
            tree[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "where", "allowed"),
    [
        ("email.server", None, "email.", "nothing without email.server"),
        ("email.from", None, "email.from", "a mail address"),
        ("email.from", "gateway", "email.from", "a mail address"),
        ("email.from", "a b@lab.test", "email.from", "a mail address"),
        ("email.from", "a@lab.test\nRCPT TO:<eve@lab.test>", "email.from", "a mail address"),
        ("email.from", "müller@lab.test", "email.from", "ASCII"),
        ("email.server", "mail lab", "email.server", "address or a DNS name"),
        ("email.security", "none", "email.security", "starttls, tls"),
        ("email.account", "edge", "email.password", "both account and password"),
        ("email.password", "p", "email.account", "both account and password"),
        ("email.password", "pässword", "email.password", "ASCII"),
        ("email.tls_versions", {"minimum": "1.3", "maximum": "1.2"}, "email.tls_versions.minimum", "at most"),
        ("alerts.recipients", ["isso@lab.test", "isso@lab.test"], "alerts.recipients", "every item once"),
        ("alerts.recipients", ["isso@lab.test, eve@lab.test"], "alerts.recipients.0", "a mail address"),
        ("alerts.recipients", [f"p{number}@lab.test" for number in range(17)], "alerts.recipients", "0 to 16"),
        ("alerts.per_hour", 0, "alerts.per_hour", "from 1 to 60"),
        ("alerts.batch_minutes", 61, "alerts.batch_minutes", "from 0 to 60"),
        ("alerts.actions", {"account_locked": "page"}, "alerts.actions.account_locked", "mail, syslog, none"),
        ("alerts.actions", {"acount_locked": "mail"}, "alerts.actions.acount_locked", "account_locked"),
        ("alerts.default_action", "maybe", "alerts.default_action", "mail, syslog, none"),
        ("alerts.audit_disk_percent", 100, "alerts.audit_disk_percent", "from 50 to 99"),
        ("alerts.refused_logins", 2, "alerts.refused_logins", "from 3 to 1000"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    path: str, value: Any, where: str, allowed: str, lab_with: LabWith
) -> None:
    with pytest.raises(InvalidError) as refused:
        lab_with(change(path, value))
    assert [one for one in refused.value.problems if one.path.startswith(where) and allowed in one.allowed]


def test_recipients_need_a_server(lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match=r"there are alerts\.recipients"):
        lab_with(lambda tree: tree.pop("email"))


@pytest.mark.parametrize("text", ["isso@example.com", "a.b+c@x-y.example.org", "o'neil@lab.test"])
def test_mail_addresses(text: str) -> None:
    assert email.is_mail_address(text)


@pytest.mark.parametrize(
    "text", ["", "@", "a@", "@b.example", "a@b@c", ".a@lab.test", "a..b@lab.test", "a@lab_test", "<a@b.c>"]
)
def test_no_mail_addresses(text: str) -> None:
    assert not email.is_mail_address(text)


# --- the password ----------------------------------------------------------------------------------------------------


class System:
    """A machine that keeps one secret file."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.held: str | None = None

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        self.ran.append(argv)
        if argv[0] == "install" and "/dev/stdin" in argv:
            self.held = stdin
        if argv[0] == "rm":
            self.held = None
        return "640 root:sentry-alerts" if argv[0] == "stat" else ""

    def read(self, path: str) -> str | None:
        assert path == email.PASSWORD
        return self.held

    def secret(self, reference: str) -> str:
        assert reference.startswith("secret:")
        return "a password of the mail server"


def test_the_password_lies_there_while_there_is_one(trees: dict[str, Tree]) -> None:
    system = System()
    assert email.reconcile(trees["one_interface"], system)
    assert system.held == "a password of the mail server"
    assert not email.reconcile(trees["one_interface"], system)
    assert not any("a password of" in word for argv in system.ran for word in argv)
    assert email.reconcile(trees["lab"], system)
    assert system.held is None
    assert not email.reconcile(trees["lab"], system)


# --- the file by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "replaced", "said"),
    [
        ('"per_hour": 60', '"per_hour": 0', "per_hour"),
        ('"per_hour": 60', '"per_hours": 60', "per_hours"),
        ('"account_locked": "mail"', '"account_looked": "mail"', "account_looked"),
        ('"account_locked": "mail"', '"account_locked": "page"', "page"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    found: str, replaced: str, said: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    text = alerts.render(trees["lab"])[alerts.FILE].text
    assert found in text
    (tmp_path / "alerts.json").write_text(text.replace(found, replaced))
    with pytest.raises(SettingsError, match=said):
        load(tmp_path / "alerts.json")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "alerts.json")
