"""Commands as data, and the grammar's tree made from them.

A command's syntax is written as a person reads it: words, `<argument>` for what is typed freely, `<name:a|b|c>` for one
of a few words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from appliance.cli.grammar import Argument, Node
from appliance.cli.output import Output

if TYPE_CHECKING:
    from appliance.cli.shell import Shell

Action = Callable[["Shell", Mapping[str, str]], Output | None]
"""Does the command in a shell with the arguments by name; returns what it has to say. Raises `CommandError`, or what
configd refused."""
Tree = tuple[Node[Action], ...]


class Mode(Enum):
    """What the prompt shows: the four modes."""

    EXEC = "exec"
    PRIVILEGED = "privileged"
    CONFIG = "config"
    INTERFACE = "interface"


class CommandError(Exception):
    """A command that could not be done, in words for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is typed, what it is for, what it does and in which modes it stands."""

    syntax: str
    help: str
    action: Action
    modes: frozenset[Mode]


@dataclass(slots=True)
class _Place:
    """A node in the making."""

    help: str = ""
    action: Action | None = None
    value: str | None = None
    argument: Argument | None = None
    following: dict[str, "_Place"] = field(default_factory=dict)


def build(commands: Iterable[Command], words: Mapping[str, str], arguments: Mapping[str, tuple[Argument, str]]) -> Tree:
    """The tree of `commands`. `words` has the help of words that stand on the way to several commands, by the words so
    far ("show ip"); `arguments` the arguments by name, with their help. Raises KeyError for a name or help that is missing.
    """
    root = _Place()
    for command in commands:
        _insert(root, command, command.syntax.split(), (), words, arguments)
    return _nodes(root)


def _insert(
    place: _Place,
    command: Command,
    syntax: Sequence[str],
    so_far: tuple[str, ...],
    words: Mapping[str, str],
    arguments: Mapping[str, tuple[Argument, str]],
) -> None:
    if not syntax:
        place.action = command.action
        return
    part, *rest = syntax
    for word, following in _expand(part, arguments):
        path = (*so_far, word)
        new = place.following.setdefault(word, following)
        if not rest and new.argument is None and new.value is None:
            new.help = command.help
        new.help = new.help or words.get(" ".join(path)) or command.help
        _insert(new, command, rest, path, words, arguments)


def _expand(part: str, arguments: Mapping[str, tuple[Argument, str]]) -> list[tuple[str, _Place]]:
    """What one part of a syntax stands for: a word, an argument, or one word per value."""
    if not part.startswith("<"):
        return [(part, _Place())]
    name, _colon, values = part.strip("<>").partition(":")
    if values:
        return [(value, _Place(value=name)) for value in values.split("|")]
    argument, help_text = arguments[name]
    return [(part, _Place(argument=argument, help=help_text))]


def _nodes(place: _Place) -> Tree:
    return tuple(_node(word, each) for word, each in place.following.items())


def _node(word: str, place: _Place) -> Node[Action]:
    following = _nodes(place)
    return Node(
        word=word,
        help=place.help,
        argument=place.argument,
        value=place.value,
        action=place.action,
        children=lambda _text: following,
    )
