"""Setting the clock by hand: for the time before the time servers answer, and for no other."""

import datetime
from collections.abc import Callable

from appliance.configd.errors import refused
from appliance.process import Finished

ALLOWED = "a time in UTC such as 2026-01-31T18:00:00Z"
EARLIEST, LATEST = 2025, 2100  # no certificate of ours was valid before, and none will be after
UNSYNCHRONISED = "00000000"  # chronyc(1), tracking: the reference id of a clock that follows nobody

Attempt = Callable[[list[str]], Finished]


def followed(attempt: Attempt) -> tuple[str, str] | None:
    """The time server that chrony follows, and its stratum; None when there is none."""
    tracking = attempt(["chronyc", "-c", "tracking"])
    fields = tracking.output.strip().split(",")
    if tracking.status != 0 or len(fields) <= 2 or fields[0] == UNSYNCHRONISED:
        return None
    return fields[1], fields[2]


def seconds_of(text: str) -> int:
    """The second that `text` names; raises an `invalid` refusal."""
    try:
        found = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        found = None
    if found is None or not EARLIEST <= found.year < LATEST:
        raise refused("invalid", f"found {text[:40]!r}; allowed: {ALLOWED}, of {EARLIEST} to {LATEST - 1}")
    return int(found.timestamp())


def set_clock(text: str, attempt: Attempt, run: Callable[[list[str]], str]) -> None:
    """Set the system's clock. Raises an `invalid` refusal while a time server is followed: it knows better, and would set the
    clock back. configd may not do it itself (its sandbox), so a unit that may do nothing else does."""
    seconds = seconds_of(text)
    server = followed(attempt)
    if server is not None:
        raise refused(
            "invalid", f"found a clock that follows the time server {server[0]}; allowed: one that follows none"
        )
    held = ("CapabilityBoundingSet=CAP_SYS_TIME", "NoNewPrivileges=yes", "PrivateNetwork=yes", "ProtectSystem=strict")
    options = [f"--property={each}" for each in held]
    run(["systemd-run", "--quiet", "--wait", "--collect", *options, "--", "date", "--utc", f"--set=@{seconds}"])
