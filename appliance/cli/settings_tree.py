"""The part of the grammar that follows from the schema: setting, removing and showing any setting.

It grows along the words already typed, so that a setting written down in a feature is in the CLI without further work.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from appliance.cli import configure
from appliance.cli.command import Action, Tree
from appliance.cli.configure import VALUE, Path
from appliance.cli.grammar import Argument, Node
from appliance.config.paths import Node as Setting
from appliance.config.paths import describe
from appliance.config.schema import Schema
from appliance.features import FEATURES, values

if TYPE_CHECKING:
    from appliance.cli.shell import Shell

Names = Callable[[Path], Iterable[str]]
"""The names or items the candidate has at a path, to complete from."""


@cache
def schema() -> Schema:
    """The appliance's schema."""
    return Schema(FEATURES)


def setting(path: Path) -> Setting:
    """What the schema says of a path that the grammar made itself."""
    found = describe(schema(), path)
    if found is None:
        raise LookupError(f"no setting {'.'.join(path)}")
    return found


def existing(shell: "Shell") -> Names:
    """What is there to complete from: asked of configd while one types, so a failure only means fewer words."""

    def names(path: Path) -> Iterable[str]:
        held = shell.glance(path)
        if isinstance(held, Mapping):
            return tuple(map(str, held))
        if isinstance(held, list):
            return tuple(map(str, held if not any(isinstance(each, Mapping) for each in held) else range(len(held))))
        return ()

    return names


# --- setting ---------------------------------------------------------------------------------------------------------


def set_nodes(names: Names, path: Path = ()) -> Tree:
    """What may follow `path` on a line that sets something."""
    here = setting(path)
    if here.kind == "group":
        return tuple(_set_word(names, (*path, child)) for child in here.children)
    if here.kind in ("named", "table"):
        return (_instance(names, here, lambda name: set_nodes(names, (*path, name))),)
    return _values(here)


def _set_word(names: Names, path: Path) -> Node[Action]:
    here = setting(path)
    action: Action | None = None
    if here.kind == "value" and here.secret:
        action = configure.put_secret(path, here.label)
    elif here.kind == "value" and _has_lines(path):
        action = configure.put_text(path)
    return Node(word=path[-1], help=_help(here), action=action, children=lambda _text: set_nodes(names, path))


def _has_lines(path: Path) -> bool:
    return (schema().rules_at(path) or {}).get("coerce") is values.text_lines


def _values(here: Setting) -> Tree:
    act = configure.append(here.path) if here.kind == "list" else configure.put(here.path)
    if here.choices:
        return tuple(Node(word=each, help=_choice_help(here, each), value=VALUE, action=act) for each in here.choices)
    argument = Argument(_place(here), secret=here.secret)
    help_text = f"{here.label}: {here.allowed}"
    return (Node(word="<value>", help=help_text, argument=argument, value=VALUE, action=act),)


def _choice_help(here: Setting, word: str) -> str:
    default = " (the default)" if here.kind == "value" and str(here.default).lower() == word.lower() else ""
    return f"{here.label}: {word}{default}"


def _place(here: Setting) -> str:
    return {"integer": "NUMBER", "float": "NUMBER"}.get(here.type, here.path[-1].upper().replace("_", "-"))


def _help(here: Setting) -> str:
    """The label and the first sentence of the help, which may repeat the label."""
    first = here.help.split(". ")[0].rstrip(".")
    return f"{here.label}: {first}" if first and first.lower() != here.label.lower() else here.label


def _instance(
    names: Names, here: Setting, children: Callable[[str], Tree], action: Action | None = None
) -> Node[Action]:
    what = "which item, counted from 0" if here.kind == "table" else here.allowed
    argument = Argument(_instance_place(here), suggest=lambda: names(here.path))
    return Node(word="<name>", help=f"{here.label}: {what}", argument=argument, action=action, children=children)


# --- removing --------------------------------------------------------------------------------------------------------


def delete_nodes(names: Names, path: Path = ()) -> Tree:
    """What may follow `path` on a line that removes something."""
    here = setting(path)
    if here.kind == "group":
        return tuple(_delete_word(names, (*path, child)) for child in here.children)
    if here.kind in ("named", "table"):
        return (_delete_instance(names, here),)
    if here.kind == "list":
        argument = Argument(_place(here), suggest=lambda: names(path))
        help_text = f"Only this item of {here.label}"
        return (Node(word="<value>", help=help_text, argument=argument, value=VALUE, action=configure.delete(path)),)
    return ()


def _delete_word(names: Names, path: Path) -> Node[Action]:
    here = setting(path)
    return Node(
        word=path[-1],
        help=_help(here),
        action=configure.delete(path),
        children=lambda _text: delete_nodes(names, path),
    )


def _delete_instance(names: Names, here: Setting) -> Node[Action]:
    argument = Argument(_instance_place(here), suggest=lambda: names(here.path))
    return Node(
        word="<name>",
        help=f"One of {here.label}",
        argument=argument,
        action=_delete_named(here),
        children=lambda name: delete_nodes(names, (*here.path, name)),
    )


def _delete_named(here: Setting) -> Action:
    def action(shell: "Shell", found: Mapping[str, str]) -> None:
        configure.delete((*here.path, found[_instance_place(here)]))(shell, {})

    return action


def _instance_place(here: Setting) -> str:
    """How the name of an instance is called; the innermost one on a line is the one meant."""
    return "NUMBER" if here.kind == "table" else "NAME"


# --- showing ---------------------------------------------------------------------------------------------------------


def show_nodes(names: Names, path: Path = ()) -> Tree:
    """What may follow `path` on a line that shows the candidate."""
    here = setting(path)
    if here.kind == "group":
        return tuple(
            Node(
                word=child,
                help=_help(setting((*path, child))),
                action=configure.show((*path, child)),
                children=_show_children(names, (*path, child)),
            )
            for child in here.children
        )
    if here.kind in ("named", "table"):
        place = _instance_place(here)
        argument = Argument(place, suggest=lambda: names(path))
        return (
            Node(
                word="<name>",
                help=f"One of {here.label}",
                argument=argument,
                action=lambda shell, found: configure.show((*path, found[place]))(shell, found),
                children=lambda name: show_nodes(names, (*path, name)),
            ),
        )
    return ()


def _show_children(names: Names, path: Path) -> Callable[[str], Tree]:
    return lambda _text: show_nodes(names, path)
