"""The secret that policy keys are made with: a random one of this appliance's own, or the site's, which a fleet shares.

Two files, so that a way back from the one to the other finds the keys that devices had: the own one is made once and stays.
"""

from appliance import secret_file
from appliance.features.base import System, Tree
from appliance.features.tls import FOLDER

OWN = f"{FOLDER}/gateway/fleet.key"
SITES = f"{FOLDER}/gateway/fleet.site.key"
GROUP = "sentry-gateway"
UNIT = "sentry-gateway.service"
HEX_DIGITS = 64  # of 32 random bytes
CHARACTERS = 4_096  # more is another file


def path(tree: Tree) -> str:
    """Where the secret lies that the gateway is to use."""
    return SITES if tree["gateway"].get("fleet_secret") else OWN


def ensure(tree: Tree, system: System) -> bool:
    """Make the own secret if it is missing or damaged, and the site's what the configuration says.

    Idempotent; says whether anything changed. A running gateway whose secret is another one now is reloaded; its devices
    provision anew. Raises `CommandError`.
    """
    changed = set()
    own = (system.read(OWN) or "").strip()
    if len(own) != HEX_DIGITS:
        own = system.run(["openssl", "rand", "-hex", str(HEX_DIGITS // 2)]).strip()
    if secret_file.put(OWN, own, GROUP, system):
        changed.add(OWN)
    given = tree["gateway"].get("fleet_secret")
    if given and secret_file.put(SITES, system.secret(given), GROUP, system):
        changed.add(SITES)
    if not given and secret_file.remove(SITES, system):
        changed.add(SITES)
    if path(tree) in changed:
        system.run(["systemctl", "try-reload-or-restart", "--", UNIT])
    return bool(changed)
