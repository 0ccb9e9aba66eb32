"""The OpenAPI document: in step with the code, whole, and to be read by people and programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from appliance.features import FEATURES
from appliance.rest import openapi
from appliance.rest.operations import OWN, VERBS
from tests.unit.appliance.rest.conftest import Stand

DOCUMENT = Path(__file__).parents[4] / "docs/api.openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def test_the_kept_document_is_what_the_code_says_today() -> None:
    assert DOCUMENT.read_text() == openapi.text()


def test_it_is_one(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_operation_and_every_feature_is_in_it(document: dict[str, Any]) -> None:
    listed = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    made = {each.name for each in (*OWN, *VERBS)} | {each.name for one in FEATURES for each in openapi.of_feature(one)}
    assert listed == made
    assert {f"/config/{feature.name}" for feature in FEATURES} <= set(document["paths"])


def test_no_parameter_and_no_field_takes_a_command_or_a_place_of_the_file_system(document: dict[str, Any]) -> None:
    names = {
        parameter["name"]
        for methods in document["paths"].values()
        for each in methods.values()
        for parameter in each["parameters"]
    }
    assert names == {
        "topic", "argument", "revision", "device_id", "service", "action", "name", "pointer", "comment", "confirm_minutes",
        "check_only", "form", "If-Match", "Sentry-Enable-Secret",
    }  # fmt: skip


def test_secrets_have_no_rules_that_their_mask_would_break(document: dict[str, Any]) -> None:
    secret = document["components"]["schemas"]["Setting_cli"]["properties"]["enable_secret_hash"]
    assert secret["format"] == "password"
    assert "pattern" not in secret


def test_it_is_served_and_the_page_has_no_script(stand: Stand) -> None:
    token = stand.token("reader", "auditor", scopes=("metrics",))
    assert stand.ask("GET", "/api/v1/openapi.json", token).json == json.loads(openapi.text())
    page = stand.ask("GET", "/api/v1/docs", token)
    assert page.headers["content-type"].startswith("text/html")
    assert "script" not in page.headers["content-security-policy"]
    text = page.data.decode()
    assert "<script" not in text
    assert "PATCH /api/v1/config/ntp" in text
    assert 'id="problem-lockout"' in text
