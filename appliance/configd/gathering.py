"""What a support bundle holds: facts, settings, units, the ends of logs, and the rendered files that everybody may read.

Each part is bounded, has its share of the time, and says in its own place what kept it from being had. No part is made of a
secret: settings are masked, a rendered file that is not everybody's is only named, logs hold none; and what has come together
goes through `appliance.support.scrubbing` all the same.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import msgspec

from appliance import __version__
from appliance.apply import stamp
from appliance.config.secrets import masked
from appliance.configd import facts
from appliance.configd.errors import RefusedError
from appliance.configd.facts.bundle import PEOPLE, written
from appliance.configd.facts.context import Context
from appliance.configd.facts.host import SERVICES
from appliance.configd.facts.management import RUNTIME_LOG, TRAIL
from appliance.features.base import File
from appliance.process import CommandError
from appliance.render import RenderError, render_all
from sentry_runtime.control import ControlError

GATHERING_SECONDS = 90.0  # all parts; a client waits for 180. Each command has 60 at most (`appliance.process`)
LOG_LINES = 1_000  # of each unit's log; an hour of a gateway that complains all the time
TRAIL_LINES = 2_000  # of each audit trail
EVERYBODY = 0o004  # the mode of what is no secret: the last of its bits for reading
LEFT_OUT: Final = PEOPLE - {"sessions", "revisions", "confirmation", "downloads"} | {"tech"}
"""Topics that name devices and their users, or that stand in the bundle as parts of their own."""
PROPERTIES: Final = (
    "Id,ActiveState,SubState,Result,ExecMainStatus,ExecMainCode,NRestarts,ActiveEnterTimestamp,InactiveExitTimestamp,"
    "MemoryCurrent,MemoryPeak,TasksCurrent,CPUUsageNSec,WatchdogUSec"
)
_JOURNAL: Final = ("journalctl", "--no-pager", "-q", "-o")

_log = logging.getLogger(__name__)

Part = Callable[[Context], str]


def gather(context: Context, user: str, *, clock: Callable[[], float] = time.monotonic) -> dict[str, str]:
    """The parts by their names in the bundle. `clock` is monotonic. Never raises for want of one part."""
    until = clock() + GATHERING_SECONDS
    found = {"README.txt": _readme(context, user)}
    for name, part in _parts(context):
        found[name] = _had(part, context) if clock() < until else "not gathered: the time for a bundle was over\n"
    return found


def _had(part: Part, context: Context) -> str:
    try:
        return part(context)
    except (CommandError, ControlError, RefusedError, RenderError, OSError) as error:
        return f"cannot be had: {error}\n"
    except Exception as error:  # noqa: BLE001 - a machine that needs support has broken parts: the others are still wanted
        _log.error("a part of a support bundle", exc_info=error)
        return f"cannot be had: {type(error).__name__}; the log of sentry-configd says more\n"


def _readme(context: Context, user: str) -> str:
    return (
        f"Support bundle of {context.setting('hostname')}, Sentry {__version__}\n"
        f"made {stamp(context.now)} by {user}\n\n"
        "It holds no password, key, token or passphrase. It does hold names: of administrators and, in the gateway's trail, of\n"
        "devices and their users. Give it to nobody who must not read these.\n"
    )


def _parts(context: Context) -> Iterator[tuple[str, Part]]:
    yield "configuration.json", _settings
    yield "units.txt", partial(_said, ("systemctl", "show", f"--property={PROPERTIES}", "--", *SERVICES))
    yield "failed-units.txt", partial(_said, ("systemctl", "list-units", "--failed", "--no-legend", "--plain"))
    for unit in SERVICES:
        argv = (*_JOURNAL, "short-iso", "-n", str(LOG_LINES), f"--unit={unit}")
        yield f"logs/{unit.removesuffix('.service')}.log", partial(_said, argv)
    yield "logs/kernel.log", partial(_said, (*_JOURNAL, "short-iso", "-n", str(LOG_LINES), "--dmesg"))
    yield "audit/management.log", partial(_said, (*_JOURNAL, "cat", "-n", str(TRAIL_LINES), *TRAIL))
    yield "audit/gateway.log", partial(_said, ("tail", "-n", str(TRAIL_LINES), "--", RUNTIME_LOG))
    for record in context.records.all():
        yield f"hung/{record.name}", partial(_record, record.name)
    yield "files.txt", _index
    for topic in sorted(set(facts.TOPICS) - LEFT_OUT):
        yield f"facts/{topic}.txt", partial(_topic, topic)
    for path, file in sorted(_rendered(context).items()):
        if file.mode & EVERYBODY:
            yield f"files{path}", partial(_text, file)


def _topic(name: str, context: Context) -> str:
    return _lines(written(facts.show(name, "", context)))


def _settings(context: Context) -> str:
    return msgspec.json.format(msgspec.json.encode(masked(context.tree))).decode() + "\n"


def _record(name: str, context: Context) -> str:
    return context.records.read(name)


def _text(file: File, _context: Context) -> str:
    return file.text


def _rendered(context: Context) -> dict[str, File]:
    try:
        return dict(render_all(context.tree, context.schema.features)) if context.running else {}
    except RenderError:  # `_index` says so
        return {}


def _index(context: Context) -> str:
    """Every rendered file with its mode; those that are not everybody's are not in the bundle."""
    if context.running is None:
        return "nothing is configured yet\n"
    rows = sorted(render_all(context.tree, context.schema.features).items())
    lines = (
        f"{file.mode:04o} {file.owner}:{file.group} {path}{'' if file.mode & EVERYBODY else ' (not in the bundle)'}"
        for path, file in rows
    )
    return _lines(lines)


def _said(argv: tuple[str, ...], context: Context) -> str:
    finished = context.attempt(list(argv))
    return finished.output or finished.errors or "nothing\n"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
