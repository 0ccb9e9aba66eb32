"""`python -m appliance.offsite`: sends sealed backups to other machines (Type=notify), as an account of its own."""

import sys

from appliance.asked_service import Program, command_line
from appliance.offsite.api import LINE_BYTES, SOCKET, Ask
from appliance.offsite.keep import FOLDER, Keep
from appliance.offsite.service import Service
from appliance.offsite.settings import SETTINGS_PATH, load
from appliance.state_file import KeepError

PROGRAM = Program(
    name="sentry-offsite",
    load=load,
    make=lambda settings, arguments: Service(settings, Keep(arguments.state), arguments.socket.parent),
    asks=Ask,
    line_bytes=LINE_BYTES,
    ends=(KeepError,),
)


def main() -> int:
    """Read the settings, take backups and send them, and end on SIGTERM or SIGINT."""
    return PROGRAM.run(command_line(__doc__, settings=SETTINGS_PATH, state=FOLDER, socket=SOCKET).parse_args())


if __name__ == "__main__":
    sys.exit(main())
