"""`show tech`: what support needs, as one text. It is bounded, and a part that cannot be had says so in its place.

It is made to be given away. So it holds no secret, as no topic does, and neither do those topics go in that name people and
their devices.
"""

from collections.abc import Iterable, Iterator, Mapping

from appliance.apply import stamp
from appliance.configd.api import Facts, Shown, Table, Text
from appliance.configd.errors import RefusedError
from appliance.configd.facts.context import LINES, Context, Topic
from appliance.configd.facts.settings import properties
from appliance.process import CommandError
from sentry_runtime.control import ControlError

BUNDLE_LINES = 5_000  # 25 topics at `LINES` each; half a megabyte
LINE_CHARACTERS = 500
PEOPLE = frozenset(
    {"device", "devices", "redirects", "users", "sessions", "log", "revisions", "confirmation", "config-properties"}
    | {"downloads"}
)
PEOPLES_SETTINGS = ("users.accounts.", "gateway.rules.", "gateway.device_authentication.certificates.")


def topic(topics: Mapping[str, Topic]) -> Topic:
    """The topic over `topics`, which are all the others."""

    def answer(context: Context, _argument: str) -> Text:
        lines = [f"made {stamp(context.now)}; without secrets, people and devices", ""]
        for name, one in sorted(topics.items()):
            if name not in PEOPLE and name != "tech":
                lines += [f"== {name}: {one.help}", *_cut(_lines(one, context)), ""]
        lines += ["== configuration", *_cut(_settings(context))]
        return Text(title="tech", lines=tuple(lines[:BUNDLE_LINES]))

    return Topic("all that support needs, as one text", answer)


def _cut(lines: Iterable[str]) -> list[str]:
    listed = [line[:LINE_CHARACTERS] for line in lines]
    more = [f"({len(listed) - LINES} more lines)"] if len(listed) > LINES else []
    return [*listed[:LINES], *more]


def _lines(one: Topic, context: Context) -> Iterable[str]:
    try:
        return written(one.answer(context, ""))
    except (CommandError, ControlError, RefusedError) as error:
        return (f"cannot be told: {error}",)


def written(shown: Shown) -> Iterable[str]:
    """A topic's answer as lines of text."""
    if isinstance(shown, Facts):
        return (f"{name}: {value}" for name, value in shown.facts)
    if isinstance(shown, Table):
        return (" | ".join(row) for row in (shown.columns, *shown.rows))
    return shown.lines


def _settings(context: Context) -> Iterator[str]:
    for path, value in properties(context):
        if not path.startswith(PEOPLES_SETTINGS):
            yield f"{path} = {value}"
