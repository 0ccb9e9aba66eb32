"""The secret store: passwords, keys and tokens lie here, the configuration holds only references to them.

A reference is `secret:` and an HMAC of the value under a key of this machine, so that the same value always has the same
reference (a site applied twice changes nothing) and a reference tells nothing of a weak value.
"""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from appliance.config import words
from appliance.config.schema import Schema, dotted, secret
from appliance.disk import put
from appliance.features.base import Problem

MASK = "********"
REFERENCE = re.compile(r"secret:[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
SECRET_BYTES = 65_536  # a private key with its chain is under 16 KiB
KEY_BYTES = 32


class SecretError(LookupError):
    """A reference that leads nowhere, or a store that cannot be read."""


class Vault(Protocol):
    """Where values are swapped for references."""

    def keep(self, value: str) -> str:
        """Store `value`, return its reference."""

    def reveal(self, reference: str) -> str:
        """The value behind `reference`; raises `SecretError`."""


class Secrets:
    """The store in `folder` (root only). Each value is a file named by its reference.

    Who keeps a secret and notes its reference elsewhere holds `guard` meanwhile, so that it is not collected in between.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.guard = threading.RLock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._key = self._machine_key()

    def _machine_key(self) -> bytes:
        place = self._folder / "key"
        if not place.exists():
            self._write(place, secrets.token_bytes(KEY_BYTES))
        key = place.read_bytes()
        if len(key) != KEY_BYTES:
            raise SecretError(f"{place}: holds {len(key)} bytes; {KEY_BYTES} are expected")
        return key

    def _write(self, place: Path, data: bytes) -> None:
        try:
            put(place, data)
        except OSError as error:
            raise SecretError(f"{self._folder}: cannot be written: {error.strerror or error}") from error

    def keep(self, value: str) -> str:
        """Store `value` (idempotent) and return its reference."""
        data = value.encode()
        digest = hmac.new(self._key, data, hashlib.sha256).hexdigest()
        place = self._folder / digest
        if not place.exists():
            self._write(place, data)
        return f"secret:{digest}"

    def reveal(self, reference: str) -> str:
        """The value behind `reference`; raises `SecretError` where there is none."""
        if not REFERENCE.fullmatch(reference):
            raise SecretError("not a reference to a secret")
        try:
            return (self._folder / reference.removeprefix("secret:")).read_text()
        except OSError as error:
            raise SecretError(f"{reference[:15]}…: there is no such secret in the store") from error

    def values(self) -> tuple[str, ...]:
        """Every secret that lies here: for who must keep them out of something. Raises `OSError`."""
        with self.guard:
            return tuple(place.read_text() for place in self._folder.iterdir() if _DIGEST.fullmatch(place.name))

    def collect(self, trees: Iterable[object]) -> int:
        """Remove the secrets none of `trees` refers to; returns how many."""
        used = {reference.removeprefix("secret:") for tree in trees for reference in references(tree)}
        unused = [place for place in self._folder.iterdir() if place.name not in used | {"key"}]
        for place in unused:
            place.unlink()
        return len(unused)


class Memory:
    """A vault that keeps nothing on disk, for the operator's side of a check."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def keep(self, value: str) -> str:
        """See `Vault.keep`."""
        reference = f"secret:{hashlib.sha256(value.encode()).hexdigest()}"
        self._values[reference] = value
        return reference

    def reveal(self, reference: str) -> str:
        """See `Vault.reveal`."""
        try:
            return self._values[reference]
        except KeyError as error:
            raise SecretError("not a reference to a secret of this file") from error


def is_reference(value: object) -> bool:
    """Whether `value` is a reference to a secret."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def references(tree: object) -> Iterable[str]:
    """All references in `tree`."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from references(value)
    elif is_reference(tree):
        yield str(tree)


def masked(tree: Any) -> Any:
    """`tree` with every reference replaced by the mask: what may leave configd."""
    if isinstance(tree, Mapping):
        return {key: masked(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [masked(value) for value in tree]
    return MASK if is_reference(tree) else tree


def unmask(schema: Schema, tree: Any, before: Any, vault: Vault) -> tuple[Any, tuple[Problem, ...]]:
    """`tree` as somebody sent it, with plain secrets: a mask means "as before", a reference means the value behind it."""
    problems: list[Problem] = []
    revealed = _Revealing(schema, vault, problems).walk(tree, before, ())
    return revealed, tuple(problems)


class _Revealing:
    def __init__(self, schema: Schema, vault: Vault, problems: list[Problem]) -> None:
        self._schema = schema
        self._vault = vault
        self._problems = problems

    def walk(self, value: Any, before: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, Mapping):
            old = before if isinstance(before, Mapping) else {}
            return {key: self.walk(inner, old.get(key), (*path, key)) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            old_items = before if isinstance(before, list) else []
            return [
                self.walk(item, _same(item, number, old_items), (*path, number)) for number, item in enumerate(value)
            ]
        if value == MASK and self._schema.is_secret(path):
            return self._as_before(before, path)
        if is_reference(value) and self._schema.is_secret(path):
            return self._behind(value, path)
        return value

    def _as_before(self, before: Any, path: tuple[str | int, ...]) -> Any:
        if is_reference(before):
            return self._behind(before, path)
        self._problems.append(Problem(dotted(path), "the mask of a secret", "a new secret: there is none here yet"))
        return None

    def _behind(self, reference: str, path: tuple[str | int, ...]) -> Any:
        try:
            return self._vault.reveal(reference)
        except SecretError:
            self._problems.append(
                Problem(dotted(path), "a reference to a secret that is not there", "the secret itself")
            )
            return None


def _same(item: Any, number: int, old: list[Any]) -> Any:
    """The old list item that `item` stands for: the one of the same name, else the one in the same place."""
    if isinstance(item, Mapping) and "name" in item:
        return next((one for one in old if isinstance(one, Mapping) and one.get("name") == item["name"]), None)
    return old[number] if number < len(old) else None


def conceal(schema: Schema, tree: Any, vault: Vault) -> Any:
    """`tree` (checked, with plain secrets) with references in their place."""
    return _conceal(schema, tree, vault, ())


def _conceal(schema: Schema, value: Any, vault: Vault, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _conceal(schema, inner, vault, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_conceal(schema, item, vault, (*path, number)) for number, item in enumerate(value)]
    rules = schema.rules_at(path)
    if isinstance(value, str) and value and rules is not None and secret(rules):
        return vault.keep(value)
    return value


def too_long(schema: Schema, tree: Any) -> tuple[Problem, ...]:
    """Secrets of `tree` (plain) that are longer than the store takes."""
    return tuple(_too_long(schema, tree, ()))


def _too_long(schema: Schema, value: Any, path: tuple[str | int, ...]) -> Iterable[Problem]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _too_long(schema, inner, (*path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _too_long(schema, item, (*path, number))
    elif isinstance(value, str) and len(value) > SECRET_BYTES and schema.is_secret(path):
        yield Problem(dotted(path), words.found(value, secret=True), f"at most {SECRET_BYTES} characters")
