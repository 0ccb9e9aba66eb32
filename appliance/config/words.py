"""Schema rules in people's words: what a value may be, and what was found instead."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

FOUND_CHARACTERS = 80  # enough to recognise a value; a certificate would fill the screen
NAMES_SHOWN = 20  # of the allowed keys, when none is near to what was written
A_SECRET = "a secret value"  # noqa: S105 - words about a secret
TYPE_WORDS = {
    "string": "a string",
    "integer": "a whole number",
    "float": "a number",
    "number": "a number",
    "boolean": "true or false",
    "dict": "a group of settings",
    "list": "a list",
}

Rules = Mapping[str, Any]


def found(value: object, *, secret: bool = False) -> str:
    """What was found, short enough to read, never a secret."""
    if secret:
        return A_SECRET
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"a group of settings ({names(map(str, value))})" if value else "an empty group of settings"
    text = repr(value)
    return text if len(text) <= FOUND_CHARACTERS else f"{text[:FOUND_CHARACTERS]}… ({len(text)} characters)"


def names(values: Iterable[str]) -> str:
    """A list of names, cut when there are too many."""
    listed = list(values)
    more = f", … ({len(listed)} in all)" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed names most like `word`, or all of them."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(word, allowed, n=3, cutoff=0.6)
    if near:
        return f"{' or '.join(near)} (did you mean that?), or one of: {names(allowed)}"
    return names(allowed) or "no setting at all"


def allowed(rules: Rules) -> str:
    """What the schema rules allow, e.g. `a whole number from 1 to 65535`, `one of: a, b`."""
    meta = rules.get("meta", {})
    if "allowed" in meta:
        return str(meta["allowed"])
    if "allowed" in rules:
        choice = f"one of: {names(map(str, rules['allowed']))}"
        return f"a list, each item {choice}" if rules.get("type") == "list" else choice
    words = _type_words(rules.get("type"))
    if rules.get("type") == "list" and isinstance(rules.get("schema"), Mapping):
        words = f"a list, each item {allowed(rules['schema'])}"
    words += _bounds(rules)
    if "regex" in rules:
        words += f" matching {rules['regex']}"
    return words + (", or nothing" if rules.get("nullable") else "")


def _type_words(kind: Any) -> str:
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    return " or ".join(TYPE_WORDS.get(one, str(one)) for one in kinds) or "a value"


def _bounds(rules: Rules) -> str:
    low, high = rules.get("min"), rules.get("max")
    words = {
        (True, True): f" from {low} to {high}",
        (True, False): f" of at least {low}",
        (False, True): f" of at most {high}",
        (False, False): "",
    }[low is not None, high is not None]
    unit = {"list": "items", "dict": "instances"}.get(str(rules.get("type")), "characters")
    short, long = rules.get("minlength"), rules.get("maxlength")
    if short is not None and long is not None:
        words += f", {short} to {long} {unit}"
    elif short is not None:
        words += f", at least {short} {unit}"
    elif long is not None:
        words += f", at most {long} {unit}"
    return words
