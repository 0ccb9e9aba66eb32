"""`python -m appliance.directory`: asks a site's directory who somebody is (Type=notify), as an account of its own."""

import sys

from appliance.asked_service import Program, command_line
from appliance.directory.api import LINE_BYTES, SOCKET, Ask
from appliance.directory.service import Service
from appliance.directory.settings import SETTINGS_PATH, load

PROGRAM = Program(
    name="sentry-directory",
    load=load,
    make=lambda settings, _: Service(settings),
    asks=Ask,
    line_bytes=LINE_BYTES,
)


def main() -> int:
    """Read the settings, answer configd, and end on SIGTERM or SIGINT."""
    return PROGRAM.run(command_line(__doc__, settings=SETTINGS_PATH, socket=SOCKET).parse_args())


if __name__ == "__main__":
    sys.exit(main())
