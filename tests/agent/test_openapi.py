"""docs/uem-api.openapi.json: current, valid, and what real processes say to each other is what it describes."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from sentry_runtime import control
from sentry_runtime.devices.record import State
from sentry_runtime.uem import openapi
from sentry_runtime.uem.api import Push
from sentry_runtime.uem.messages import MessageError, decode
from tests.agent.lossy import between
from tests.agent.stage import ROOT, Stage
from tests.agent.test_outages import set_state
from tests.agent.test_ports import ANNA, call, push

FILE = Path(ROOT, "docs/uem-api.openapi.json")
DOCUMENT: dict[str, Any] = msgspec.json.decode(FILE.read_bytes())
KEY = {"device_id": "C1", "principal": "anna@lab.test"}


def test_the_file_is_current() -> None:
    """Made anew it is the same; `python -m sentry_runtime.uem.openapi > docs/uem-api.openapi.json`."""
    assert FILE.read_text() == openapi.text()


def test_the_file_is_of_openapi_3_1() -> None:
    """By the published schema of that; a broken one is not."""
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    with pytest.raises(Exception, match=r"5 is not of type .object."):
        validate({**DOCUMENT, "paths": {"/x": {"get": {"responses": 5}}}})


def test_every_request_that_is_served_is_described() -> None:
    """By the two servers' own routes."""
    said = {(one.at, one.method.upper(), one.path) for one in openapi.OPERATIONS}
    assert said == {
        ("UEM", "POST", "/v1/contacts"),
        ("UEM", "GET", "/v1/decisions"),
        ("UEM", "GET", "/v1/digests"),
        ("UEM", "GET", "/v1/buckets/{bucket}"),
        ("UEM", "POST", "/v1/information"),
        ("UEM", "POST", "/v1/wipes"),
        ("UEM", "POST", "/v1/candidates"),
        ("UEM", "GET", "/v1/settings"),
        ("UEM", "GET", "/v1/compliance"),
        ("UEM", "GET", "/v1/actions"),
        ("UEM", "POST", "/v1/inventory"),
        ("UEM", "POST", "/v1/enrolments"),
        ("UEM", "POST", "/v1/renewals"),
        ("Sentry", "POST", "/v1/decisions"),
    }


def check(name: str, message: Any) -> None:
    """Raise `ValidationError` unless the message is one of this schema."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.validate(message, schema, cls=jsonschema.Draft202012Validator)


def exchange(stage: Stage, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A request that is of the file, to the real UEM; its answer, which is of the file too."""
    template = "/v1/buckets/{bucket}" if path.startswith("/v1/buckets/") else path.partition("?")[0]
    described = DOCUMENT["paths"][template][method.lower()]
    if body is not None:
        schema = described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        check(schema.rpartition("/")[2], body)
    encoded = None if body is None else msgspec.json.encode(body)
    status, text = call(stage.pki, "agent", stage.uem_port, method, path, encoded)
    (content,) = described["responses"][str(status)].get("content", {"": None}).values()
    answer = msgspec.json.decode(text) if text else None
    if content is not None:
        check(content["schema"]["$ref"].rpartition("/")[2], answer)
    return status, answer


def test_a_real_exchange_is_as_described(stage: Stage) -> None:
    """Every request to the UEM, good and bad, and every answer."""
    stage.uem()
    set_state(stage, ANNA, State.ALLOWED)
    contact = {**KEY, "device_type": "iPhone", "seen": 5, "device_aliases": ["4331"]}
    status, decision = exchange(stage, "POST", "/v1/contacts", contact)
    assert (status, decision["state"]) == (200, "allowed")
    wiped = control.call(
        stage.paths.uem_admin, control.OrderWipe(device_id="C1", principal="anna@lab.test"), dict[str, Any]
    )
    wipe = {"kind": "device", "order": wiped["version"], "marks": ["unverified"]}
    statuses = [
        exchange(stage, *request)[0]
        for request in (
            ("POST", "/v1/wipes", {**KEY, "wipe": wipe}),
            ("POST", "/v1/wipes", {**KEY, "device_id": "C9", "wipe": wipe}),
            ("POST", "/v1/information", {**KEY, "information": {"model": "iPhone10C1"}}),
            ("GET", "/v1/decisions?after=0&limit=10"),
            ("GET", "/v1/decisions?after=x"),
            ("GET", "/v1/digests"),
            ("GET", "/v1/digests?root=x"),
            ("GET", "/v1/buckets/5?after=0"),
            ("GET", "/v1/buckets/1024"),
        )
    ]
    assert statuses == [200, 404, 204, 200, 400, 200, 400, 200, 400]


def test_a_real_exchange_of_the_cloud_manner_is_as_described(stage: Stage) -> None:
    """Every request of it, good and bad, and every answer."""
    stage.uem()
    set_state(stage, ANNA, State.BLOCKED)
    contact = {**KEY, "device_type": "iPhone", "seen": 5, "device_aliases": ["4331"]}
    status, found = exchange(stage, "POST", "/v1/candidates", contact)
    assert (status, [one["state"] for one in found["unregistered"]]) == (200, ["blocked"])
    tunnel = {**KEY, "state": "blocked", "version": found["version"], "apps": ["Web"]}
    statuses = [
        exchange(stage, *request)[0]
        for request in (
            ("GET", "/v1/settings"),
            ("GET", "/v1/compliance?after=0&limit=10"),
            ("GET", "/v1/compliance?after=x"),
            ("GET", "/v1/actions"),
            ("GET", "/v1/actions?limit=0"),
            ("POST", "/v1/inventory", {"after": 0, "number": 1, "tunnels": [tunnel]}),
            ("POST", "/v1/inventory", {"after": 1, "number": 2, "gone": [KEY]}),
            ("POST", "/v1/inventory", {"after": 1, "number": 2, "gone": [KEY]}),
            ("POST", "/v1/inventory", {"after": 7, "number": 8}),
        )
    ]
    assert statuses == [200, 200, 400, 200, 400, 204, 204, 204, 409]


def test_a_real_push_is_as_described(stage: Stage) -> None:
    """As the UEM sends it, and as the Sentry refuses one."""
    stage.agent()
    with between(stage, 0.0, 1) as ear:
        stage.push_by_way_of(ear.server_address[1])
        stage.uem()
        set_state(stage, ANNA, State.BLOCKED)
        stage.wait(lambda: stage.status()["devices"] == 1)
        bodies = [msgspec.json.decode(body) for body in ear.bodies]
    assert [len(body["decisions"]) for body in bodies] == [0, 1]
    for body in bodies:
        check("Push", body)
    status, refusal = push(stage, {"device_id": "c1"})
    assert status == 400
    check("Problem", msgspec.json.decode(refusal))


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"version": 0},
        {"version": "7"},
        {"state": "perhaps"},
        {"reasons": ["because"]},
        {"device_id": ""},
        {"device_id": "C" * 65},
        {"note": "x" * 257},
        {"tunnels": [{"name": "W", "host": "w", "port": 0}]},
        {"tunnels": [{"name": "W", "host": "w", "port": 1, "authentication": []}]},
        {"wipe": {"kind": "device", "order": 0}},
        {"policy": {"allow_camera": 5}},
    ],
)
def test_what_the_file_refuses_the_processes_refuse(change: dict[str, Any]) -> None:
    """Whoever goes by the file is not surprised."""
    decision = {**KEY, "state": "allowed", "version": 7, **change}
    with pytest.raises(jsonschema.ValidationError):
        check("Push", {"decisions": [decision]})
    with pytest.raises(MessageError):
        decode(msgspec.json.encode({"decisions": [decision]}), Push)
