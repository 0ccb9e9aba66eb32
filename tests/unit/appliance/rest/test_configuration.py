"""The configuration over REST: looking, editing, committing in one step, and what two who write at once are told."""

from typing import Any

import pytest

from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.rest.conftest import Stand

CONFIG = "/api/v1/config"


def test_what_runs_is_told_masked_with_its_digest(stand: Stand) -> None:
    token = stand.token()
    answer = stand.ask("GET", CONFIG, token)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["hostname"] == "gw1.example.test"
    assert answer.json["cli"]["enable_secret_hash"] == "********"
    assert answer.headers["etag"] == f'"{stand.daemon.digest()}"'
    assert answer.headers["sentry-revision"] == "1"


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/ntp/servers/1", "192.0.2.3"),
        ("/hostname", "gw1.example.test"),
        ("/interfaces/mgmt0/addresses", ["192.0.2.2/24"]),
    ],
)
def test_a_part_is_told_by_its_pointer(stand: Stand, pointer: str, found: Any) -> None:
    assert stand.ask("GET", f"{CONFIG}?pointer={pointer}", stand.token()).json == found


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("pointer=/nothing", 404),
        ("pointer=/ntp/servers/99", 404),
        ("pointer=ntp", 400),
        ("path=/etc/passwd", 400),
        ("pointer=/ntp&pointer=/dns", 400),
    ],
)
def test_a_pointer_that_leads_nowhere_is_a_problem(stand: Stand, query: str, status: int) -> None:
    answer = stand.ask("GET", f"{CONFIG}?{query}", stand.token())
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "allowed" in answer.json["detail"] or "there are" in answer.json["detail"]


def test_a_patch_is_one_transaction_and_the_second_changes_nothing(stand: Stand) -> None:
    token = stand.token()
    patch = {"ntp": {"servers": ["192.0.2.9", "192.0.2.10"]}}
    done = stand.ask("PATCH", f"{CONFIG}?comment=by%20the%20fleet", token, patch)
    assert (done.status, done.json["changed"], done.json["revision"]) == (200, True, 2)
    assert [change["path"] for change in done.json["changes"]] == [["ntp", "servers"]]
    assert done.headers["etag"] == stand.ask("GET", CONFIG, token).headers["etag"]
    assert stand.ask("PATCH", CONFIG, token, patch).json["changed"] is False
    newest = stand.ask("GET", "/api/v1/revisions", token).json[0]
    assert (newest["user"], newest["comment"], newest["number"]) == ("token:fleet", "by the fleet", 2)


def test_a_check_changes_nothing(stand: Stand) -> None:
    token = stand.token()
    before = stand.daemon.digest()
    done = stand.ask("PATCH", f"{CONFIG}?check_only=true", token, {"ntp": {"servers": ["192.0.2.9"]}})
    assert (done.status, len(done.json["changes"])) == (200, 1)
    assert stand.daemon.digest() == before


def test_who_read_an_older_configuration_is_told_so_and_changes_nothing(stand: Stand) -> None:
    token = stand.token()
    read = stand.ask("GET", CONFIG, token).headers["etag"]
    assert stand.ask("PATCH", CONFIG, token, {"banner": {"text": "One"}}, headers={"If-Match": read}).status == 200
    late = stand.ask("PATCH", CONFIG, token, {"banner": {"text": "Two"}}, headers={"If-Match": read})
    assert (late.status, late.kind) == (412, "changed")
    weak = stand.ask("PATCH", CONFIG, token, {"banner": {"text": "Two"}}, headers={"If-Match": f"W/{read}"})
    assert weak.status == 412
    assert stand.ask("PATCH", CONFIG, token, {"banner": {}}, headers={"If-Match": "no quotes"}).status == 400
    assert stand.daemon.running()["banner"]["text"] == "One\n"
    assert stand.ask("PATCH", CONFIG, token, {"banner": {"text": "Two"}}, headers={"If-Match": "*"}).status == 200


def test_a_whole_configuration_replaces_the_other_and_masks_stay_what_they_were(stand: Stand) -> None:
    token = stand.token()
    tree = stand.ask("GET", CONFIG, token).json
    tree["hostname"] = "gw2.example.test"
    done = stand.ask("PUT", CONFIG, token, tree)
    assert (done.status, [change["path"] for change in done.json["changes"]]) == (200, [["hostname"]])
    assert stand.daemon.vault.reveal(stand.daemon.running()["cli"]["enable_secret_hash"]).startswith("$")


def test_what_is_not_confirmed_in_time_returns(stand: Stand) -> None:
    token = stand.token()
    done = stand.ask("PATCH", f"{CONFIG}?confirm_minutes=1", token, {"ntp": {"servers": ["192.0.2.9"]}})
    assert done.json["confirm_by"]
    stand.daemon.clock.now += 61
    stand.daemon.watch.tick()
    assert stand.ask("GET", "/api/v1/config/ntp", token).json["servers"] == ["192.0.2.1", "192.0.2.3"]


def test_what_is_confirmed_stays(stand: Stand) -> None:
    token = stand.token()
    stand.ask("PATCH", f"{CONFIG}?confirm_minutes=1", token, {"ntp": {"servers": ["192.0.2.9"]}})
    confirmed = stand.ask("POST", f"{CONFIG}/confirm", token)
    assert (confirmed.status, confirmed.data) == (204, b"")
    stand.daemon.clock.now += 61
    stand.daemon.watch.tick()
    assert stand.ask("GET", "/api/v1/config/ntp", token).json["servers"] == ["192.0.2.9"]
    assert stand.ask("POST", f"{CONFIG}/confirm", token).status in (409, 422)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"ntp": {"servers": ["not an address!"]}}, "ntp.servers.0"),
        ({"ntp": {"serves": []}}, "did you mean"),
        ({"portal": {"port": 0}}, "portal.port"),
        ({"ntp": {"servers": "x" * 5_000}}, "ntp.servers"),
    ],
)
def test_a_value_that_is_not_allowed_says_where_what_was_found_and_what_is_allowed(
    stand: Stand, body: Any, said: str
) -> None:
    answer = stand.ask("PATCH", CONFIG, stand.token(), body)
    assert (answer.status, answer.kind) == (422, "invalid")
    assert any(said in problem and "allowed:" in problem for problem in answer.json["problems"])


# --- one resource for each feature -----------------------------------------------------------------------------------


def test_a_feature_is_read_replaced_patched_and_reset(stand: Stand) -> None:
    token = stand.token()
    ntp = "/api/v1/config/ntp"
    assert stand.ask("PUT", ntp, token, {"servers": ["192.0.2.5", "192.0.2.6"]}).json["changed"]
    assert stand.ask("GET", ntp, token).json["servers"] == ["192.0.2.5", "192.0.2.6"]
    assert stand.ask("PATCH", ntp, token, {"servers": ["192.0.2.7"]}).json["changed"]
    assert stand.ask("PUT", "/api/v1/config/hostname", token, "gw9.example.test").json["revision"] == 4
    assert stand.ask("PATCH", "/api/v1/config/hostname", token, {}).status == 405
    assert stand.ask("PUT", "/api/v1/config/banner", token, {"text": "Hello"}).json["changed"]
    assert stand.ask("DELETE", "/api/v1/config/banner", token).json["changed"]
    assert stand.ask("GET", "/api/v1/config/hostname", token).json == "gw9.example.test"
    assert stand.ask("GET", "/api/v1/config/nothing", token).status == 404


# --- the candidate ---------------------------------------------------------------------------------------------------


def test_a_candidate_is_edited_over_several_requests_and_committed(stand: Stand) -> None:
    token = stand.token()
    where = "/api/v1/candidate"
    assert stand.ask("POST", f"{where}/set", token, {"path": ["ntp", "servers"], "value": ["192.0.2.5"]}).status == 204
    assert stand.ask("PATCH", where, token, {"banner": {"text": "Hello"}}).status == 204
    gone = {"path": ["ntp", "servers"], "value": "192.0.2.9"}
    assert stand.ask("POST", f"{where}/delete", token, gone).status == 422
    listed = stand.ask("GET", f"{where}/diff", token).json
    assert [change["path"] for change in listed] == [["banner", "text"], ["ntp", "servers"]]
    assert stand.ask("GET", where, token).json["ntp"]["servers"] == ["192.0.2.5"]
    assert stand.ask("GET", "/api/v1/config/ntp", token).json["servers"] != ["192.0.2.5"]
    assert stand.ask("POST", f"{where}/commit", token, {"comment": "steps"}).json["revision"] == 2
    assert stand.ask("GET", f"{where}/diff", token).json == []
    assert stand.ask("POST", "/api/v1/revisions/1/rollback", token).json["revision"] == 3
    assert stand.ask("POST", "/api/v1/revisions/99/rollback", token).status == 422
    assert stand.ask("POST", "/api/v1/revisions/one/rollback", token).status == 404


def test_a_candidate_is_discarded_and_replaced(stand: Stand) -> None:
    token = stand.token()
    where = "/api/v1/candidate"
    tree = {**stand.ask("GET", CONFIG, token).json, "hostname": "gw7.example.test"}
    assert stand.ask("PUT", where, token, tree).status == 204
    assert stand.ask("GET", where, token).json["hostname"] == "gw7.example.test"
    assert stand.ask("DELETE", where, token).status == 204
    assert stand.ask("GET", where, token).json["hostname"] == "gw1.example.test"


# --- who gets in -----------------------------------------------------------------------------------------------------


def test_a_password_needs_the_enable_secret_in_the_request_or_a_scope_that_says_so(stand: Stand) -> None:
    body = {"user": "alice", "password": "Another-Secret-12345"}
    token, explicit = stand.token(), stand.token("accounts", scopes=("read", "configure", "accounts"))
    refused = stand.ask("POST", "/api/v1/accounts/password", token, body)
    assert (refused.status, refused.kind) == (403, "privilege")
    wrong = stand.ask("POST", "/api/v1/accounts/password", token, body, enable="wrong")
    assert (wrong.status, wrong.kind) == (401, "authentication")
    assert stand.ask("POST", "/api/v1/accounts/password", token, body, enable=SECRET).status == 204
    assert stand.ask("POST", "/api/v1/candidate/commit", token, {}).status == 403
    assert stand.ask("POST", "/api/v1/candidate/commit", token, {}, enable=SECRET).json["changed"]
    assert (
        stand.ask("POST", "/api/v1/accounts/password", explicit, body | {"password": "Third-Secret-123456"}).status
        == 204
    )
    assert stand.ask("POST", "/api/v1/candidate/commit", explicit, {}).json["changed"]
    trail = str(stand.daemon.ledger.entries)
    assert not any(secret in trail for secret in (SECRET, "Another-Secret", token, explicit))


def test_who_could_not_come_back_needs_a_time_limit(stand: Stand) -> None:
    token = stand.token()
    patch = {"firewall": {"management_networks": ["192.0.2.0/24"]}}
    answer = stand.ask("PATCH", CONFIG, token, patch)
    assert (answer.status, answer.kind) == (409, "lockout")
    assert "127.0.0.1" in answer.json["detail"]
    assert stand.ask("PATCH", f"{CONFIG}?confirm_minutes=5", token, patch).json["confirm_by"]
