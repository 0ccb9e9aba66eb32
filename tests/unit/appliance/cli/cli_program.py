"""sentry-cli as sshd starts it, but for the socket: `cli_program.py SOCKET [-c COMMAND]`."""

import sys

from appliance.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], socket=sys.argv[1]))
