"""`python -m tests.seedling MODULE FD`: import a program, then fork for each start that is asked for (see `tests.programs`).

It has no thread, no event loop and no open file but the socket it is asked on, so that a child finds what a new process finds.
Each request brings a socket on which two numbers are answered: the child's process id, and how it ended as waitpid(2) says.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

HEAD_BYTES = 20  # of a number
REQUEST_BYTES = 200_000  # arguments and environment

Main = Callable[[list[str]], int | None]


def main(module: str, descriptor: int) -> None:
    """Serve until the other end is closed; what then still runs, of tests that failed, is killed."""
    program: Main = importlib.import_module(f"{module}.__main__").main
    asked = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for the tests, with which this ends
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    reports: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([descriptor, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _bury(reports)
        if descriptor not in readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(asked, REQUEST_BYTES, 3)
        if not data:
            for child in reports:
                os.kill(child, signal.SIGKILL)
            return
        report, *outputs = descriptors
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            asked.close()
            for one in (woken, wake, *reports.values()):
                os.close(one)
            _become(json.loads(data), outputs)
            os.write(report, str(os.getpid()).encode())
            os.close(report)
            os._exit(_run(program, json.loads(data)["arguments"]))
        for one in outputs:
            os.close(one)
        reports[child] = report


def _bury(reports: dict[int, int]) -> None:
    """Tell how each child ended that has."""
    while reports:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        report = reports.pop(child)
        with contextlib.suppress(BrokenPipeError):  # nobody asks any more
            os.write(report, str(status).encode())
        os.close(report)


def _run(program: Main, arguments: list[str]) -> int:
    """Its exit code. The child ends with it at once: to take apart an interpreter that it shares with others costs more than
    all of the start, and the programs leave nothing for that moment."""
    try:
        code = program(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - this is the end of a process
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def _become(said: dict[str, object], outputs: list[int]) -> None:
    """Take over what a new process is given."""
    for number, one in enumerate(outputs, 1):
        os.dup2(one, number)
        os.close(one)
    env, folder = said["env"], said["cwd"]
    assert isinstance(env, dict)
    assert isinstance(folder, str)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
