"""The configuration reference, from the features' schemas: `python -m appliance.config.reference > docs/configuration.md`."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.config import words
from appliance.features import FEATURES
from appliance.features.base import Feature

Rules = Mapping[str, Any]

HEAD = """\
# Configuration reference

Made from the features' schemas by `python -m appliance.config.reference > docs/configuration.md`; do not edit.

A site configuration is one YAML tree with the top-level keys below. Whatever is not listed here is refused, with its path,
what was found and what is allowed. `!file PATH` (relative to the site file) puts the text of a local file there.
`NAME` in a path stands for a name you choose, `[]` for each item of a list. A setting marked *secret* is kept apart from the
configuration and is never shown again. `sites/lab.yml` is an example that is always run.
"""


def page(features: Iterable[Feature]) -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *(section(feature) for feature in features)])


def section(feature: Feature) -> str:
    """One feature: its purpose, and a table of its settings."""
    about = feature.schema.get("meta", {}).get("help", "")
    whole = feature.schema if feature.default is not None else {**feature.schema, "required": True}
    rows = [_row(path, rules) for path, rules in settings(feature.name, whole)]
    head = ["| setting | allowed | default | |", "|---|---|---|---|"]
    presence = "Required." if feature.default is None else "May be left out."
    return "\n".join([f"## `{feature.name}`: {feature.label}", "", f"{about} {presence}", "", *head, *rows, ""])


def settings(path: str, rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Every setting that holds a value, with its path: groups, named instances and lists of groups are gone into."""
    if isinstance(rules.get("valuesrules"), Mapping):
        # A named value (a static host's address) has nothing to say of its own; what it is for stands above it.
        named = rules["valuesrules"]
        yield from settings(f"{path}.NAME", {**named, "meta": {**rules.get("meta", {}), **named.get("meta", {})}})
    elif rules.get("type") == "dict":
        for name, inner in rules.get("schema", {}).items():
            yield from settings(f"{path}.{name}", inner)
    elif rules.get("type") == "list" and rules.get("schema", {}).get("type") == "dict":
        yield from settings(f"{path}[]", rules["schema"])
    else:
        yield path, rules


def _row(path: str, rules: Rules) -> str:
    meta = rules.get("meta", {})
    about = f"{meta.get('label', '')}. {meta.get('help', '')}".strip(". ")
    secret = " *secret*" if meta.get("secret") else ""
    return f"| `{path}`{secret} | {_plain(words.allowed(rules))} | {_default(rules)} | {_plain(about)} |"


def _default(rules: Rules) -> str:
    if rules.get("required"):
        return "required"
    if "default" not in rules:
        return "none"
    return f"`{_plain(json.dumps(rules['default'], ensure_ascii=False))}`"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Print the page."""
    sys.stdout.write(page(FEATURES))


if __name__ == "__main__":
    main()
