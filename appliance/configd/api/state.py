"""What the running system is asked, and the three forms in which it is shown."""

from typing import Literal

import msgspec

from appliance.configd.api.words import Handle, SessionVerb, Word


class Show(SessionVerb, frozen=True, kw_only=True, tag="state.show"):
    """Facts of the running system. Result: `Table` or `Facts` as JSON (see `appliance.configd.facts`). `argument` is a
    device id, a unit's short name or a number, as the topic wants; never a command or a path."""

    topic: Word
    argument: Word = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="facts"):
    """Named facts in the order they read best."""

    title: str
    facts: tuple[tuple[str, str], ...]


class Table(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="table"):
    """Rows under headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Text(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """Lines as they are (log lines, a rendered configuration)."""

    title: str
    lines: tuple[str, ...]


Shown = Facts | Table | Text


class FollowLog(SessionVerb, frozen=True, kw_only=True, tag="log.follow"):
    """The last lines of a log, or those since the look that `after` names. Result: `Followed`."""

    which: Literal["", "gateway"] = ""
    after: Handle = ""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """Lines, oldest first; `after` is for the next look. `skipped`: more had come than is told at once."""

    after: str
    lines: tuple[str, ...]
    skipped: bool = False
