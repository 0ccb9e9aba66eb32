"""`sentry-setup`: at the console of an appliance without a configuration, says why it has none and asks for one.

It is a log-in for once: there is no account yet, whoever sits at the console has the machine, and there is nothing on it.
It ends with the first revision, and from then on the console asks for an account.
"""

import sys
from pathlib import Path

from appliance.cli import interactive
from appliance.cli.output import safe
from appliance.configd.api import SOCKET
from appliance.configd.client import Client
from appliance.first_boot.statement import CLOSED, SAID

CONFIGURED = Path("/var/lib/sentry/config/running.json")
INVITES = "Press Enter to set it up here. "


def main(*, configured: Path = CONFIGURED, said: Path = SAID, socket: str = SOCKET, source: str = "console") -> int:
    """Ask until there is a configuration, whoever has committed it. Exit status 0, or 1 when the terminal went away."""
    while not configured.exists():
        text = said.read_text(encoding="utf-8") if said.exists() else CLOSED
        sys.stdout.write("\n" + "\n".join(safe(line) for line in text.splitlines()) + "\n")
        sys.stdout.write(INVITES)
        sys.stdout.flush()
        if not sys.stdin.readline():
            return 1
        if configured.exists():
            break
        with Client(socket) as client:
            interactive.run(client, source, only="setup")
    return 0


if __name__ == "__main__":
    sys.exit(main())
