"""What became of the devices a scan tried the gateway with, each once: the behaviour that the rules about the UEM ask for."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from stig.devices import Pair
from stig.facts import Facts
from stig.probe import device
from stig.probe.device import Tried
from stig.recorder import NotReviewed
from stig.target import GATEWAY_PORT

RECORD_SECONDS, RECORD_PAUSE = (
    5.0,
    0.5,
)  # how long a record may be on its way into the file, and how often it is looked for
OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Tries:
    """One for each device of `stig.devices`, and `bare`: the registered one without a certificate. `reasons` are those that the
    gateway's own record of the request gives, by device id."""

    registered: Tried
    compromised: Tried
    unregistered: Tried
    bare: Tried
    revoked: Tried
    unmapped: Tried
    stranger: Tried
    reasons: dict[str, tuple[str, ...]]


def tries(facts: Facts) -> Tries:
    """All of them. `NotReviewed` where the scan was given no devices; `FactError` where there is no gateway."""
    return facts.once("devices", lambda: _tries(facts))


def tried_first(facts: Facts) -> None:
    """Have the devices' requests in the trail before it is read, where there are devices."""
    if facts.machine.target.devices is not None:
        tries(facts)


def _tries(facts: Facts) -> Tries:
    target = facts.machine.target
    given = target.devices
    if given is None:
        raise NotReviewed("needs devices to try the gateway with (--devices), which were not given")
    rows: dict[str, tuple[str, Pair | None]] = {
        "registered": (given.registered.device_id, given.identity),
        "compromised": (given.compromised.device_id, given.identity),
        "unregistered": (given.unregistered.device_id, given.identity),
        "bare": (given.registered.device_id, None),
        "revoked": (given.registered.device_id, given.revoked),
        "unmapped": (given.registered.device_id, given.unmapped),
        "stranger": (given.registered.device_id, given.stranger),
    }

    def one(row: tuple[str, Pair | None]) -> Tried:
        return device.attempt(target.gateway, GATEWAY_PORT, row[0], given.user, row[1], target.ca_file)

    with ThreadPoolExecutor(max_workers=len(rows)) as pool:
        found = dict(zip(rows, pool.map(one, rows.values()), strict=True))
    ids = [one.device_id for one in (given.registered, given.compromised, given.unregistered)]
    return Tries(**found, reasons=_reasons(facts, ids))


def _reasons(facts: Facts, ids: list[str], now: Callable[[], float] = time.monotonic) -> dict[str, tuple[str, ...]]:
    """What the gateway's last record of each device says, as soon as all have one."""
    until = now() + RECORD_SECONDS
    while True:
        found: dict[str, tuple[str, ...]] = {}
        for line in facts.anew("audit_records").output.splitlines():
            record = _record(line)
            if record.get("event") == OUTCOME and record.get("device_id") in ids:
                found[record["device_id"]] = tuple(record.get("reasons", ()))
        if set(found) == set(ids) or now() >= until:
            return found
        time.sleep(RECORD_PAUSE)


def _record(line: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line[max(0, line.find("{")) :], type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
