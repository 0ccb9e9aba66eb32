"""The OpenAPI 3.1 document of the API, made from the table of operations, the verbs and the settings' rules:

python -m appliance.rest.openapi > docs/api.openapi.json
"""

import sys
from functools import cache
from typing import Any

import msgspec

from appliance.configd import api
from appliance.features import FEATURES
from appliance.features.base import Feature
from appliance.rest import schemas
from appliance.rest.operations import (
    BY_NAME,
    COMMITS,
    FEATURE_METHODS,
    FEATURE_SCOPES,
    OWN,
    PREFIX,
    TOPICS,
    VERBS,
    Method,
    Operation,
    body_type,
    fields_of,
)
from appliance.rest.problems import TITLES
from appliance.rest.requests import BINARY, ENABLE_HEADER, MERGE

REF = "#/components/schemas/{name}"
VERSION = "1"
DESCRIPTION = """\
Everything that the command line does with configd's verbs, for programs. A token is given out on the command line
(`token create`) or by `POST /tokens`, and is sent as `Authorization: Bearer`. Each request is judged by configd by the token's
role and scopes; what is allowed to nobody by default needs the scope `accounts` or `power`, or the enable secret in the header
`Sentry-Enable-Secret` of the same request. Errors are problems (RFC 9457). See docs/rest.md.
"""
PROBLEMS = {
    "400": "The request cannot be read.",
    "401": "There is no token, or it is not good.",
    "403": "The token is not for this.",
    "404": "There is no such resource.",
    "408": "The body did not come in time.",
    "409": "Somebody else changes the configuration, or the token could not come back after this.",
    "412": "The configuration is not the one that If-Match names.",
    "413": "The body is too large.",
    "415": "The body is of another type.",
    "422": "A value is not allowed; `problems` says where, what was found and what is allowed.",
    "429": "Too many failed attempts from this address.",
    "503": "A part of the appliance does not answer.",
}

Json = dict[str, Any]


def of_feature(feature: Feature) -> tuple[Operation, ...]:
    """The operations of a feature's resource. One that is a single value cannot be patched, and one without a default cannot be
    deleted."""
    methods: list[Method] = ["GET", "PUT"]
    methods += ["PATCH"] if feature.schema.get("type") == "dict" else []
    methods += ["DELETE"] if feature.default is not None else []
    return tuple(
        Operation(
            method=method,
            path=f"/config/{feature.name}",
            name=f"{ {'GET': 'read', 'PUT': 'replace', 'PATCH': 'merge', 'DELETE': 'reset'}[method] }_{feature.name}",
            summary=f"{FEATURE_METHODS[method]} {feature.name}: {feature.label}",
            tag="settings",
            scope=FEATURE_SCOPES[method],
        )
        for method in methods
    )


def document(features: tuple[Feature, ...] = FEATURES) -> Json:
    """The whole document, as JSON has it."""
    made: Json = _simple(msgspec.json.decode(msgspec.json.encode(_document(features))))
    return made


def _simple(value: Any) -> Any:
    """A pair of strings as a list of two strings: many programs that read such documents do not know `prefixItems`."""
    if isinstance(value, list):
        return [_simple(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _simple(each) for key, each in value.items()}
    alike = made.get("prefixItems")
    if isinstance(alike, list) and all(each == alike[0] for each in alike):
        del made["prefixItems"]
        made["items"] = alike[0]
    return made


def _document(features: tuple[Feature, ...]) -> Json:
    paths: dict[str, Json] = {}
    for operation in (*OWN, *VERBS):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for feature in features:
        for operation in of_feature(feature):
            paths.setdefault(operation.path, {})[operation.method.lower()] = _setting(operation, feature)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sentry", "version": VERSION, "description": DESCRIPTION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys([*(each.tag for each in (*OWN, *VERBS)), "settings"])],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic", "description": "An administrator's."},
            },
            "schemas": _components(features),
            "responses": {
                f"Problem{status}": {
                    "description": text,
                    "content": {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}},
                }
                for status, text in PROBLEMS.items()
            },
        },
    }


# --- schemas ---------------------------------------------------------------------------------------------------------


def _kinds() -> tuple[Any, ...]:
    """Every type of a body or a result."""
    bodies = (body_type(each.name) for each in VERBS if each.verb not in (api.ReplaceConfig, api.MergeConfig))
    listed = [*bodies, body_type("create_token"), *(each.result for each in (*OWN, *VERBS))]
    return tuple(kind for kind in listed if kind is not None)


@cache
def _schemas() -> dict[int, Json]:
    """The schema of each kind, by its place in `_kinds`, and the components that they name."""
    made, components = msgspec.json.schema_components(_kinds(), ref_template=REF)
    return {**dict(enumerate(made)), -1: components}


def _schema_of(kind: Any) -> Json:
    return _schemas()[_kinds().index(kind)]


def _components(features: tuple[Feature, ...]) -> Json:
    problem = {
        "type": "object",
        "title": "Problem (RFC 9457)",
        "properties": {
            "type": {"type": "string", "description": f"Ends with one of: {', '.join(TITLES)}."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "problems": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["type", "title", "status", "detail"],
    }
    patch = {"type": "object", "description": "Settings laid over what is there (RFC 7396); null takes one back."}
    settings = {schemas.component(feature): schemas.of_feature(feature) for feature in features}
    return {
        **_schemas()[-1],
        "Problem": problem,
        "Configuration_tree": schemas.whole(features),
        "Patch": patch,
        **settings,
    }


# --- operations ------------------------------------------------------------------------------------------------------


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "description": _description(operation),
        "parameters": [*_places(operation), *_queries(operation)],
        "responses": {**_success(operation), **_problems()},
    }
    content = _content(operation)
    if content:
        made["requestBody"] = content
    if operation is BY_NAME["create_token"]:
        made["security"] = [{"password": []}]
        made["parameters"].append(_header(ENABLE_HEADER, "The enable secret.", required=True))
    elif operation.name in ("replace_config", "merge_config"):
        made["parameters"] += _committing()
    return made


def _description(operation: Operation) -> str:
    if operation is BY_NAME["create_token"]:
        return "Not with a token. The token is in the answer and is shown nowhere again."
    if operation.needs is None:
        return "With any token."
    about = (
        " It goes on with what the token is editing, and leaves it for its next request." if operation.candidate else ""
    )
    return f"Scope: {operation.needs}.{about}"


def _places(operation: Operation) -> list[Json]:
    if operation.verb is None:
        return []
    kinds = {each.name: each.type for each in fields_of(operation)}
    return [
        {"name": name, "in": "path", "required": True, "schema": _word(name, kinds[name])} for name in operation.places
    ]


def _word(name: str, kind: Any) -> Json:
    return {"type": "string", "enum": list(TOPICS)} if name == "topic" else _plain(kind)


def _plain(kind: Any) -> Json:
    made: Json = msgspec.json.schema(kind)
    return made


def _queries(operation: Operation) -> list[Json]:
    if operation.name == "read_config":
        text = "A JSON pointer (RFC 6901) to a part, such as /ntp/servers."
        return [{"name": "pointer", "in": "query", "description": text, "schema": {"type": "string"}}]
    kinds = {each.name: each.type for each in fields_of(operation)}
    return [{"name": name, "in": "query", "schema": _plain(kinds[name])} for name in operation.query]


def _committing() -> list[Json]:
    kinds = {each.name: each.type for each in msgspec.structs.fields(api.Commit)}
    text = "The ETag of the configuration that this is meant to change; another one is answered with 412."
    listed = [{"name": name, "in": "query", "schema": _query_schema(kinds[name])} for name in COMMITS]
    return [*listed, _header("If-Match", text), _header(ENABLE_HEADER, "Where it changes who gets in.")]


def _query_schema(kind: Any) -> Json:
    """Nothing in a query is null: it is not there."""
    if kind == int | None:
        return {"type": "integer"}
    return _plain(kind)


def _header(name: str, text: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "header", "description": text, "required": required, "schema": {"type": "string"}}


def _content(operation: Operation) -> Json | None:
    if operation.name in ("replace_config", "replace_candidate"):
        return _body({"$ref": REF.format(name="Configuration_tree")}, "application/json")
    if operation.name in ("merge_config", "merge_candidate"):
        return _body({"$ref": REF.format(name="Patch")}, *MERGE)
    if operation.name == "upload_software":
        return _body({"type": "string", "format": "binary"}, BINARY)
    kind = body_type(operation.name)
    if kind is None:
        return None
    required = any(each.required for each in msgspec.structs.fields(kind))
    return _body(_schema_of(kind), "application/json", required=required)


def _body(schema: Json, *types: str, required: bool = True) -> Json:
    return {"required": required, "content": {kind: {"schema": schema} for kind in types}}


def _success(operation: Operation) -> Json:
    if operation.name == "docs":
        return {"200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}}}
    if operation.name == "metrics":
        return {
            "200": {"description": "Text of version 0.0.4.", "content": {"text/plain": {"schema": {"type": "string"}}}}
        }
    if operation.name == "read_config":
        return _told({}, digest=True)
    if operation.result is None:
        return {"204": {"description": "Done."}}
    if operation.name in ("replace_config", "merge_config"):
        return _told(_schema_of(operation.result), digest=True)
    status = "201" if operation.name == "create_token" else "200"
    return _told(_schema_of(operation.result), status=status)


def _told(schema: Json, *, status: str = "200", digest: bool = False) -> Json:
    made: Json = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if digest:
        text = "The digest of the running configuration, for If-Match."
        made["headers"] = {"ETag": {"description": text, "schema": {"type": "string"}}}
    return {status: made}


def _problems() -> Json:
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in PROBLEMS}


def _setting(operation: Operation, feature: Feature) -> Json:
    schema = {"$ref": REF.format(name=schemas.component(feature))}
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "description": _description(operation),
        "parameters": [] if operation.method == "GET" else _committing(),
        "responses": {
            **_told(schema if operation.method == "GET" else _schema_of(api.Committed), digest=True),
            **_problems(),
        },
    }
    if operation.method == "PUT":
        made["requestBody"] = _body(schema, "application/json")
    if operation.method == "PATCH":
        made["requestBody"] = _body({"$ref": REF.format(name="Patch")}, *MERGE)
    return made


def text(features: tuple[Feature, ...] = FEATURES) -> str:
    """The document as it is kept in docs/."""
    return msgspec.json.format(msgspec.json.encode(document(features)), indent=1).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
