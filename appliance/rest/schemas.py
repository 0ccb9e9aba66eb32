"""The settings' rules as JSON Schema (2020-12): what a feature's resource takes and gives.

Rules that no JSON Schema says (those of functions, and between settings) stand in the descriptions, in the words in which they
are refused.
"""

from collections.abc import Mapping
from typing import Any

from appliance.config import words
from appliance.config.schema import Rules, secret
from appliance.features.base import Feature

Schema = dict[str, Any]
_TYPES = {"integer": "integer", "float": "number", "number": "number", "boolean": "boolean", "string": "string"}
_BOUNDS = {"min": "minimum", "max": "maximum"}
_LENGTHS = {"minlength": "minLength", "maxlength": "maxLength"}
_ITEMS = {"minlength": "minItems", "maxlength": "maxItems"}


def of_feature(feature: Feature) -> Schema:
    """The schema of the feature's value."""
    made = of_rules(feature.schema)
    made.setdefault("title", feature.label)
    return made


def whole(features: tuple[Feature, ...]) -> Schema:
    """The schema of the whole configuration."""
    properties = {feature.name: {"$ref": f"#/components/schemas/{component(feature)}"} for feature in features}
    required = [feature.name for feature in features if feature.default is None]
    version = {"type": "integer", "description": "The version of the settings that the tree was written for."}
    return {
        "type": "object",
        "title": "Configuration",
        "properties": {"version": version, **properties},
        "required": required,
        "additionalProperties": False,
    }


def component(feature: Feature) -> str:
    """The name of the feature's schema in the document."""
    return f"Setting_{feature.name}"


def of_rules(rules: Rules) -> Schema:
    """One setting's schema."""
    made = _bare(rules)
    meta = rules.get("meta", {})
    said = [str(meta[key]) for key in ("help",) if meta.get(key)]
    if "check_with" in rules or "allowed" in meta:
        said.append(f"Allowed: {words.allowed(rules)}.")
    if meta.get("label"):
        made["title"] = str(meta["label"])
    if said:
        made["description"] = " ".join(said)
    if secret(rules):
        return {
            "type": "string",
            **{key: made[key] for key in ("title", "description") if key in made},
            "format": "password",
        }
    if rules.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


def _bare(rules: Rules) -> Schema:
    kind = rules.get("type")
    if isinstance(kind, list):
        return {"anyOf": [_bare({**rules, "type": one}) for one in kind]}
    if kind == "dict":
        return _object(rules)
    if kind == "list":
        return _list(rules)
    made: Schema = {"type": _TYPES.get(str(kind), "string")} if kind else {}
    made |= {_BOUNDS[key]: rules[key] for key in _BOUNDS if key in rules}
    made |= {_LENGTHS[key]: rules[key] for key in _LENGTHS if key in rules}
    if "regex" in rules:
        made["pattern"] = f"^(?:{rules['regex']})$"
    if "allowed" in rules:
        made["enum"] = list(rules["allowed"])
    return made


def _object(rules: Rules) -> Schema:
    made: Schema = {"type": "object"}
    inner = rules.get("schema")
    if isinstance(inner, Mapping):
        made["properties"] = {name: of_rules(each) for name, each in inner.items()}
        made["additionalProperties"] = False
        required = [name for name, each in inner.items() if each.get("required")]
        if required:
            made["required"] = required
    named = rules.get("valuesrules")
    if isinstance(named, Mapping):
        made["additionalProperties"] = of_rules(named)
        names = rules.get("keysrules", {})
        if "regex" in names:
            made["propertyNames"] = {"pattern": f"^(?:{names['regex']})$"}
    return made


def _list(rules: Rules) -> Schema:
    made: Schema = {"type": "array", **{_ITEMS[key]: rules[key] for key in _ITEMS if key in rules}}
    inner = rules.get("schema")
    made["items"] = of_rules(inner) if isinstance(inner, Mapping) else {}
    if "allowed" in rules:
        made["items"] = {**made["items"], "enum": list(rules["allowed"])}
    return made
