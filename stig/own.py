"""The appliance's scan of itself: by its own command line, as the scanner's account, which may look and nothing else.

Without the site's answer file: what only the site can say is not reviewed, and so is what takes a log-in of somebody's.
"""

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from stig import results, written
from stig.auditor import AuditorMachine
from stig.door import Door, LocalDoor
from stig.errors import FactError, InputError
from stig.facts import Facts
from stig.recorder import Clock
from stig.reports import files
from stig.results import Scan
from stig.scan import scan
from stig.target import MANAGEMENT, Login, Target

ACCOUNT = "sentry-stig"
LOOPBACK = "127.0.0.1"
OPENED = "opened.json"


class _Proxy(msgspec.Struct, frozen=True):
    """Of the settings of the portal's TLS: where it listens, which is the management zone."""

    addresses: tuple[str, ...]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that are open and were not at some scan before, each with what it demands."""

    rules: dict[str, str] = {}


def itself(door: Door) -> AuditorMachine:
    """This machine, by its address in the management zone. `FactError` when it does not tell that address."""
    name = socket.gethostname().partition(".")[0]
    # Nobody logs in: sshd is looked at as for root, who is the only account that every appliance has.
    machine = AuditorMachine(Target(name, LOOPBACK, None, Login("root"), Path("/nonexistent")), door)
    addresses = Facts(machine).struct("tls_proxy", _Proxy).addresses
    if not addresses:
        machine.close()
        raise FactError("the portal's settings name no address: the appliance is not configured yet")
    machine.target = Target(
        name, addresses[0], None, machine.target.admin, machine.target.known_hosts, {MANAGEMENT: addresses[0]}
    )
    return machine


def scan_itself(folder: Path, *, clock: Clock, say: Callable[[str], None], door: Door | None = None) -> Scan:
    """Scan this machine and write the reports into `folder`, with what has become open since the scan that lies there."""
    catalogue = written.load()
    machine = itself(door or LocalDoor(who=ACCOUNT))
    try:
        found = scan(machine, catalogue, None, clock=clock, say=say)
    finally:
        machine.close()
    opened = newly_open(_earlier(folder), _opened(folder), found)
    files.write(found, catalogue, folder)
    files.put(msgspec.json.encode(opened) + b"\n", folder / OPENED)
    return found


def newly_open(earlier: Scan | None, opened: Opened, now: Scan) -> Opened:
    """What is open now and was not in the earlier scan, and what had become open before that and still is. The first scan opens
    nothing: it is what later ones are held against."""
    before = {one.rule: one.status for one in earlier.results} if earlier else {}
    return Opened(
        rules={
            one.rule: one.requirement
            for one in now.results
            if one.status == "open" and (one.rule in opened.rules or before.get(one.rule, "open") != "open")
        }
    )


def _earlier(folder: Path) -> Scan | None:
    """The scan that lies there; none where it cannot be read, as after an update that writes it otherwise."""
    try:
        return results.read(folder / "results.json")
    except InputError:
        return None


def _opened(folder: Path) -> Opened:
    try:
        return msgspec.json.decode((folder / OPENED).read_bytes(), type=Opened)
    except (OSError, msgspec.MsgspecError):
        return Opened()
