"""`python -m appliance.acme`: gets certificates from an ACME server (Type=notify), as an account of its own."""

import sys

from appliance.acme.api import LINE_BYTES, SOCKET, Ask
from appliance.acme.keep import FOLDER, Keep
from appliance.acme.service import Service, StuckError
from appliance.acme.settings import SETTINGS_PATH, load
from appliance.asked_service import Program, command_line
from appliance.state_file import KeepError

PROGRAM = Program(
    name="sentry-acme",
    load=load,
    make=lambda settings, arguments: Service(settings, Keep(arguments.state)),
    asks=Ask,
    line_bytes=LINE_BYTES,
    ends=(KeepError, StuckError),
)


def main() -> int:
    """Read the settings, take orders and try them, and end on SIGTERM or SIGINT."""
    return PROGRAM.run(command_line(__doc__, settings=SETTINGS_PATH, state=FOLDER, socket=SOCKET).parse_args())


if __name__ == "__main__":
    sys.exit(main())
