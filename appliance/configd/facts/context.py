"""What a topic is answered from, and small tools to put answers into tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.backup.keeping import Folder
from appliance.config.schema import Schema
from appliance.config.store import Ages, Kept, Pending
from appliance.configd.api import Revision, Shown
from appliance.configd.sessions import Held
from appliance.features.base import System
from appliance.process import Finished
from appliance.support.records import Records
from appliance.support.shelf import Shelf
from sentry_runtime.settings import Paths

LINES = 200  # of text one answer holds; a terminal keeps more, nobody reads more


@dataclass(frozen=True, slots=True)
class Context:
    """`attempt` runs a command whatever its exit status; `call` asks the data plane (`sentry_runtime.control.call`)."""

    system: System
    attempt: Callable[[list[str]], Finished]
    call: Callable[..., Any]
    paths: Paths
    schema: Schema
    running: Kept | None
    pending: Pending | None
    revisions: tuple[Revision, ...]
    sessions: tuple[Held, ...]
    now: float
    monotonic: float
    backups: Folder
    shelf: Shelf
    records: Records
    ages: Ages

    @property
    def tree(self) -> Mapping[str, Any]:
        """The running configuration; empty before the first commit."""
        return self.running.tree if self.running else {}

    def setting(self, *path: str, default: Any = "not configured") -> Any:
        """One value of the running configuration."""
        here: Any = self.tree
        for step in path:
            if not isinstance(here, Mapping) or step not in here:
                return default
            here = here[step]
        return here


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its one-line help and who answers. `argument` names the argument it takes, if any."""

    help: str
    answer: Callable[[Context, str], Shown]
    argument: str = ""


def rows(listed: Iterable[Mapping[str, Any]], *columns: str) -> tuple[tuple[str, ...], ...]:
    """Rows of the named fields, missing ones empty."""
    return tuple(tuple(word(item.get(column, "")) for column in columns) for item in listed)


def word(value: Any) -> str:
    """A value as a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def json_list(text: str) -> list[dict[str, Any]]:
    """The JSON list of objects a command printed; empty where it printed nothing."""
    return msgspec.json.decode(text, type=list[dict[str, Any]]) if text.strip() else []


def tail(text: str) -> tuple[str, ...]:
    """The last `LINES` lines."""
    return tuple(text.splitlines()[-LINES:])
