"""From a candidate to what runs: review, commit, confirm, discard, and the kept revisions with what differs between them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from appliance.configd.api import (
    Change,
    Commit,
    Committed,
    CompareRevisions,
    Confirm,
    Discard,
    ListRevisions,
    Refusal,
    Revision,
    Rollback,
)
from appliance.configd.client import Refused
from appliance.portal.forms import shown
from appliance.portal.settings_pages import address
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Frame, Visit

CONFIRM_MINUTES = 60  # what the form offers at most; configd says what it takes
DEFAULT_MINUTES = 5
COMMENT_CHARACTERS = 200  # as configd takes it
NUMBER_DIGITS = 9  # of a revision
VALUE_CHARACTERS = 2_000  # of one value in a list of differences; a certificate is as long


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that differs: its path, and what was and is, with whether it is the same on the other side (an item of a list
    may be). Nothing where it was or is not set."""

    path: str
    before: tuple[tuple[str, bool], ...]
    after: tuple[tuple[str, bool], ...]


def differences(changes: Iterable[Change]) -> tuple[Difference, ...]:
    """The changes as a page shows them."""
    return tuple(map(_difference, changes))


def _difference(change: Change) -> Difference:
    before, after = _items(change.before), _items(change.after)
    return Difference(
        ".".join(change.path),
        tuple((one, one in after) for one in before),
        tuple((one, one in before) for one in after),
    )


def _items(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        return (_cut(shown(value)) or "(empty)",)
    return tuple(_cut(_group(one) if isinstance(one, dict) else shown(one)) for one in value) or ("(empty)",)


def _group(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {shown(inner)}" for name, inner in one.items() if inner not in (None, ""))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


async def review(visit: Visit) -> web.Response:
    """What the candidate would change, and the ways to make it real."""
    return await _review(visit, await visit.frame())


async def _review(
    visit: Visit,
    frame: Frame,
    *,
    refusal: Refusal | None = None,
    comment: str = "",
    minutes: str = "",
    status: int = 200,
) -> web.Response:
    problems = [_placed(problem) for problem in (refusal.problems or (refusal.message,))] if refusal else []
    return await visit.page(
        "review.html.j2",
        status=status,
        frame=frame,
        differences=differences(frame.changes),
        problems=problems,
        conflict=refusal is not None and refusal.kind == "conflict",
        lockout=refusal is not None and refusal.kind == "lockout",
        failed=refusal is not None and refusal.kind == "apply",
        comment=comment,
        minutes=minutes or str(DEFAULT_MINUTES),
        most=CONFIRM_MINUTES,
        characters=COMMENT_CHARACTERS,
    )


def _placed(problem: str) -> tuple[str, str]:
    """A problem with the address of the page it is about, where it begins with a path of settings."""
    place, colon, _said = problem.partition(": found ")
    steps = tuple(place.split("."))
    is_path = bool(colon) and all(step and " " not in step for step in steps)
    return problem, address(steps[:1]) if is_path else ""


async def commit(visit: Visit) -> web.Response:
    """Commit, with a time limit to confirm it where `how` says so."""
    comment, minutes, limited = visit.word("comment"), visit.word("minutes"), visit.word("how") == "confirm"
    if limited and not (minutes.isascii() and minutes.isdecimal() and len(minutes) < NUMBER_DIGITS):
        said = f"minutes: found {minutes!r}; allowed: a whole number from 1 to {CONFIRM_MINUTES}"
        refusal = Refusal(kind="invalid", message=said)
        frame = await visit.frame()
        return await _review(visit, frame, refusal=refusal, comment=comment, minutes=minutes, status=422)
    try:
        await visit.prove()
        done = await visit.call(Commit, Committed, comment=comment, confirm_minutes=int(minutes) if limited else None)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("comment", "minutes", "how"))
        if refused.refusal.kind == "session":
            raise
        frame = await visit.frame()
        return await _review(visit, frame, refusal=refused.refusal, comment=comment, minutes=minutes, status=409)
    visit.say(_done(done))
    return visit.go("/revisions")


def _done(done: Committed) -> str:
    if not done.changed:
        return "Nothing was different; no revision was made."
    units = f" Restarted or reloaded: {', '.join(done.units)}." if done.units else ""
    limit = f" It returns to the one before at {done.confirm_by} unless you keep it." if done.confirm_by else ""
    return f"Revision {done.revision} is running.{units}{limit}"


async def discard(visit: Visit) -> web.Response:
    """Forget the candidate."""
    await visit.call(Discard, None)
    visit.say("Your changes are discarded.")
    return visit.go("/settings")


async def keep(visit: Visit) -> web.Response:
    """Confirm the commit that waits."""
    try:
        await visit.call(Confirm, None)
        visit.say("The revision is kept.")
    except Refused as refused:
        if refused.refusal.kind != "conflict":
            raise
        visit.say(refused.refusal.message, good=False)
    return visit.go("/revisions")


async def revisions(visit: Visit) -> web.Response:
    """The kept revisions."""
    found = await visit.call(ListRevisions, tuple[Revision, ...])
    return await visit.page("revisions.html.j2", revisions=found, may_change=visit.role == "administrator")


async def compare(visit: Visit) -> web.Response:
    """What differs between two revisions."""
    before, after = _number(visit.asked("before")), _number(visit.asked("after"))
    changes = await visit.call(CompareRevisions, tuple[Change, ...], before=before, after=after)
    return await visit.page(
        "compare.html.j2",
        before=before,
        after=after,
        differences=differences(changes),
        may_change=visit.role == "administrator",
    )


async def rollback(visit: Visit) -> web.Response:
    """Make an earlier revision run again."""
    number = _number(visit.word("revision"))
    try:
        await visit.prove()
        done = await visit.call(Rollback, Committed, revision=number)
        visit.say(_done(done))
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("revision",))
        if refused.refusal.kind == "session":
            raise
        visit.say("\n".join(refused.refusal.problems or (refused.refusal.message,)), good=False)
    return visit.go("/revisions")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS):
        raise web.HTTPBadRequest
    return int(text)
