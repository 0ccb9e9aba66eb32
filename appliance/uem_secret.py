"""The secret by which the agent asks a UEM of another vendor: a file that exists for as long as the site has such a UEM."""

from typing import Any

from appliance import secret_file
from appliance.features.base import System, Tree
from appliance.features.tls import FOLDER

PLACE = f"{FOLDER}/agent/uem.secret"
GROUP = "sentry-agent"
UNIT = "sentry-agent.service"
FIELDS = {"epmm": "password", "intune": "client_secret"}
"""The setting that is the secret, in the group of settings of each mode that has one."""


def ensure(tree: Tree, system: System) -> bool:
    """Have the secret of the mode lie there, or none. Idempotent; says whether anything changed. A running agent whose secret is
    another one now is restarted. Raises `CommandError`."""
    uem: Any = tree["uem"]
    field = FIELDS.get(uem["mode"])
    if field is None:
        return secret_file.remove(PLACE, system)
    changed = secret_file.put(PLACE, system.secret(uem[uem["mode"]][field]), GROUP, system)
    if changed:
        system.run(["systemctl", "try-restart", "--", UNIT])
    return changed
