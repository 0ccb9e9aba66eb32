"""sentry-setup as its unit starts it, but for the places: `setup_program.py SOCKET`, with the state beside the socket."""

import sys
from pathlib import Path

from appliance.first_boot.console import main

if __name__ == "__main__":
    here = Path(sys.argv[1]).parent
    configured = here / "box/config/running.json"
    sys.exit(main(configured=configured, said=here / "said", socket=sys.argv[1]))
