"""From user-data to a tree of settings: our site configuration, and nothing else that a cloud would run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.config import site
from appliance.config.schema import Schema
from appliance.features import values
from appliance.features.base import Problem
from appliance.first_boot.found import Found
from appliance.plan import InvalidError

# How documents for cloud-init begin ("User-data formats"): each of them would have something run or fetched.
FOREIGN = (
    (b"#!", "a script"),
    (b"#cloud-config", "a cloud-config"),
    (b"#cloud-boothook", "a boot hook"),
    (b"#include", "a list of addresses to load from"),
    (b"#part-handler", "a part handler"),
    (b"## template:", "a template"),
    (b"content-type:", "a message of several parts"),
    (b"mime-version:", "a message of several parts"),
    (b"\x1f\x8b", "gzip"),
)
ALLOWED = "a site configuration (YAML, docs/configuration.md)"


class DocumentError(ValueError):
    """User-data that is no site configuration; the message says what was found and what is allowed, and repeats no secret."""


def read(found: Found, schema: Schema) -> dict[str, Any]:
    """The tree of settings, checked as an appliance checks it. Raises `DocumentError` with all problems in it."""
    head = found.data.lstrip().lower()
    for prefix, what in FOREIGN:
        if head.startswith(prefix):
            raise DocumentError(f"{found.where}: found {what}; allowed: {ALLOWED}")
    try:
        tree = site.parsed(found.data.decode("utf-8"), found.where)
        clear = tuple(in_clear(tree, schema))
        if clear:
            raise InvalidError(clear)
        site.check(tree, schema)
    except UnicodeDecodeError as error:
        raise DocumentError(f"{found.where}: is not UTF-8 (byte {error.start}); allowed: {ALLOWED}") from error
    except site.SiteError as error:
        raise DocumentError(str(error)) from error
    except InvalidError as error:
        raise DocumentError("\n".join((f"{found.where}:", *(f"  {problem}" for problem in error.problems)))) from error
    return tree


def in_clear(tree: Mapping[str, Any], schema: Schema) -> Iterator[Problem]:
    """Every secret that is no hash: whoever may look at a machine's settings reads its user-data, and it stays there."""
    for path, value in _leaves(tree, ()):
        if schema.is_secret(path) and not (isinstance(value, str) and values.is_password_hash(value)):
            where = ".".join(map(str, path))
            yield Problem(where, "a secret in clear", "in user-data only hashes; set it when the appliance runs")


def _leaves(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        inner = ((str(key), one) for key, one in value.items())
    elif isinstance(value, list):
        inner = enumerate(value)
    elif value not in (None, ""):
        yield path, value
    for step, one in inner:
        yield from _leaves(one, (*path, step))
