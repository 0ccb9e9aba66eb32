"""What is sent when (pure: the time is given, in seconds since the epoch).

    offered -> due -> attempt -> sent
                ^        |
                +- later, longer each time, `TRIES` times at most; then it waits for the next file, or for a person

Times are of the clock that people set: they outlive a start of the machine. One that was set back makes nothing wait longer than
it would have waited.
"""

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from appliance.offsite.api import Standing
from appliance.offsite.settings import Destination

WAITS = (60.0, 300.0, 900.0, 3_600.0, 3_600.0, 3_600.0, 3_600.0)
"""How long after each failed attempt the next one comes: a server that restarts is waited for minutes, one that is away hours."""
TRIES = len(WAITS) + 1


class Copy(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is remembered of one destination. `settings` says by which settings: with others it begins anew. `file` is the one
    that was tried last, `tries` how often; `again`: it is wanted there although it was sent."""

    settings: str
    sent: str = ""
    sent_at: float = 0.0
    file: str = ""
    tries: int = 0
    tried: float = 0.0
    problem: str = ""
    again: bool = False


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All that is remembered: a copy for each destination."""

    format: int = 1
    copies: dict[str, Copy] = {}


def settled(state: State, destinations: Mapping[str, Destination]) -> State:
    """The state for these destinations: those that are gone are forgotten, those with other settings begin anew."""
    kept = {}
    for name, destination in destinations.items():
        digest = hashlib.sha256(msgspec.json.encode(destination)).hexdigest()
        known = state.copies.get(name)
        kept[name] = known if known is not None and known.settings == digest else Copy(settings=digest)
    return State(copies=kept)


def due(state: State, file: str, now: float) -> Iterator[str]:
    """The destinations that `file` is to be sent to now."""
    for name, copy in state.copies.items():
        if copy.sent == file and not copy.again:
            continue
        if copy.file != file or copy.tries == 0:
            yield name
        elif copy.tries < TRIES:
            wait = WAITS[copy.tries - 1]
            if not copy.tried <= now < copy.tried + wait:
                yield name


def begin(copy: Copy, file: str, now: float) -> None:
    """An attempt begins: remembered first, so that one that takes the process with it counts, too."""
    copy.tries = copy.tries + 1 if copy.file == file else 1
    copy.problem = copy.problem if copy.file == file else ""
    copy.file, copy.tried = file, now


def succeed(copy: Copy, file: str, now: float) -> None:
    """It lies there."""
    copy.sent, copy.sent_at, copy.problem, copy.again = file, now, "", False


def fail(copy: Copy, words: str) -> None:
    """It does not."""
    copy.problem = words


def again(state: State) -> None:
    """Somebody wants it sent now: what was tried before does not count."""
    for copy in state.copies.values():
        copy.again, copy.file, copy.tries = True, "", 0


def standing(copy: Copy, file: str) -> Standing:
    """What is said of a destination, with `file` being the one that is wanted there."""
    waits = copy.problem and copy.file == file and copy.tries < TRIES
    return Standing(
        sent=copy.sent,
        sent_at=copy.sent_at,
        tries=copy.tries,
        tried=copy.tried,
        next_try=copy.tried + WAITS[copy.tries - 1] if waits else 0.0,
        problem=copy.problem,
    )
