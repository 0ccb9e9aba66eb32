"""`sentry-cli`: the administrators' login shell.

    sentry-cli                 a session at a terminal; without a terminal: the lines of standard input as a script
    sentry-cli -c 'COMMAND'    one command, as `ssh admin@host 'show version'` starts it

Exit status 0: done. 1: refused or failed, the reason on standard error. There is no way from here to another program.
"""

import io
import os
import sys

from appliance.cli import plain
from appliance.configd.api import SOCKET
from appliance.configd.client import Client

USAGE = "usage: sentry-cli [-c COMMAND]"


def main(arguments: list[str], *, socket: str = SOCKET) -> int:
    """Run the shell; `arguments` as sshd and login give them. Whoever stops reading (`| head`) ends it with status 1."""
    _safe_streams()
    try:
        return _run(arguments, socket)
    except BrokenPipeError:
        # configd's connection breaks as `Unreachable`, so this is the reader. Python writes what is left once more at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        return 1


def _run(arguments: list[str], socket: str) -> int:
    if arguments and (arguments[0] != "-c" or len(arguments) != 2):
        sys.stderr.write(f"{USAGE}\n")
        return 1
    with Client(socket) as client:
        if arguments:
            return plain.run_command(client, _source(), arguments[1])
        if not sys.stdin.isatty():
            script = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace", newline="\n")
            return plain.run_script(client, _source(), script)
        from appliance.cli import interactive  # noqa: PLC0415 - prompt_toolkit costs 100 ms that scripts need not pay

        return interactive.run(client, _source())


def _safe_streams() -> None:
    """Whatever the locale says: UTF-8 out, and never an exception for a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _source() -> str:
    """Where the person sits: sshd says it in the environment (RFC 4251 knows no other way); else the terminal's name."""
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    return client or (os.ttyname(0) if sys.stdin.isatty() else "script")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
