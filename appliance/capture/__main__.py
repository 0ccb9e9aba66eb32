"""`python -m appliance.capture`: one capture, as the account that may read packets and nothing else (sentry-capture.service)."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from appliance.capture.headers import Cutter, NoCaptureError
from appliance.capture.recording import record
from appliance.capture.request import FILE_BYTES, PLACE, RESULT, Request, argv, told
from appliance.process import ENVIRONMENT

END_SECONDS = 5.0  # for tcpdump, which only has to say how many packets it has seen

_log = logging.getLogger("appliance.capture")


def main(place: Path = Path(PLACE), result: Path = Path(RESULT)) -> int:
    """Read what was asked for, look at it once more, record, and end."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    orders: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, _frame: orders.add(which))
    try:
        request = msgspec.json.decode(place.read_bytes(), type=Request)
        command = argv(request)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        _log.error("nothing was captured: %s", error)
        return 1
    # The only program of the management plane that is read while it runs; all others are `appliance.process.run`'s.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/", env=ENVIRONMENT
    ) as tcpdump:
        assert tcpdump.stdout is not None  # noqa: S101 - it is a pipe, see above
        try:
            descriptor = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                end = record(
                    tcpdump.stdout.fileno(),
                    target,
                    Cutter(whole=request.whole),
                    seconds=request.seconds,
                    most=FILE_BYTES,
                    clock=time.monotonic,
                    stopped=lambda: bool(orders),
                )
        except (NoCaptureError, OSError) as error:
            _log.error("%s: %s", told(request), error)
            tcpdump.kill()
            return 1
        tcpdump.terminate()
        try:
            status = tcpdump.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            tcpdump.kill()
            status = tcpdump.wait()
    _log.info("%s: ended by %s", told(request), end)
    return 1 if end == "over" and status > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
