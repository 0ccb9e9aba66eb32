"""The forwarding actions in rsyslog's fully resolved configuration (`rsyslogd -N1 -o`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PART = re.compile(r"\b(?P<what>ruleset|action|input)\s*\(", re.IGNORECASE)
_FIELD = re.compile(r"([\w.]+)\s*=\s*\"([^\"]*)\"")
_LEGACY = re.compile(
    r"^\s*(?P<selector>[\w*,;.!=]+)\s+(?P<at>@@?)(?:\([^)]*\))?(?P<target>\[[^\]]+\]|[\w.-]+)(?::(?P<port>\d+))?"
)
_CALL = re.compile(r"\bcall\s+(?P<target>[\w.-]+)")
DEFAULT = ""  # the ruleset of whatever is not bound to another


@dataclass(frozen=True, slots=True)
class Forward:
    """One way off the machine: where to, and which ruleset feeds it."""

    ruleset: str
    target: str
    port: str
    protocol: str
    selector: str


@dataclass(frozen=True, slots=True)
class Input:
    """One input, its Unix socket for streams if it has one, and the ruleset its messages go to."""

    kind: str
    socket: str
    ruleset: str


@dataclass(frozen=True, slots=True)
class Secured:
    """A way off the machine over TLS: where to, and the oldest and newest version it may speak (empty: not said)."""

    target: str
    minimum: str
    maximum: str


def uncommented(text: str) -> str:
    """The text without `#` comments outside quotes."""
    lines = []
    for line in text.splitlines():
        quoted = False
        for place, sign in enumerate(line):
            quoted ^= sign == '"'
            if sign == "#" and not quoted:
                lines.append(line[:place])
                break
        else:
            lines.append(line)
    return "\n".join(lines)


def forwards(text: str) -> tuple[Forward, ...]:
    """Every forwarding action, RainerScript and legacy, once for each ruleset whose messages come to it."""
    clean = uncommented(text)
    spans = _rulesets(clean)
    found = []
    for place, fields in _calls(clean, "action"):
        if fields.get("type") == "omfwd" and fields.get("target"):
            selector = clean[:place].rsplit("\n", 1)[-1].strip()
            ruleset = _within(spans, place)
            found.append(
                Forward(
                    ruleset,
                    fields["target"],
                    fields.get("port", "514"),
                    fields.get("protocol", "udp"),
                    selector or "*.*",
                )
            )
    for match in re.finditer(_LEGACY.pattern, clean, re.MULTILINE):
        protocol = "tcp" if match["at"] == "@@" else "udp"
        ruleset = _within(spans, match.start("at"))
        found.append(Forward(ruleset, match["target"].strip("[]"), match["port"] or "514", protocol, match["selector"]))
    return (*found, *_called(clean, spans, found))


def _called(text: str, spans: list[tuple[str, int, int]], direct: list[Forward]) -> Iterator[Forward]:
    """What a ruleset forwards by calling another one; none of ours calls further."""
    for match in _CALL.finditer(text):
        caller = _within(spans, match.start())
        selector = text[: match.start()].rsplit("\n", 1)[-1].strip() or "*.*"
        for one in direct:
            if one.ruleset == match["target"] and caller != one.ruleset:
                yield Forward(caller, one.target, one.port, one.protocol, selector)


def secured(text: str) -> tuple[Secured, ...]:
    """Every forwarding action with TLS."""
    found = []
    for _place, fields in _calls(uncommented(text), "action"):
        if fields.get("type") == "omfwd" and fields.get("streamdrivermode") == "1":
            versions = dict(re.findall(r"(M\w+Protocol)=TLSv([\d.]+)", fields.get("gnutlsprioritystring", "")))
            low, high = versions.get("MinProtocol", ""), versions.get("MaxProtocol", "")
            found.append(Secured(f"{fields.get('target', '')}:{fields.get('port', '514')}", low, high))
    return tuple(found)


def inputs(text: str) -> tuple[Input, ...]:
    """Every input in RainerScript, with the socket it reads where it has one."""
    return tuple(
        Input(fields.get("type", ""), fields.get("path", ""), fields.get("ruleset", DEFAULT))
        for _place, fields in _calls(uncommented(text), "input")
    )


def _calls(text: str, what: str) -> list[tuple[int, dict[str, str]]]:
    found = []
    for match in _PART.finditer(text):
        if match["what"].lower() == what:
            inner = text[match.end() : _closing(text, match.end(), "()")]
            found.append((match.start(), {name.lower(): value for name, value in _FIELD.findall(inner)}))
    return found


def _rulesets(text: str) -> list[tuple[str, int, int]]:
    spans = []
    for match in _PART.finditer(text):
        if match["what"].lower() != "ruleset":
            continue
        end = _closing(text, match.end(), "()")
        name = dict(_FIELD.findall(text[match.end() : end])).get("name", "")
        opening = text.find("{", end)
        if name and opening >= 0 and not text[end + 1 : opening].strip():
            spans.append((name, opening, _closing(text, opening + 1, "{}")))
    return spans


def _within(spans: list[tuple[str, int, int]], place: int) -> str:
    return next((name for name, start, end in spans if start < place < end), DEFAULT)


def _closing(text: str, start: int, pair: str) -> int:
    depth, quoted = 1, False
    for place in range(start, len(text)):
        sign = text[place]
        quoted ^= sign == '"'
        if not quoted and sign in pair:
            depth += 1 if sign == pair[0] else -1
            if depth == 0:
                return place
    return len(text)
