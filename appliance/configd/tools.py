"""What an administrator finds faults of the network with: echo, look-up, the way to a host, the neighbours. Fixed commands only;
a host is a name or an address and nothing else."""

import re
from collections.abc import Callable

from appliance.configd.api import Table, Text
from appliance.configd.errors import refused
from appliance.configd.facts.context import json_list, rows
from appliance.process import Finished

HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9.:-]*[A-Za-z0-9:])?")
PINGS = 4
HOPS = 20  # a way within one organisation has fewer than ten
HOP_SECONDS = 1
SILENT = 5  # routers in a row that do not answer: behind them nobody will
KEPT = frozenset({"PERMANENT", "NOARP"})  # ip-neighbour(8): not learnt, so not forgotten

Attempt = Callable[[list[str]], Finished]

_REPLY = re.compile(r"bytes from (\S+?):? .*time=(\S+ ms)")
_EXCEEDED = re.compile(r"^From (\S+?)(?:%\S+)? icmp_seq=1 (Time .*)$", re.MULTILINE)
_REFUSED = re.compile(r"^From (\S+?)(?:%\S+)? icmp_seq=1 (.*)$", re.MULTILINE)


def host(text: str) -> str:
    """`text`, if it can be nothing but a name or an address; raises an `invalid` refusal."""
    if not HOST.fullmatch(text):
        raise refused("invalid", f"found {text[:64]!r}; allowed: a host name, an IPv4 or an IPv6 address")
    return text


def ping(name: str, attempt: Attempt) -> Text:
    """ICMP echo, a fixed number of times."""
    finished = attempt(["ping", "-n", "-c", str(PINGS), "-i", "0.5", "-W", "2", "--", host(name)])
    return Text(title=f"ping {name}", lines=tuple((finished.output or finished.errors).splitlines()))


def lookup(name: str, attempt: Attempt) -> Text:
    """The addresses of a name, in order."""
    return Text(title=f"look-up of {name}", lines=_addresses(name, attempt) or (f"{name}: no such name",))


def _addresses(name: str, attempt: Attempt) -> tuple[str, ...]:
    finished = attempt(["getent", "--", "ahosts", host(name)])
    return tuple(sorted({line.split()[0] for line in finished.output.splitlines() if line.split()}))


def trace(name: str, attempt: Attempt) -> Table:
    """The routers on the way to a host, found by echoes that live one hop longer each time. Nothing but echoes: they are what
    the packet filter lets out (`appliance.features.firewall`)."""
    found = _addresses(name, attempt)
    if not found:
        raise refused("invalid", f"found no address of {name}; allowed: a name that is known, or an address")
    hops: list[tuple[str, ...]] = []
    silent = 0
    for hop in range(1, HOPS + 1):
        wait = ["-W", str(HOP_SECONDS), "-t", str(hop)]
        finished = attempt(["ping", "-n", "-c", "1", *wait, "--", found[0]])
        who, said, arrived = _heard(finished.output or finished.errors)
        hops.append((str(hop), who, said))
        silent = 0 if who else silent + 1
        if arrived or silent >= SILENT:
            break
    return Table(title=f"way to {name} ({found[0]})", columns=("hop", "address", "answer"), rows=tuple(hops))


def _heard(said: str) -> tuple[str, str, bool]:
    """Who answered, with what, and whether that ends the way: ping(8)'s words."""
    if reply := _REPLY.search(said):
        return reply[1], reply[2], True
    if exceeded := _EXCEEDED.search(said):
        return exceeded[1], "on the way", False
    if refusal := _REFUSED.search(said):
        return refusal[1], refusal[2].lower(), True
    if not said.startswith("PING"):
        return "", said.strip().splitlines()[-1] if said.strip() else "no answer", bool(said.strip())
    return "", "no answer", False


def clear_neighbours(run: Callable[[list[str]], str]) -> Table:
    """Forget the neighbours that were learnt; they are asked for again when they are needed. Returns those forgotten."""
    found = json_list(run(["ip", "-json", "neighbor", "show"]))
    learnt = [one for one in found if not KEPT.intersection(one.get("state", ()))]
    run(["ip", "neighbor", "flush", "all"])
    columns = ("address", "hardware", "interface")
    return Table(title="forgotten neighbours", columns=columns, rows=rows(learnt, "dst", "lladdr", "dev"))
