"""`sentry-software carry-out|healthy|mark-good|verify`: what the units of an image run. None of them takes an argument."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance import process
from appliance.audit import Entry, StreamAudit
from appliance.software import carrying, health, marking, verifying
from appliance.software.carrying import CarryError, Machine
from appliance.software.rauc import RaucError
from appliance.software.spool import Spool, SpoolError

BY = "sentry-software"
COMMAND_LINE = Path("/proc/cmdline")
FAILED = 1
EVENTS = {"update": "software.updated", "rollback": "software.rolled_back"}


def main() -> int:
    """One of the words; 0 unless it failed. What was found stands in the audit trail."""
    parser = argparse.ArgumentParser(prog="sentry-software", description=__doc__)
    parser.add_argument("word", choices=sorted(WORDS))
    try:
        return WORDS[parser.parse_args().word]()
    except (CarryError, RaucError, SpoolError, OSError) as error:
        _note("software.failed", str(error), result="error")
        print(error, file=sys.stderr)
        return FAILED


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _machine() -> Machine:
    slot = carrying.slot_of(COMMAND_LINE.read_text(encoding="ascii"))
    return Machine(run=process.run, version=carrying.version_of(), slot=slot, now=_now)


def _note(event: str, detail: str, *, by: str = BY, result: str = "ok") -> None:
    StreamAudit().write(Entry(time=_now(), event=event, user=by, result=result, detail=detail))


def _carry_out() -> int:
    spool = Spool()
    done = carrying.carry_out(spool, _machine())
    if done is None:
        return 0
    slots = spool.slots()
    went = f"slot {slots.next} with {slots.of(slots.next).version} is next" if slots and not done.problem else ""
    _note(EVENTS[done.kind], done.problem or went, by=done.by, result="error" if done.problem else "ok")
    return FAILED if done.problem else 0


def _healthy() -> int:
    """A start that is not well is made again, which is counted, where there is something to fall back to; else it goes on."""
    found = health.until_well(health.Looks(health.ask_configd, health.listeners, health.answers))
    if not found:
        return 0
    again = marking.starts_again(Spool().slots(), _machine().slot)
    words = "; ".join(found)
    _note("software.unhealthy", f"{words}; {'it starts again' if again else 'it stays as it is'}", result="error")
    print(f"sentry: this start is not well: {words}", file=sys.stderr)
    if again:
        return FAILED
    marking.UNWELL.touch()
    return 0


def _mark_good() -> int:
    machine = _machine()
    marked = marking.mark_good(Spool(), machine, COMMAND_LINE.read_text(encoding="ascii"))
    if marked.first:
        _note("software.good", f"slot {machine.slot} with {machine.version} runs well")
    if marked.fell_back_from:
        words = f"{marked.fell_back_from} did not run well; slot {machine.slot} with {machine.version} runs again"
        _note("software.fell_back", words, result="error")
    return 0


def _verify() -> int:
    damaged = {letter: words for letter, words in verifying.verify(Spool(), _machine()).items() if words}
    for letter, words in damaged.items():
        _note("software.damaged", f"slot {letter}: {words}", result="error")
    return 0


WORDS: dict[str, Callable[[], int]] = {
    "carry-out": _carry_out,
    "healthy": _healthy,
    "mark-good": _mark_good,
    "verify": _verify,
}

if __name__ == "__main__":
    sys.exit(main())
