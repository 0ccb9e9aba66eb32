"""The REST API of the running appliance: a token from the command line, a change that returns, conflicts, scopes, metrics."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from images.run import CommandError
from tests.lab import Lab

pytestmark = pytest.mark.appliance

NAME = "tests"
TIMEOUT = 60.0
RETURN_SECONDS = 100.0  # a time limit of one minute, and the commit that brings back what was
POLL_SECONDS = 1.0
OTHER = "10.98.2.77"  # nobody's; chrony does not run in a container, and asks nobody


@dataclass(frozen=True)
class Api:
    """The API with one token."""

    lab: Lab
    token: str

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers.setdefault("Content-Type", kind)
        with self.lab.http() as session:
            return session.request(
                method, f"{self.lab.portal_url}/api/v1{path}", data=data, headers=headers, timeout=TIMEOUT, **more
            )


def given(lab: Lab, name: str, *words: str) -> Api:
    """A token that the administrator gives out on the command line."""
    line = " ".join(["token create", name, *words, "| json"])
    return Api(lab, str(json.loads(lab.cli("enable", lab.enable_secret, line).stdout)["token"]))


def revoked(lab: Lab, name: str) -> None:
    lab.cli("enable", lab.enable_secret, f"token revoke {name}")


@pytest.fixture(scope="module")
def api(lab: Lab) -> Iterator[Api]:
    """A token that may configure. One that an earlier run has left is revoked first."""
    with suppress(CommandError):
        revoked(lab, NAME)
    yield given(lab, NAME, "administrator", "scopes", "read,configure,metrics", "days", "1")
    revoked(lab, NAME)


def servers(api: Api) -> Any:
    return api.ask("GET", "/config?pointer=/ntp/servers").json()


def test_the_token_is_who_the_command_line_said_and_is_nowhere_in_the_trail(lab: Lab, api: Api) -> None:
    said = api.ask("GET", "/session").json()
    assert (said["user"], said["role"], said["scopes"]) == (
        f"token:{NAME}",
        "administrator",
        ["configure", "metrics", "read"],
    )
    trail = lab.root("tail", "-n", "50", "/var/log/auth.log").stdout
    assert f'"user":"token:{NAME}"' in trail
    assert api.token not in trail
    kept = lab.root("cat", "/var/lib/sentry/tokens/tokens.json").stdout
    assert api.token not in kept
    assert lab.root("stat", "-c", "%a %U", "/var/lib/sentry/tokens/tokens.json").stdout.split() == ["600", "root"]


def test_without_a_token_there_is_nothing(lab: Lab) -> None:
    with lab.http() as session:
        for path in ("config", "facts", "metrics", "openapi.json", "docs", "tokens", "nothing"):
            answer = session.get(f"{lab.portal_url}/api/v1/{path}", timeout=TIMEOUT)
            assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")


def test_the_time_servers_are_changed_and_return_when_nobody_confirms(api: Api) -> None:
    """The whole way: a patch with a time limit, what runs then, and what runs when the limit has passed."""
    before = servers(api)
    done = api.ask("PATCH", "/config?confirm_minutes=1&comment=rest", {"ntp": {"servers": [*before, OTHER]}})
    assert done.status_code == 200, done.text
    assert [change["path"] for change in done.json()["changes"]] == [["ntp", "servers"]]
    assert servers(api) == [*before, OTHER]
    assert dict(api.ask("GET", "/facts/confirmation").json()["facts"])["waiting"] != "no"
    until = time.monotonic() + RETURN_SECONDS
    while servers(api) != before:
        assert time.monotonic() < until
        time.sleep(POLL_SECONDS)


def test_a_confirmed_change_stays_and_is_taken_back_by_hand(lab: Lab, api: Api) -> None:
    before = servers(api)
    revision = int(api.ask("GET", "/config").headers["Sentry-Revision"])
    assert api.ask("PATCH", "/config?confirm_minutes=1", {"ntp": {"servers": [*before, OTHER]}}).status_code == 200
    assert api.ask("POST", "/config/confirm").status_code == 204
    assert OTHER in lab.root("cat", "/etc/chrony/chrony.conf").stdout
    assert api.ask("POST", f"/revisions/{revision}/rollback").status_code == 200
    assert servers(api) == before


def test_who_read_an_older_configuration_changes_nothing(api: Api) -> None:
    before = servers(api)
    tag = api.ask("GET", "/config").headers["ETag"]
    patch = {"ntp": {"servers": [*before, OTHER]}}
    assert api.ask("PATCH", "/config", patch, headers={"If-Match": tag}).status_code == 200
    late = api.ask("PATCH", "/config", {"ntp": {"servers": before}}, headers={"If-Match": tag})
    assert (late.status_code, late.json()["status"]) == (412, 412)
    back = api.ask("PATCH", "/config", {"ntp": {"servers": before}})
    assert (back.status_code, servers(api)) == (200, before)
    assert api.ask("PATCH", "/config", {"ntp": {"servers": before}}).json()["changed"] is False


def test_what_a_daemon_or_a_rule_refuses_is_said_and_changes_nothing(api: Api) -> None:
    before = api.ask("GET", "/config").headers["ETag"]
    answer = api.ask("PATCH", "/config", {"portal": {"idle_minutes": 99}})
    assert answer.status_code == 422
    assert answer.json()["problems"] == ["portal.idle_minutes: found 99; allowed: a whole number from 1 to 60"]
    assert api.ask("GET", "/config").headers["ETag"] == before


def test_a_token_does_what_its_scopes_say_and_nothing_after_it_was_revoked(lab: Lab, api: Api) -> None:
    with suppress(CommandError):
        revoked(lab, "reader")
    reader = given(lab, "reader", "auditor", "scopes", "read")
    assert reader.ask("GET", "/facts/version").status_code == 200
    assert reader.ask("PATCH", "/config", {"banner": {"text": "x"}}).json()["type"].endswith("#problem-permission")
    assert reader.ask("POST", "/system/power", {"action": "reload"}).status_code == 403
    assert reader.ask("GET", "/metrics").status_code == 403
    revoked(lab, "reader")
    assert reader.ask("GET", "/facts/version").status_code == 401
    assert api.ask("GET", "/facts/version").status_code == 200  # and the address is not locked for others


def test_who_gets_in_and_the_machine_need_more_than_the_token(lab: Lab, api: Api) -> None:
    patch = {"users": {"accounts": {lab.admin.user: {"full_name": "By REST"}}}}
    assert api.ask("PATCH", "/config", patch).json()["type"].endswith("#problem-privilege")
    enable = {"Sentry-Enable-Secret": lab.enable_secret}
    assert api.ask("PATCH", "/config?check_only=true", patch, headers=enable).status_code == 200
    assert api.ask("POST", "/system/power", {"action": "reload"}, headers=enable).status_code == 403  # not its scope


def test_prometheus_reads_the_metrics(api: Api) -> None:
    answer = api.ask("GET", "/metrics")
    assert answer.status_code == 200
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.labels
    }
    assert (found["sentry_gateway_up"], found["sentry_agent_up"]) == (1.0, 1.0)
    assert found["sentry_config_revision"] >= 1.0
    assert "sentry_gateway_requests_total" in found
    assert 'sentry_unit_active{unit="sentry-portal.service"} 1.0' in answer.text
    assert 'sentry_certificate_expiry_timestamp_seconds{certificate="portal"}' in answer.text


@pytest.mark.parametrize(
    "topic", ["version", "services", "interfaces", "gateway", "uem", "certificates", "fips", "log"]
)
def test_a_topic_is_told_as_on_the_command_line(api: Api, topic: str) -> None:
    answer = api.ask("GET", f"/facts/{topic}")
    assert (answer.status_code, answer.json()["kind"] in ("facts", "table", "text")) == (200, True)


def test_the_document_and_its_page_are_served(api: Api) -> None:
    assert api.ask("GET", "/openapi.json").json()["openapi"] == "3.1.0"
    page = api.ask("GET", "/docs")
    assert "script" not in page.headers["Content-Security-Policy"]
    assert "PATCH /api/v1/config" in page.text
