"""The grammar as a tree of words and arguments, and what one asks of it: match a line, complete it, list what may follow.

Pure: nothing here reads, writes or knows what a command does. A keyword may be shortened as long as it stays unambiguous,
and its case does not matter; an argument is taken as typed. Double quotes hold an argument with blanks together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

A = TypeVar("A")
Refuse = Callable[[str], str | None]
"""Says why a text will not do, or None when it will."""

LINE_CHARACTERS = 65_536  # a pasted certificate chain in quotes is about 8,000; a line is also one entry of the history
CARRIAGE_RETURN = "<cr>"
PIPES = (("include", "Only the lines that hold a word"), ("json", "The same facts as JSON"))

_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a line: its text without quotes, and where it stands."""

    text: str
    start: int
    quoted: bool = False


class GrammarError(ValueError):
    """A line the grammar does not take. `position` is the column of the word at fault, `candidates` what may stand there."""

    def __init__(self, message: str, position: int, candidates: tuple[str, ...] = ()) -> None:
        """`message` is for the person who typed the line."""
        super().__init__(message)
        self.message = message
        self.position = position
        self.candidates = candidates


class UnknownWordError(GrammarError):
    """No command has this word here."""


class AmbiguousWordError(GrammarError):
    """Several words begin like this one."""


class IncompleteLineError(GrammarError):
    """The line could go on, and does nothing as it stands."""


class BadArgumentError(GrammarError):
    """The argument is not what its place allows."""


class SecretOnLineError(GrammarError):
    """A secret was typed on the line, where the history and the screen would keep it."""


def _anything(_text: str) -> str | None:
    return None


def _nothing() -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Argument:
    """What may stand in an argument's place. `refuse` gives the reason against a text, or None when it will do."""

    name: str
    refuse: Refuse = _anything
    suggest: Callable[[], Iterable[str]] = _nothing
    rest: bool = False
    """Takes everything up to the end of the line."""
    secret: bool = False
    """Typing it on the line is refused: it is asked for without echo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Generic[A]):
    """One place in the grammar: a keyword, or an argument when `argument` is set. `action`: the line may end here."""

    word: str
    help: str
    argument: Argument | None = None
    value: str | None = None
    """The name under which the text that stood here is handed on; an argument's own name when None."""
    action: A | None = None
    children: Callable[[str], Sequence["Node[A]"]] = field(default=lambda _text: ())
    """What may follow, given the text that stood here."""

    @property
    def shown(self) -> str:
        """How help writes it."""
        return f"<{self.argument.name}>" if self.argument else self.word


@dataclass(frozen=True, slots=True)
class Match(Generic[A]):
    """A line understood: what to do, the arguments by name, and the command in full words with arguments left out."""

    action: A
    values: Mapping[str, str]
    command: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """What comes after `|`: `json`, or `include` with the word to look for."""

    kind: str = ""
    word: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way a line may go on."""

    word: str
    help: str
    completes: bool = True
    """False for a place-holder such as `<ADDRESS>`, which is help and not text."""


def tokenize(line: str, *, open_quote: bool = False) -> tuple[Token, ...]:
    """The words of a line. A quote left open is a `GrammarError`, unless `open_quote` (a line still being typed)."""
    if len(line) > LINE_CHARACTERS:
        raise GrammarError(
            f"The line has {len(line)} characters; at most {LINE_CHARACTERS} are allowed.", LINE_CHARACTERS
        )
    tokens: list[Token] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == '"':
            token, at = _quoted(line, at, open_quote=open_quote)
            tokens.append(token)
        else:
            end = at
            while end < len(line) and not line[end].isspace():
                end += 1
            tokens.append(Token(line[at:end], at))
            at = end
    return tuple(tokens)


def _quoted(line: str, start: int, *, open_quote: bool) -> tuple[Token, int]:
    text: list[str] = []
    at = start + 1
    while at < len(line):
        if line[at] == '"':
            return Token("".join(text), start, quoted=True), at + 1
        if line[at] == "\\" and at + 1 < len(line) and line[at + 1] in _ESCAPES:
            at += 1
            text.append(_ESCAPES[line[at]])
        else:
            text.append(line[at])
        at += 1
    if open_quote:
        return Token("".join(text), start, quoted=True), at
    raise GrammarError("A quote is left open.", start)


def inside_quote(line: str) -> bool:
    """Whether a quote is open at the end of the line, so that the next character belongs to it."""
    try:
        tokenize(line)
    except GrammarError:
        return True
    return False


def quote(text: str) -> str:
    """`text` as one word of a line: what `tokenize` turns back into it."""
    if text and text != "|" and not any(character.isspace() or character in '"\\' for character in text):
        return text
    escaped = "".join({"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}.get(each, each) for each in text)
    return f'"{escaped}"'


def match(nodes: Sequence[Node[A]], line: str) -> tuple[Match[A], Pipe]:
    """Understand a whole line, or raise the `GrammarError` that says which word is wrong and what may stand there."""
    tokens = tokenize(line)
    words, pipe = split_pipe(tokens)
    if not words:
        raise IncompleteLineError("There is no command before `|`.", 0, _shown(nodes))
    steps = list(_walk(nodes, words))
    last, text = steps[-1]
    if last.action is None:
        following = _shown(last.children(text))
        raise IncompleteLineError("Incomplete command.", len(line.rstrip()) + 1, following)
    values = {name: text for node, text in steps if (name := _name(node)) is not None}
    command = " ".join(node.word for node, _text in steps if node.argument is None)
    return Match(last.action, values, command), pipe


def _name(node: Node[A]) -> str | None:
    return node.value or (node.argument.name if node.argument else None)


def split_pipe(tokens: Sequence[Token]) -> tuple[tuple[Token, ...], Pipe]:
    """The command's words, and what stands behind the first free `|`."""
    bar = next((at for at, token in enumerate(tokens) if token.text == "|" and not token.quoted), None)
    if bar is None:
        return tuple(tokens), Pipe()
    behind = tokens[bar + 1 :]
    names = tuple(name for name, _help in PIPES)
    if not behind:
        raise IncompleteLineError("Nothing follows `|`.", tokens[bar].start + 2, names)
    kinds = [name for name in names if name.startswith(behind[0].text.lower())]
    if len(kinds) != 1:
        raise UnknownWordError("Unknown filter.", behind[0].start, names)
    wanted = 2 if kinds[0] == "include" else 1
    if len(behind) < wanted:
        raise IncompleteLineError(
            "The word to look for is missing.", tokens[-1].start + len(tokens[-1].text) + 1, ("<WORD>",)
        )
    if len(behind) > wanted:
        raise UnknownWordError("Only one filter may follow a command.", behind[wanted].start)
    return tuple(tokens[:bar]), Pipe(kinds[0], behind[1].text if wanted == 2 else "")


def _walk(nodes: Sequence[Node[A]], tokens: Sequence[Token]) -> Iterator[tuple[Node[A], str]]:
    """Each word with the place it matched; the text is the full keyword, the argument, or all that is left of the line."""
    for at, token in enumerate(tokens):
        node = _choose(nodes, token)
        argument = node.argument
        if argument is None:
            text = node.word
        elif argument.rest and not token.quoted:
            yield node, " ".join(each.text for each in tokens[at:])
            return
        else:
            text = token.text
        yield node, text
        nodes = node.children(text)


def _choose(nodes: Sequence[Node[A]], token: Token) -> Node[A]:
    keywords = [] if token.quoted else _beginning(nodes, token.text)
    if len(keywords) == 1:
        return keywords[0]
    if keywords:
        candidates = tuple(node.word for node in keywords)
        raise AmbiguousWordError(f"Ambiguous: {', '.join(candidates)}.", token.start, candidates)
    for node in nodes:
        if node.argument is not None:
            return _taken(node, node.argument, token)
    if not nodes:
        raise UnknownWordError("Nothing may follow here.", token.start, (CARRIAGE_RETURN,))
    raise UnknownWordError("Unknown word.", token.start, _shown(nodes))


def _taken(node: Node[A], argument: Argument, token: Token) -> Node[A]:
    if argument.secret:
        raise SecretOnLineError(
            "A secret is never typed on the line, where the screen and the history would keep it. Leave it out: you are "
            "asked for it without echo.",
            token.start,
        )
    reason = argument.refuse(token.text)
    if reason is not None:
        raise BadArgumentError(reason, token.start, (node.shown,))
    return node


def _beginning(nodes: Sequence[Node[A]], text: str) -> list[Node[A]]:
    """The keywords a word may mean. The word itself wins, and so does one that all the others only lengthen."""
    lowered = text.lower()
    found = [node for node in nodes if node.argument is None and node.word.lower().startswith(lowered)]
    for node in found:
        if node.word.lower() == lowered or all(other.word.lower().startswith(node.word.lower()) for other in found):
            return [node]
    return found


def _shown(nodes: Sequence[Node[A]]) -> tuple[str, ...]:
    return tuple(node.shown for node in nodes)


def choices(nodes: Sequence[Node[A]], line: str) -> tuple[str, tuple[Choice, ...]]:
    """What may stand at the end of a line still being typed: the beginning of the word there, and the ways to go on.

    Raises the `GrammarError` of an earlier word that is already wrong.
    """
    tokens = tokenize(line, open_quote=True)
    typing = bool(line) and not line[-1].isspace()
    done, partial = (tokens[:-1], tokens[-1]) if typing else (tokens, None)
    begun = partial.text if partial else ""
    bar = next((at for at, token in enumerate(done) if token.text == "|" and not token.quoted), None)
    if bar is not None:
        return begun, _after_pipe(done[bar + 1 :], begun)
    action: A | None = None
    for node, text in _walk(nodes, done):
        if node.argument is not None and node.argument.rest:
            return begun, (Choice(node.shown, node.help, completes=False),)
        nodes, action = node.children(text), node.action
    found = list(_choices(nodes, begun, quoted=bool(partial and partial.quoted)))
    if partial is None and action is not None:
        found.append(Choice(CARRIAGE_RETURN, "Do it", completes=False))
    return begun, tuple(found)


def _choices(nodes: Sequence[Node[A]], begun: str, *, quoted: bool) -> Iterator[Choice]:
    for node in nodes:
        if node.argument is not None:
            yield Choice(node.shown, node.help, completes=False)
            yield from (Choice(quote(each), "") for each in node.argument.suggest() if each.startswith(begun))
        elif not quoted and node.word.lower().startswith(begun.lower()):
            yield Choice(node.word, node.help)


def _after_pipe(done: Sequence[Token], begun: str) -> tuple[Choice, ...]:
    if not done:
        return tuple(Choice(name, text) for name, text in PIPES if name.startswith(begun.lower()))
    if len(done) == 1 and done[0].text.lower() == "include":
        return (Choice("<WORD>", "The word to look for", completes=False),)
    return (Choice(CARRIAGE_RETURN, "Do it", completes=False),)
