"""Many appliances at once, from an Ansible inventory: one scan each, in processes of their own, into a folder each."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stig import results
from stig.errors import InputError, StigError
from stig.run import run

SCAN_SECONDS = 600.0  # ten times what a scan takes; a host that hangs must not hold up the fleet
INVENTORY_SECONDS = 60.0
AT_ONCE = 10  # a scan mostly waits for its appliance; each takes about 60 MiB here
FAILED, FOUND = 2, 1  # exit status of `scan`: it could not be done; something of the categories in question is open
READER = "ansible-inventory"
RESULTS = "results.json"
PER_HOST = ("user", "key", "known_hosts", "ca_file", "answers", "gateway_address", "devices", "snmp")
"""Options of a scan that a host or a group may have in the inventory, as `stig_user` and so on."""


@dataclass(frozen=True, slots=True)
class Host:
    """One appliance of the inventory: its name there, where it is reached, and its own options."""

    name: str
    address: str
    port: int
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How the scan of one host ended: its exit status, seconds, and what is to be said of it."""

    host: str
    status: int
    seconds: float
    words: str


class _Inventory(msgspec.Struct, frozen=True):
    """Of `ansible-inventory --list`: every host's variables."""

    meta: dict[str, Any] = msgspec.field(name="_meta", default_factory=dict)


def hosts(inventory: Path, limit: str = "") -> tuple[Host, ...]:
    """The hosts of an inventory in their order, as Ansible reads it; `limit` is its pattern. Raises `InputError`."""
    argv = [reader(), "-i", str(inventory), "--list", *(["--limit", limit] if limit else [])]
    done = run(argv, seconds=INVENTORY_SECONDS)
    if done.status != 0:
        raise InputError(f"{inventory}: cannot be read: {' '.join(done.errors.split())}")
    try:
        tree = msgspec.json.decode(done.output)
        known = msgspec.convert(tree, _Inventory).meta.get("hostvars", {})
    except msgspec.MsgspecError as error:
        raise InputError(f"{inventory}: ansible-inventory printed something else: {error}") from error
    names = dict.fromkeys(name for group in tree.values() for name in group.get("hosts", ()))
    found = tuple(_host(name, known.get(name, {})) for name in names)
    if not found:
        raise InputError(f"{inventory}: has no host{f' that matches {limit}' if limit else ''}")
    return found


def reader() -> str:
    """Ansible's program for inventories: the one beside this Python, else the one on the path."""
    beside = Path(sys.executable).with_name(READER)
    return str(beside) if beside.is_file() else READER


def _host(name: str, variables: dict[str, Any]) -> Host:
    address, port = variables.get("ansible_host", name), variables.get("ansible_port", 22)
    if not str(port).isdigit():
        raise InputError(f"{name}: found ansible_port {port!r}; allowed: a number")
    options = {option: str(variables[f"stig_{option}"]) for option in PER_HOST if f"stig_{option}" in variables}
    return Host(name, str(address), int(port), options)


def command(host: Host, options: dict[str, str], folder: Path) -> list[str]:
    """The scan of one host: its own options before those that are for all."""
    chosen = {**options, **host.options}
    user = chosen.pop("user", "auditor")
    place = f"[{host.address}]" if ":" in host.address else host.address
    words = [word for name, value in chosen.items() for word in (f"--{name.replace('_', '-')}", value)]
    return [
        sys.executable, "-m", "stig", "scan", f"ssh://{user}@{place}:{host.port}", "--out", str(folder / host.name), *words,
    ]  # fmt: skip


def scan_all(
    fleet: Sequence[Host],
    options: dict[str, str],
    folder: Path,
    *,
    at_once: int,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Ended, ...]:
    """Scan them, so many at a time; says of each how it ended as soon as that is known."""

    def one(host: Host) -> Ended:
        began, earlier = clock(), _written(folder / host.name)
        try:
            done = run(command(host, options, folder), seconds=SCAN_SECONDS)
        except StigError as error:
            return Ended(host.name, FAILED, clock() - began, str(error))
        if done.status in (0, FOUND) and _written(folder / host.name) != earlier:
            return Ended(host.name, done.status, clock() - began, _found(folder / host.name))
        # Python ends with FOUND as well when the scanner itself breaks; then it has left nothing new.
        return Ended(host.name, FAILED, clock() - began, _last(done.errors or done.output))

    ended = []
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        for future in as_completed([pool.submit(one, host) for host in fleet]):
            ended.append(future.result())
            last = ended[-1]
            say(f"[{len(ended)}/{len(fleet)}] {last.host}: {last.words} ({last.seconds:.0f} s)")
    return tuple(sorted(ended, key=lambda each: each.host))


def status(ended: Sequence[Ended]) -> int:
    """For a build server: 2 when a host could not be scanned, 1 when one has an open rule that is to fail the run, else 0."""
    worst = {one.status for one in ended}
    return FAILED if worst - {0, FOUND} else FOUND if FOUND in worst else 0


def lines(ended: Sequence[Ended]) -> Iterator[str]:
    """One row for each host."""
    width = max((len(one.host) for one in ended), default=0)
    words = {0: "scanned", FOUND: "OPEN"}
    for one in ended:
        yield f"{one.host:<{width}}  {words.get(one.status, 'FAILED'):<8} {one.words}"


def _written(folder: Path) -> int | None:
    """When the results there were written (nanoseconds since the epoch); None: there are none."""
    try:
        return (folder / RESULTS).stat().st_mtime_ns
    except OSError:
        return None


def _found(folder: Path) -> str:
    counts = results.read(folder / RESULTS).counts
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in ("not_a_finding", "open", "error", "not_reviewed"))


def _last(said: str) -> str:
    rows = [row.strip() for row in said.splitlines() if row.strip()]
    return rows[-1] if rows else "it said nothing"
