"""`python -m appliance.snmp`: snmpd's `pass_persist` (snmpd.conf(5)), as snmpd's own account. It reads one file and answers."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from appliance.snmp.figures import AGE, ROOT, Figure, Oid
from appliance.snmp.publishing import PLACE, read

STALE_SECONDS = 120.0  # the alert service looks every thirty; older figures are worse than none
LINE_CHARACTERS = 1_024  # an OID has at most 128 numbers
NUMBERS = 128  # RFC 2578 3.5


def known(place: Path, now: float) -> tuple[Figure, ...]:
    """The figures in their order; how old they are, and nothing else, where that is too old."""
    found = read(place)
    if found is None:
        return ()
    age = max(0.0, now - found.when)
    said = Figure(AGE, "gauge", str(int(age)))
    return tuple(sorted((*(found.figures if age < STALE_SECONDS else ()), said), key=lambda one: tuple(one.oid)))


def oid_of(text: str) -> Oid | None:
    """The numbers below `ROOT` of an OID as snmpd writes it; of one before it the first, behind it None, as of what is none."""
    parts = text.strip().lstrip(".").split(".")
    if len(parts) > NUMBERS or not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        return None
    numbers = tuple(map(int, parts))
    if numbers[: len(ROOT)] == ROOT:
        return numbers[len(ROOT) :]
    return () if numbers < ROOT else None


def answer(command: str, asked: str, figures: tuple[Figure, ...]) -> str:
    """What snmpd reads: an OID, a type and a value on lines of their own, or NONE."""
    wanted = oid_of(asked)
    if wanted is None:
        return "NONE\n"
    if command == "get":
        found = next((one for one in figures if one.oid == wanted), None)
    else:
        found = next((one for one in figures if one.oid > wanted), None)
    if found is None:
        return "NONE\n"
    return f".{'.'.join(map(str, (*ROOT, *found.oid)))}\n{found.kind}\n{found.value}\n"


def answers(source: TextIO, place: Path, clock: Callable[[], float]) -> Iterator[str]:
    """An answer for each question, until there are none. Nothing can be set."""
    while line := source.readline(LINE_CHARACTERS):
        match line.strip():
            case "PING":
                yield "PONG\n"
            case "get" | "getnext" as command:
                yield answer(command, source.readline(LINE_CHARACTERS), known(place, clock()))
            case "set":
                source.readline(LINE_CHARACTERS)
                source.readline(LINE_CHARACTERS)
                yield "not-writable\n"
            case "":
                return
            case _:
                yield "NONE\n"


def main() -> int:
    """Answer until snmpd ends."""
    for said in answers(sys.stdin, PLACE, time.time):
        sys.stdout.write(said)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
