"""`python -m sentry_runtime.uem.openapi > docs/uem-api.openapi.json`: the protocol for programs (OpenAPI 3.1), made of the types.

The types say which fields there are; `BOUNDS` adds what `sentry_runtime.uem.messages` checks beside them, as far as a JSON schema
can say it. What it cannot say (canonical names, the order of versions, what a digest is of) is in docs/uem-api.md.
"""

import sys
from dataclasses import dataclass
from typing import Any

import msgspec

from sentry_runtime.devices.record import Reason
from sentry_runtime.devices.store import DEVICE_ID_BYTES, PRINCIPAL_BYTES
from sentry_runtime.devices.tunnel import HOST_CHARS, NAME_CHARS, TUNNELS
from sentry_runtime.eas.device_information import FIELD_CHARS
from sentry_runtime.uem.api import (
    DECISIONS_PER_PAGE,
    BucketPage,
    Contact,
    Decision,
    DecisionPage,
    Digests,
    Information,
    Problem,
    Push,
    WipeReport,
)
from sentry_runtime.uem.cloud_api import CANDIDATES, INVENTORY_PER_PAGE, Candidates, CloudSettings, Inventory
from sentry_runtime.uem.digests import BUCKETS
from sentry_runtime.uem.enrolment import ENROLMENTS, RENEWALS, Enrol, Enrolled, Renew
from sentry_runtime.uem.messages import ALIASES, VERSION_MAX, WORDS_CHARS

VERSION = "1.0.0-draft"  # it is 1.0.0 with the first release of this product, and does not change any more from then on
AT_UEM, AT_SENTRY = "UEM", "Sentry"

Schema = dict[str, Any]
_NAME: dict[str, Schema] = {
    "device_id": {"minLength": 1, "maxLength": DEVICE_ID_BYTES},
    "principal": {"minLength": 1, "maxLength": PRINCIPAL_BYTES},
}
_VERSION: Schema = {"minimum": 1, "maximum": VERSION_MAX}
_LAST: Schema = {"minimum": 0, "maximum": VERSION_MAX}
_WORDS: Schema = {"maxLength": WORDS_CHARS}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

BOUNDS: dict[str, dict[str, Schema]] = {
    "Contact": {
        **_NAME,
        "device_aliases": {"maxItems": ALIASES},
        "device_type": _WORDS,
        "user_agent": _WORDS,
        "protocol": _WORDS,
    },
    "Decision": {
        **_NAME,
        "version": _VERSION,
        "device_type": _WORDS,
        "note": _WORDS,
        "reasons": {"maxItems": len(Reason)},
        "tunnels": {"maxItems": TUNNELS},
    },
    "Information": _NAME,
    "WipeReport": _NAME,
    "Wipe": {"order": _VERSION, "by": _WORDS},
    "AppTunnel": {
        "name": {"minLength": 1, "maxLength": NAME_CHARS},
        "host": {"minLength": 1, "maxLength": HOST_CHARS},
        "port": {"minimum": 1, "maximum": 65_535},
        "authentication": {"minItems": 1},
    },
    "DecisionPage": {"next": _LAST, "decisions": {"maxItems": DECISIONS_PER_PAGE}},
    "BucketPage": {"version": _LAST, "decisions": {"maxItems": DECISIONS_PER_PAGE}},
    "Push": {"decisions": {"maxItems": DECISIONS_PER_PAGE}},
    "Candidates": {
        "version": _VERSION,
        "registered": {"maxItems": CANDIDATES},
        "unregistered": {"maxItems": CANDIDATES},
        "unidentified": {"maxItems": CANDIDATES},
    },
    "Unidentified": {
        "principal": _NAME["principal"],
        "device_type": _WORDS,
        "note": _WORDS,
        "tunnels": {"maxItems": TUNNELS},
    },
    "Inventory": {
        "after": _LAST,
        "number": _VERSION,
        "tunnels": {"maxItems": INVENTORY_PER_PAGE},
        "gone": {"maxItems": INVENTORY_PER_PAGE},
    },
    "Tunnel": {**_NAME, "version": _LAST, "device_type": _WORDS, "apps": {"maxItems": TUNNELS}},
    "DeviceKey": _NAME,
    "Digests": {"version": _LAST, "root": _DIGEST, "buckets": {"maxItems": BUCKETS, "items": _DIGEST}},
}
"""Per message and field, what is added to what its type says."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request: who answers it, what it carries, what comes back (None: nothing), and how it may fail."""

    at: str
    method: str
    path: str
    about: str
    request: type[msgspec.Struct] | None
    answer: type[msgspec.Struct] | None
    failures: tuple[int, ...]
    query: tuple[str, ...] = ()
    anybody: bool = False
    """Whether it is answered on the port of enrolment, where no certificate is asked for."""


_WRITTEN = (400, 408, 413)
OPERATIONS = (
    Operation(
        AT_UEM, "post", "/v1/contacts", "A device was seen for the first time", Contact, Decision, (*_WRITTEN, 429, 503)
    ),
    Operation(AT_UEM, "get", "/v1/decisions", "The feed", None, DecisionPage, (400, 503), ("after", "limit")),
    Operation(AT_UEM, "get", "/v1/digests", "What the UEM knows, in digests", None, Digests, (400, 503), ("root",)),
    Operation(
        *(
            AT_UEM,
            "get",
            "/v1/buckets/{bucket}",
            "What the UEM knows of one bucket's devices",
            None,
            BucketPage,
            (400, 503),
        ),
        query=("after", "limit"),
    ),
    Operation(AT_UEM, "post", "/v1/information", "What a device says of itself", Information, None, (*_WRITTEN, 503)),
    Operation(AT_UEM, "post", "/v1/wipes", "What has come of a wipe", WipeReport, Decision, (*_WRITTEN, 404, 503)),
    Operation(
        *(AT_UEM, "post", "/v1/candidates", "Cloud: what a device might be that was seen for the first time"),
        *(Contact, Candidates, (*_WRITTEN, 429, 503)),
    ),
    Operation(AT_UEM, "get", "/v1/settings", "Cloud: what its administrators have set", None, CloudSettings, ()),
    Operation(
        *(AT_UEM, "get", "/v1/compliance", "Cloud: the feed of what follows from compliance", None, DecisionPage),
        failures=(400, 503),
        query=("after", "limit"),
    ),
    Operation(
        *(AT_UEM, "get", "/v1/actions", "Cloud: the feed of what administrators did", None, DecisionPage),
        failures=(400, 503),
        query=("after", "limit"),
    ),
    Operation(
        *(AT_UEM, "post", "/v1/inventory", "Cloud: what is new in a Sentry's device list", Inventory, None),
        failures=(*_WRITTEN, 409, 503),
    ),
    Operation(
        *(AT_UEM, "post", ENROLMENTS, "A Sentry's first certificate, by a token", Enrol, Enrolled),
        failures=(*_WRITTEN, 403, 429, 503),
        anybody=True,
    ),
    Operation(AT_UEM, "post", RENEWALS, "A Sentry's next certificate", Renew, Enrolled, (*_WRITTEN, 403, 429, 503)),
    Operation(AT_SENTRY, "post", "/v1/decisions", "Changes, at once", Push, None, (*_WRITTEN, 503)),
)
"""Every request of the protocol."""

_PARAMETERS: dict[str, Schema] = {
    "after": {"name": "after", "in": "query", "schema": {"type": "integer", **_LAST, "default": 0}},
    "limit": {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": DECISIONS_PER_PAGE, "default": DECISIONS_PER_PAGE},
    },
    "root": {"name": "root", "in": "query", "schema": _DIGEST},
    "bucket": {
        "name": "bucket",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": BUCKETS - 1},
    },
}
_REASONS = {
    400: "Not of the protocol; `detail` names the place",
    403: "This token or this certificate is not good for that",
    404: "No such device",
    408: "The body did not arrive in time",
    409: "This does not go on from the last inventory of this Sentry; all of it is wanted",
    413: "The body is too long",
    429: "The principal has as many undecided devices as it may have, or the address or Sentry has tried too often",
    503: "Not now; repeat later",
}


def document() -> Schema:
    """The whole description."""
    messages = {kind for one in OPERATIONS for kind in (one.request, one.answer, Problem) if kind is not None}
    _, schemas = msgspec.json.schema_components(
        sorted(messages, key=lambda kind: kind.__name__), ref_template="#/components/schemas/{name}"
    )
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
    for name, fields in BOUNDS.items():
        for field, bounds in fields.items():
            schemas[name]["properties"][field] |= bounds
    for field in schemas["DeviceInformation"]["properties"].values():
        field["maxLength"] = FIELD_CHARS
    paths: dict[str, Schema] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The protocol between a Sentry and a UEM",
            "version": VERSION,
            "description": "JSON over HTTPS with mutual TLS; docs/uem-api.md says what it means.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "https://127.0.0.1:9443", "description": "the UEM in the box"},
            {"url": "https://127.0.0.1:9090", "description": "the Sentry, for pushes"},
        ],
        "security": [{"mutualTLS": []}],
        "tags": [
            {"name": AT_UEM, "description": "The UEM answers"},
            {"name": AT_SENTRY, "description": "The Sentry answers"},
        ],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"mutualTLS": {"type": "mutualTLS", "description": "Both sides show a certificate"}},
        },
    }


def text() -> str:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def _operation(one: Operation) -> Schema:
    made: Schema = {
        "operationId": f"{one.method}{''.join(part.title() for part in one.path.split('/')[2:]).replace('{Bucket}', '')}",
        "summary": one.about,
        "tags": [one.at],
        "responses": {
            **({"204": {"description": "Done"}} if one.answer is None else {"200": _body("The answer", one.answer)}),
            **{str(status): _problem(status) for status in sorted(one.failures)},
        },
    }
    if names := (*(["bucket"] if "{bucket}" in one.path else []), *one.query):
        made["parameters"] = [_PARAMETERS[name] for name in names]
    if one.anybody:
        made["security"] = []
        made["servers"] = [{"url": "https://uem.example.org:9444", "description": "the UEM's port of enrolment"}]
    if one.request is not None:
        made["requestBody"] = {"required": True, **_content(one.request, "application/json")}
    return made


def _problem(status: int) -> Schema:
    return {"description": _REASONS[status], **_content(Problem, "application/problem+json")}


def _body(about: str, kind: type[msgspec.Struct]) -> Schema:
    return {"description": about, **_content(kind, "application/json")}


def _content(kind: type[msgspec.Struct], media: str) -> Schema:
    return {"content": {media: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}}


if __name__ == "__main__":
    sys.stdout.write(text())
