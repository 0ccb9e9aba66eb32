"""Who gets through to which resource: nobody without a token, and a token to what its role and scopes say."""

import base64
from typing import Any, get_args

import pytest

from appliance.configd import api, facts, roles, scopes
from appliance.features import FEATURES
from appliance.rest.openapi import of_feature
from appliance.rest.operations import OWN, PREFIX, TOPICS, VERBS, Operation
from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.rest.conftest import Stand
from tests.unit.appliance.workbench import PASSWORDS

OPERATIONS = [*OWN, *VERBS, *(each for feature in FEATURES for each in of_feature(feature))]
OPEN: frozenset[str] = frozenset()
"""What is served without a token: nothing. A change here is a change of who gets in."""
SCOPES: tuple[api.Scope, ...] = get_args(api.Scope)
STRANGE = (
    "/api/v1", "/api/v1/", "/api/v1/nothing", "//api/v1/config", "/api//v1/config", "/api/v1//config", "/api/v1/./config",
    "/api/v1/../v1/config", "/api/v1/config/", "/api/v1/config;x", "/api/v1/.;/config", "/.;/api/v1/config",
    "/api/v1/%63onfig", "/%61pi/v1/config", "/api%2fv1%2fconfig", "/api/v1/%2e/config", "/api/v1/%2e%2e/v1/config",
    "/API/v1/config", "/api/V1/config", "/api/v1/CONFIG", "/api/v1/config%00", "/api/v1/config?token=sentry_x",
    "/login/..;/api/v1/config", "/static/../api/v1/config", "/api/v1/docs/../config", "/api/v1/openapi.json/../config",
)  # fmt: skip


def place(operation: Operation) -> str:
    """The operation's path with something in each of its places."""
    filled = {"revision": "1", "topic": "version", "device_id": "A", "name": "nobody", "action": "status"}
    filled["service"], filled["form"] = "portal", "ckl"
    if operation.name == "maintain":
        filled["action"] = "resume"
    return PREFIX + operation.path.format(**{name: filled[name] for name in operation.places})


def test_without_a_token_every_operation_is_a_401_and_configd_hears_of_none(stand: Stand) -> None:
    assert len(OPERATIONS) > 100
    assert not OPEN
    before = len(stand.daemon.ledger.entries)
    for operation in OPERATIONS:
        answer = stand.ask(operation.method, place(operation))
        assert (answer.status, answer.kind) == (401, "authentication"), operation
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(stand.daemon.ledger.entries) == before


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer sentry_x", "Bearer é"]
)
def test_what_is_no_token_is_a_401(stand: Stand, authorization: str) -> None:
    headers = {"Authorization": authorization}
    assert stand.ask("GET", "/api/v1/config", headers=headers).status == 401


def test_no_way_of_writing_a_path_goes_round_the_token(stand: Stand) -> None:
    for path in STRANGE:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"):
            answer = stand.ask(method, path)
            led = answer.headers.get("location")
            assert answer.status == 401 or (answer.status, led) == (303, "/login"), (method, path)
    assert [entry.event for entry in stand.daemon.ledger.entries if entry.event == "session.token"] == []


def test_a_cookie_or_a_token_in_the_query_opens_nothing(stand: Stand) -> None:
    token = stand.token()
    for headers in ({"Cookie": f"__Host-sentry={token}"}, {"X-Api-Key": token}, {"Cookie": f"token={token}"}):
        assert stand.ask("GET", "/api/v1/config", headers=headers).status == 401
    assert stand.ask("GET", f"/api/v1/config?access_token={token}").status == 401


def test_with_a_token_what_is_not_there_is_told(stand: Stand) -> None:
    token = stand.token()
    assert stand.ask("GET", "/api/v1/nothing", token).status == 404
    refused = stand.ask("PUT", "/api/v1/facts", token)
    assert (refused.status, refused.headers["allow"], refused.kind) == (405, "GET", "method")


def test_another_host_is_misdirected_whatever_the_token(stand: Stand) -> None:
    headers = {"Host": f"evil.example:{stand.port}"}
    assert stand.ask("GET", "/api/v1/config", stand.token(), headers=headers).status == 421


# --- roles and scopes ------------------------------------------------------------------------------------------------

HARMLESS: dict[str, Any] = {
    "explain": {"device_id": "A", "principal": "a@b"},
    "set_setting": {"path": ["banner", "text"], "value": "x"},
}


@pytest.mark.parametrize("role", sorted(scopes.OF_ROLE))
def test_the_table_of_operations_by_role_and_scope(stand: Stand, role: api.Role) -> None:
    """Each operation against each token with one scope: what is refused as not permitted, and what gets further."""
    tokens = {scope: stand.token(f"t-{scope}", role, scopes=(scope,)) for scope in sorted(scopes.OF_ROLE[role])}
    walked = 0
    for operation in OPERATIONS:
        if operation.name == "create_token":
            continue
        for scope, token in tokens.items():
            answer = stand.ask(
                operation.method, place(operation), token, HARMLESS.get(operation.name, _body(operation))
            )
            needed, walked = operation.needs, walked + 1
            by_role = operation.verb is None or role in roles.RULES[operation.verb].roles
            allowed = needed is None or (scope == needed and by_role)
            assert answer.status != 500
            assert (answer.status == 403 and answer.kind == "permission") == (not allowed), (operation.name, scope)
    assert walked == (len(OPERATIONS) - 1) * len(tokens)


BODIES: dict[str, Any] = {
    "device_action": {"action": "allow", "device_id": "A", "principal": "a@b"},
    "flag_device": {"cause": "policy", "holds": True, "device_id": "A", "principal": "a@b"},
    "device_policy": {"policy": None, "device_id": "A", "principal": "a@b"},
    "delete_setting": {"path": ["banner", "text"]},
    "set_password": {"user": "alice", "password": "x"},
    "set_enable_secret": {"secret": "x"},
    "upload_certificate": {"certificate": "x"},
    "restore_backup": {"backup": "AAAA", "passphrase": "x"},
    "upload_pkcs12": {"pkcs12": "x", "password": "x"},
    "ping": {"host": "localhost"},
    "lookup": {"host": "localhost"},
    "trace": {"host": "localhost"},
    "set_clock": {"time": "2026-01-31T18:00:00Z"},
    "power": {"action": "reload"},
    "start_capture": {"interface": "none0"},
}


def _body(operation: Operation) -> Any:
    if operation.name in BODIES:
        return BODIES[operation.name]
    return {} if operation.method in ("POST", "PUT", "PATCH") else None


def test_every_operation_of_a_verb_needs_what_the_verb_needs() -> None:
    """What the document says of scopes is what configd's table says."""
    for operation in VERBS:
        assert operation.verb in roles.RULES
        assert operation.needs == (operation.scope or scopes.SCOPE_OF[operation.verb])
    assert {each.verb for each in (*OWN, *VERBS)} >= set(scopes.SCOPE_OF) - {api.ReadConfig, api.ReadMetrics}


def test_the_topics_are_configds() -> None:
    assert set(TOPICS) == set(facts.TOPICS)


def test_no_token_stops_the_machine_without_a_word_for_it(stand: Stand) -> None:
    token, power = stand.token(), stand.token("power", scopes=("services", "power"))
    assert stand.ask("POST", "/api/v1/system/power", token, {"action": "reload"}).kind == "privilege"
    assert stand.ask("POST", "/api/v1/services/gateway/stop", token).kind == "privilege"
    assert stand.ask("POST", "/api/v1/gateway/drain", token).kind == "privilege"
    stand.ask("POST", "/api/v1/system/power", power, {"action": "reload"})
    assert "systemctl --no-block reboot" in [" ".join(argv) for argv in stand.daemon.commands.log]
    stand.ask("POST", "/api/v1/services/gateway/stop", token, enable=SECRET)
    assert "stop -- sentry-gateway.service" in stand.daemon.commands.acted()


# --- tokens ----------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_an_administrator_gives_a_token_out_with_password_and_enable_secret(stand: Stand) -> None:
    body = {"name": "web", "role": "auditor", "days": 7}
    login = basic("alice", PASSWORDS["alice"])
    assert stand.ask("POST", "/api/v1/tokens", body=body, headers=login).kind == "permission"
    made = stand.ask("POST", "/api/v1/tokens", body=body, headers=login, enable=SECRET)
    assert (made.status, made.headers["location"]) == (201, "/api/v1/tokens/web")
    token = made.json["token"]
    said = stand.ask("GET", "/api/v1/session", token).json
    assert (said["user"], said["role"], said["scopes"], said["handle"]) == (
        "token:web",
        "auditor",
        ["metrics", "read"],
        "",
    )
    assert stand.ask("POST", "/api/v1/tokens", token, body, enable=SECRET).status == 401
    assert stand.daemon.sessions.all() == ()


@pytest.mark.parametrize("user", ["alice", "mallory", "nobody"])
def test_a_wrong_password_gives_none_out(stand: Stand, user: str) -> None:
    body = {"name": "web", "role": "auditor"}
    answer = stand.ask("POST", "/api/v1/tokens", body=body, headers=basic(user, "wrong"), enable=SECRET)
    assert (answer.status, answer.kind) == (401, "authentication")


def test_log_ins_by_password_are_bounded_as_in_the_portal(stand: Stand) -> None:
    """Each that is wrong would keep a connection to configd for seconds; here one of a minute's has been used."""
    body = {"name": "web", "role": "auditor"}
    throttle = stand.rest._throttle
    for number in range(stand.rest._throttle._attempts):
        assert throttle.wait_seconds("source 127.0.0.1", f"account {number}") == 0
    answer = stand.ask("POST", "/api/v1/tokens", body=body, headers=basic("alice", "wrong"), enable=SECRET)
    assert (answer.status, answer.kind) == (429, "locked")
    assert 0 < int(answer.headers["retry-after"]) <= 61


def test_tokens_are_listed_and_one_is_revoked_at_once(stand: Stand) -> None:
    token, other = stand.token(), stand.token("other", "auditor")
    listed = stand.ask("GET", "/api/v1/tokens", token).json
    assert [each["name"] for each in listed] == ["fleet", "other"]
    assert token not in str(listed)
    assert stand.ask("DELETE", "/api/v1/tokens/other", token).kind == "privilege"
    assert stand.ask("GET", "/api/v1/session", other).status == 200
    assert stand.ask("DELETE", "/api/v1/tokens/other", token, enable=SECRET).status == 204
    assert stand.ask("GET", "/api/v1/session", other).status == 401


def test_failed_tokens_lock_the_address(stand: Stand) -> None:
    token = stand.token()
    wrong = "sentry_" + "A" * 43
    statuses = [stand.ask("GET", "/api/v1/session", wrong).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    locked = stand.ask("GET", "/api/v1/session", token)
    assert (locked.status, locked.kind, locked.headers["retry-after"]) == (429, "locked", "900")
    stand.daemon.ticks.now += 900
    assert stand.ask("GET", "/api/v1/session", token).status == 200


# --- requests that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"raw": b"{"}, 400),
        ({"raw": b"[" * 5_000}, 400),
        ({"raw": b'{"a":' * 40 + b"1" + b"}" * 40}, 422),
        ({"raw": b"[]"}, 422),
        ({"raw": b'{"a": "\xff"}'}, 400),
        ({"raw": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"raw": b"x", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415),
        ({"raw": b" " * 2_097_153}, 413),
        ({"body": {"path": "/etc/passwd", "value": 1}}, 422),
        ({"body": {"path": ["ntp"], "value": 1, "command": "id"}}, 422),
        ({"body": {"path": ["x" * 600], "value": 1}}, 422),
    ],
)
def test_a_body_that_is_none_is_a_problem(stand: Stand, more: dict[str, Any], status: int) -> None:
    answer = stand.ask("POST", "/api/v1/candidate/set", stand.token(), **more)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json["detail"]
