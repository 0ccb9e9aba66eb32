"""The OpenAPI document as a page that people read: made here, without a script, under the portal's own content policy."""

from pathlib import Path
from typing import Any

import jinja2

from appliance.rest.problems import STATUS, TITLES

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(document: dict[str, Any]) -> str:
    """HTML of the document's operations, by tag."""
    tags: dict[str, list[dict[str, Any]]] = {each["name"]: [] for each in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags[operation["tags"][0]].append(
                {
                    "method": method.upper(),
                    "path": f"{document['servers'][0]['url']}{path}",
                    "summary": operation["summary"],
                    "description": operation["description"],
                    "parameters": operation["parameters"],
                    "body": _body(operation, document),
                }
            )
    return _TEMPLATES.get_template("api.html.j2").render(
        info=document["info"], tags=tags, problems=TITLES, statuses={str(kind): code for kind, code in STATUS.items()}
    )


def _body(operation: dict[str, Any], document: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The fields of the body: name, type in a word, whether it must be there."""
    if "requestBody" not in operation:
        return []
    schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", ())
    listed = schema.get("properties", {})
    return [(name, _kind(each), name in required) for name, each in listed.items()]


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2]).removeprefix("Setting_")
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    kind = schema.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
