"""A configuration as the lines one would type to make it, and changes as lines with + and -.

Typing the lines of a configuration into an empty candidate gives that configuration; secrets, which are never shown, are
comments in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.cli.grammar import quote
from appliance.configd import api

MASK = "********"


def config_lines(tree: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines for everything in `tree`, which lies at `path`; a secret as a comment."""
    for where, value in _leaves(tree, path):
        line = " ".join(quote(step) for step in where)
        yield f"! {line} {MASK}" if value == MASK else f"{line} {word(value)}".rstrip()


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for place, item in enumerate(tree):
            yield from _leaves(item, (*path, str(place)))
    elif isinstance(tree, list):
        for item in tree:
            yield path, item
    elif tree is not None:
        yield path, tree


def word(value: Any) -> str:
    """One value as one word of a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(str(value))


def change_lines(changes: Iterable[api.Change]) -> Iterator[str]:
    """What would go (-) and come (+); of a list only the items that differ."""
    for change in changes:
        before, after = change.before, change.after
        if isinstance(before, list) and isinstance(after, list) and set(map(str, before)) != set(map(str, after)):
            before, after = (
                [item for item in one if item not in other] for one, other in ((before, after), (after, before))
            )
        for sign, value in (("-", before), ("+", after)):
            if value is not None and value != []:
                lines = list(config_lines(value, change.path)) or [" ".join(map(quote, change.path))]
                yield from (f"{sign} {line}" for line in lines)
