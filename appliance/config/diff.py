"""What differs between two configurations, setting by setting."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.config.secrets import masked
from appliance.configd.api import Change

_encoder = msgspec.json.Encoder(order="deterministic")


def digest(tree: object) -> str:
    """A digest by which two configurations are the same or not (SHA-256 over sorted JSON)."""
    return hashlib.sha256(_encoder.encode(tree)).hexdigest()


def diff(before: Any, after: Any, path: tuple[str, ...] = ()) -> tuple[Change, ...]:
    """The changes that lead from `before` to `after`, in path order; secrets are masked. A list is one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after})
        return tuple(change for key in keys for change in diff(before.get(key), after.get(key), (*path, key)))
    if isinstance(before, Mapping) and before and after is None:
        return tuple(change for key in sorted(before) for change in diff(before[key], None, (*path, key)))
    if isinstance(after, Mapping) and after and before is None:
        return tuple(change for key in sorted(after) for change in diff(None, after[key], (*path, key)))
    if before == after:
        return ()
    return (Change(path=path, before=masked(before), after=masked(after)),)
