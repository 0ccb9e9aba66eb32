"""The start of a sealed image: its /etc is in memory, so what the running revision renders is put there anew, once.

On a provisioned host /etc is a disk's, and what differs there is drift, which configd tells of and does not mend.
"""

import logging
from pathlib import Path

from appliance.apply import ConflictError, Engine
from appliance.config.secrets import SecretError
from appliance.config.store import StoreError
from appliance.configd.gate import Gate
from appliance.configd.sessions import Sessions
from appliance.process import CommandError
from appliance.render import RenderError
from appliance.system import MachineError

SEALED = Path("/usr/lib/sentry/image")  # images/seal writes the version there
DONE = Path("/run/sentry-laid-out")  # gone with the next start, as what was laid out is

_log = logging.getLogger(__name__)


def lay_out(engine: Engine, gate: Gate, sessions: Sessions, *, sealed: Path = SEALED, done: Path = DONE) -> None:
    """Do it unless it was done since the machine started, and say what could not be done."""
    if not sealed.exists() or done.exists():
        return
    try:
        made = engine.lay_out()
    except (ConflictError, StoreError, RenderError, MachineError, CommandError, SecretError, OSError) as error:
        _log.error("the configuration cannot be put in place: %s", error)
        gate.note("config.laid_out", "configd", result="failed", detail=str(error))
        return
    done.touch()
    for one in made.left:
        _log.error("at the start: %s", one)
        sessions.tell_all(f"at the start of the machine: {one}")
    if made.written:
        _log.info("%d files of the configuration were put in place", len(made.written))
        result = "partly" if made.left else "ok"
        gate.note("config.laid_out", "configd", result=result, detail=f"{len(made.written)} files")
