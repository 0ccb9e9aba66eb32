"""`python -m appliance.alerts`: tells people what they must hear of (Type=notify), as an account of its own."""

import argparse
import sys
import time

from appliance.alerts.api import LINE_BYTES, SOCKET, Ask
from appliance.alerts.keep import FOLDER, Keep
from appliance.alerts.looking import Machine
from appliance.alerts.service import Service
from appliance.alerts.settings import SETTINGS_PATH, Settings, load
from appliance.asked_service import Program, command_line
from appliance.configd import api
from appliance.snmp.publishing import Publisher


def main() -> int:
    """Read the settings, look and tell, and end on SIGTERM or SIGINT."""
    parser = command_line(__doc__, settings=SETTINGS_PATH, state=FOLDER, socket=SOCKET)
    parser.add_argument("--configd", default=api.SOCKET)
    return PROGRAM.run(parser.parse_args())


def _service(settings: Settings, arguments: argparse.Namespace) -> Service:
    publisher = Publisher(wall=time.time)
    sources = Machine(socket=arguments.configd)
    return Service(settings, Keep(arguments.state), sources, publish=publisher.publish)


PROGRAM = Program(name="sentry-alerts", load=load, make=_service, asks=Ask, line_bytes=LINE_BYTES)


if __name__ == "__main__":
    sys.exit(main())
