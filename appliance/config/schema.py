"""All features as one schema: a tree of settings is checked, completed with its defaults, or refused in the reader's words."""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cerberus
import cerberus.schema
from cerberus import errors

from appliance.config import words
from appliance.features.base import Feature, Problem

Rules = Mapping[str, Any]
INDEX_DIGITS = 6  # the longest message holds fewer items than that says


class SchemaError(TypeError):
    """Two features claim one key, or a feature's rules are not rules. A mistake in our code, never in a configuration."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a tree: `tree` has every default filled in; it is only to be used where `problems` is empty."""

    tree: dict[str, Any]
    problems: tuple[Problem, ...]


class _Collected(errors.BaseErrorHandler):  # type: ignore[misc]
    """Hands Cerberus's error objects over as they are; `_problems` puts them into words."""

    def __init__(self, **_config: Any) -> None:
        self._errors: list[Any] = []

    def __call__(self, found: Iterable[Any]) -> list[Any]:
        return list(found)

    def start(self, _validator: Any) -> None:
        self._errors = []

    def add(self, error: Any) -> None:
        self._errors.append(error)


class _Validator(cerberus.Validator):  # type: ignore[misc]
    """Cerberus, except that true and false are no numbers, and that a `regex` holds for the whole of a text: Cerberus's own
    takes a line end behind it."""

    types_mapping = cerberus.Validator.types_mapping | {
        "integer": cerberus.TypeDefinition("integer", (int,), (bool,)),
        "float": cerberus.TypeDefinition("float", (float, int), (bool,)),
        "number": cerberus.TypeDefinition("number", (int, float), (bool,)),
    }

    def _validate_regex(self, pattern: str, field: str, value: object) -> None:
        """{'type': 'string'}"""
        if isinstance(value, str) and re.fullmatch(pattern, value) is None:
            self._error(field, errors.REGEX_MISMATCH)


@dataclass(frozen=True)
class Schema:
    """The schema of a set of features (`appliance.features.FEATURES` on the appliance)."""

    features: tuple[Feature, ...]
    root: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        root: dict[str, Any] = {}
        for feature in self.features:
            if feature.name in root:
                raise SchemaError(f"two features are called {feature.name}")
            rules = {**feature.schema}
            rules["meta"] = {"label": feature.label, **rules.get("meta", {})}
            rules |= {"required": True} if feature.default is None else {"default": feature.default}
            root[feature.name] = rules
        object.__setattr__(self, "root", root)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by their key."""
        return {feature.name: feature for feature in self.features}

    def judge(self) -> None:
        """Hold the rules themselves against Cerberus's. Raises `SchemaError` for malformed ones. They are the release's own, so a
        test does it for all of them: every log-in to the command line and every service that starts would wait for it."""
        try:
            _Validator(deepcopy(self.root))
        except cerberus.SchemaError as error:
            raise SchemaError(f"a feature's rules are malformed: {error}") from error

    def _validator(self) -> Any:
        # A copy, because Cerberus puts default objects into the document itself and goes on normalising there. A test has judged
        # the rules; Cerberus would do so in each process, and hash all of them for each tree, to see that it knows them.
        return _Validator(cerberus.schema.UnvalidatedSchema(deepcopy(self.root)), error_handler=_Collected)

    def fill(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """`tree` with the defaults filled in as far as it can be understood; nothing is refused."""
        filled = self._validator().normalized(deepcopy(dict(tree)), always_return_document=True)
        return dict(filled)

    def check(self, tree: object) -> Checked:
        """Hold `tree` (secrets in plain text) against every field's rules; `across` holds the rules between fields."""
        if not isinstance(tree, Mapping):
            found = words.found(tree)
            return Checked({}, (Problem("(the whole file)", found, f"settings: {words.names(self.root)}"),))
        stranger = next((key for key in tree if not isinstance(key, str)), None)
        if stranger is not None:
            return Checked({}, (Problem(str(stranger), "a key that is no word", words.names(self.root)),))
        validator = self._validator()
        validator.validate(deepcopy(dict(tree)))
        problems = tuple(self._problems(validator.errors))
        return Checked(dict(validator.document or {}), problems)

    def across(self, tree: Mapping[str, Any]) -> tuple[Problem, ...]:
        """What the features' `verify` functions say of a checked tree whose secrets are references."""
        return tuple(problem for feature in self.features for problem in feature.verify(tree))

    def rules_at(self, path: Iterable[str | int]) -> Rules | None:
        """The schema rules of the setting at `path`; None where the schema knows none."""
        rules: Rules = {"type": "dict", "schema": self.root}
        for step in path:
            inner = child_rules(rules, step)
            if inner is None:
                return None
            rules = inner
        return rules

    def is_secret(self, path: Iterable[str | int]) -> bool:
        """Whether the value at `path` is a password or the like."""
        rules = self.rules_at(path)
        return rules is not None and secret(rules)

    def _problems(self, found: Iterable[Any]) -> Iterator[Problem]:
        for error in found:
            if error.is_group_error:
                yield from self._problems(error.child_errors)
            else:
                yield self._problem(error)

    def _problem(self, error: Any) -> Problem:
        path: tuple[str | int, ...] = tuple(error.document_path)
        shown = dotted(path)
        if error.code == errors.UNKNOWN_FIELD.code:
            parent = self.rules_at(path[:-1])
            return Problem(shown, "an unknown setting", words.nearest(str(path[-1]), children(parent or {})))
        if "keysrules" in error.schema_path:
            parent = self.rules_at(path[:-1]) or {}
            return Problem(shown, f"the name {error.value!r}", words.allowed(parent.get("keysrules", {})))
        rules = self.rules_at(path) or {}
        if error.code == errors.REQUIRED_FIELD.code:
            return Problem(shown, "nothing", words.allowed(rules))
        found = words.found(error.value, secret=self._tells_secret(path, error.value))
        if error.code in (errors.CUSTOM.code, errors.NORMALIZATION.code | 1, errors.COERCION_FAILED.code):
            return Problem(shown, found, _said(error) or words.allowed(rules))
        return Problem(shown, found, words.allowed(rules))

    def _tells_secret(self, path: tuple[str | int, ...], value: object) -> bool:
        """Whether showing what was found at `path` might show a secret: it is one, lies in one, or holds one."""
        rules = self.rules_at(path)
        if rules is None or any(self.is_secret(path[:length]) for length in range(1, len(path) + 1)):
            return True
        return isinstance(value, str | list) and any(secret(inner) for inner in _descend(rules))


def _said(error: Any) -> str:
    """What a feature's own check said is allowed."""
    return "; ".join(str(item) for item in error.info or ())


def _descend(rules: Rules) -> Iterator[Rules]:
    yield rules
    for inner in (*_fields(rules).values(), rules.get("valuesrules"), _items(rules)):
        if isinstance(inner, Mapping):
            yield from _descend(inner)


def _fields(rules: Rules) -> Mapping[str, Rules]:
    inner = rules.get("schema")
    return inner if rules.get("type") == "dict" and isinstance(inner, Mapping) else {}


def _items(rules: Rules) -> Rules | None:
    inner = rules.get("schema")
    return inner if rules.get("type") == "list" and isinstance(inner, Mapping) else None


def child_rules(rules: Rules, step: str | int) -> Rules | None:
    """The rules of what lies at `step` below something with `rules`: a field, a named instance or a list item."""
    if step in _fields(rules):
        return _fields(rules)[str(step)]
    if rules.get("type") == "list" and is_index(str(step)):
        return _items(rules)
    named = rules.get("valuesrules")
    return named if isinstance(named, Mapping) else None


def is_index(step: str) -> bool:
    """Whether `step` numbers an item of a list. Not every digit of Unicode is one to `int`, nor is every length."""
    return step.isascii() and step.isdigit() and len(step) <= INDEX_DIGITS


def children(rules: Rules) -> tuple[str, ...]:
    """The names of the fields below something with `rules` (of named instances, nothing: they are the user's)."""
    return tuple(_fields(rules))


def secret(rules: Rules) -> bool:
    """Whether a value with these rules is a password or the like."""
    return bool(rules.get("meta", {}).get("secret"))


def dotted(path: Iterable[str | int]) -> str:
    """A path as people read it: `users.alice.role`, `ntp.servers.0`."""
    return ".".join(str(step) for step in path)
