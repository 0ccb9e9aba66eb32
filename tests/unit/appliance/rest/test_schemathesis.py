"""Requests of all kinds, made from the document itself, at the running API: what comes back is what the document says."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from appliance.portal.serving import HEAD_BYTES
from appliance.rest import openapi
from appliance.rest.requests import ENABLE_HEADER
from sentry_runtime import control
from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.cli.test_table import NOTHING_EXPLAINED
from tests.unit.appliance.rest.conftest import Stand

Case = schemathesis.Case[Any]
Operation = APIOperation[Any, Any, Any, Any]
EXAMPLES = int(os.environ.get("EXAMPLES", "2"))  # of each operation and of each kind, good and bad
OPERATIONS_AT_LEAST = 100
WITH_A_PASSWORD = "POST /tokens"  # each takes its seconds to be refused; test_who_may.py has them
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
ROOM = 20  # of a request line, for the method and the version
SCOPES = ("read", "configure", "devices", "services", "metrics", "diagnose")


def test_nothing_that_is_sent_breaks_it_or_is_answered_otherwise_than_the_document_says(stand: Stand) -> None:
    """A 503 is a part of the appliance that is not in this test (the gateway, the UEM, openssl), and is in the document."""
    token = stand.token(scopes=SCOPES)
    stand.daemon.told[control.Explain] = NOTHING_EXPLAINED
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    statuses: Counter[int] = Counter()

    def send(case: Case, mode: GenerationMode) -> None:
        case.headers.pop(ENABLE_HEADER, None)  # a wrong one is refused before anything else is looked at, and locks
        answer = case.call(base_url=f"{stand.url}/api/v1", session=session, verify=str(stand.certificate))
        if len(str(answer.request.path_url)) > HEAD_BYTES - ROOM:  # refused before any code of ours runs
            assert answer.status_code == 400
            return
        statuses[answer.status_code] += 1
        assert answer.status_code != 500
        bad = [negative_data_rejection] if mode is GenerationMode.NEGATIVE and answer.status_code != 503 else []
        case.validate_response(answer, checks=[*CHECKS, *bad])

    tried = 0
    for result in schemathesis.openapi.from_dict(openapi.document()).get_all_operations():
        operation: Operation | None = result.ok()  # type: ignore[union-attr]  # an error has no `ok`, and ends the test
        assert operation is not None
        if operation.label == WITH_A_PASSWORD:
            continue
        tried += 1
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _examples(operation, mode, send)
    assert tried >= OPERATIONS_AT_LEAST
    assert sum(statuses.values()) > tried
    assert {200, 204, 400, 404, 422} <= set(statuses)
    assert SECRET not in str(stand.daemon.ledger.entries)


def _examples(operation: Operation, mode: GenerationMode, send: Callable[[Case, GenerationMode], None]) -> None:
    """Send some requests of one kind."""
    bounds = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )

    @bounds
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        send(case, mode)

    run()
