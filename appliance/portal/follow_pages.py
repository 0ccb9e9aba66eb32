"""A log that is followed: a page that does not end while lines come, without any script.

What comes is text within the page that the browser has begun to show; the newest line stands at the top by the style sheet alone.
Following does nothing that a person does: when nobody does anything, the session ends as ever, and the page with it.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import escape

from appliance.configd.api import Followed, FollowLog
from appliance.configd.client import Refused, Unreachable
from appliance.portal.fact_pages import ARGUMENT_CHARACTERS, LOGS
from appliance.portal.visit import Visit

LOOK_SECONDS = 2.0  # between two looks: at once, to a person, and a small command for the appliance
LOOKS = 900  # half an hour; who still follows then says so by following on
LINES = 20_000  # in one page: what a browser on a phone still scrolls
WRITE_SECONDS = 10.0  # a browser that takes nothing for so long is gone
STREAMS_OF_ONE = 2  # of a log-in, as configd has it of a session
STREAMS = 16  # of all together: each looks by one connection to configd for a moment
_MARK: Final = "<!-- lines -->"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wanted:
    """Which log, only lines with `text`."""

    which: str
    text: str

    def takes(self, line: str) -> bool:
        return self.text.casefold() in line.casefold()


async def stream(visit: Visit) -> web.StreamResponse:
    """The page. It ends with the session, after half an hour, and when the portal stops."""
    wanted = _Wanted(visit.asked("which"), visit.asked("text")[:ARGUMENT_CHARACTERS])
    if wanted.which not in LOGS:
        raise web.HTTPNotFound
    desk, held = visit.desk, visit.held
    if held.streams >= STREAMS_OF_ONE or desk.streams >= STREAMS:
        words = f"found {held.streams} logs that you follow; allowed: {STREAMS_OF_ONE}. Close one of them first."
        return visit.pages.error(429, words if held.streams >= STREAMS_OF_ONE else "Too many follow logs now.")
    held.streams, desk.streams = held.streams + 1, desk.streams + 1
    try:
        return await _served(visit, wanted)
    finally:
        held.streams, desk.streams = held.streams - 1, desk.streams - 1


async def _served(visit: Visit, wanted: _Wanted) -> web.StreamResponse:
    query = urlencode({"which": wanted.which, "text": wanted.text})
    whole = await visit.page(
        "stream.html.j2",
        which=wanted.which,
        title=LOGS[wanted.which],
        text=wanted.text,
        again=f"/logs/stream?{query}",
        still=f"/logs?{query}",
    )
    if visit.request.method == "HEAD":
        return whole
    first = await visit.call(FollowLog, Followed, which=wanted.which)  # a refusal is a page of its own
    before, _mark, behind = (whole.text or "").partition(_MARK)
    answer = web.StreamResponse()
    answer.content_type, answer.charset = "text/html", "utf-8"
    answer.force_close()  # nothing else comes over a connection that was a stream
    await answer.prepare(visit.request)
    try:
        await _write(answer, before + _written(first, wanted))
        words = await _follow(visit, answer, wanted, first)
        await _write(answer, f'<p class="trouble" role="status">{escape(words)}</p>{behind}')
    except (ConnectionError, TimeoutError):  # the browser went elsewhere
        pass
    return answer


async def _follow(visit: Visit, answer: web.StreamResponse, wanted: _Wanted, first: Followed) -> str:
    """Write what comes, until there is a reason to end; returns it."""
    after, told = first.after, len(first.lines)
    for _look in range(LOOKS):
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await visit.desk.stopping.wait()
            return "The portal stops; follow again in a moment."
        except TimeoutError:
            pass
        if not visit.alive():
            return "Your session has ended: log in to follow on."
        try:
            found = await visit.call(FollowLog, Followed, which=wanted.which, after=after)
        except Refused as refused:
            ended = refused.refusal.kind == "session"
            return "Your session has ended: log in to follow on." if ended else refused.refusal.message
        except Unreachable as error:
            _log.warning("%s", error)
            return "The configuration service does not answer; follow again in a moment."
        told += len(found.lines)
        if told > LINES:
            return f"More than {LINES} lines stand here; follow on from now."
        await _write(answer, _written(found, wanted) or "\n")  # a browser that is gone is noticed by writing
    return "Half an hour is over; follow on from now."


def _written(found: Followed, wanted: _Wanted) -> str:
    """Lines as text of the page, whatever is in them."""
    made = ["<div class=none>(more lines came than are shown)</div>\n"] if found.skipped else []
    made += [f"<div>{escape(line)}</div>\n" for line in found.lines if wanted.takes(line)]
    return "".join(made)


async def _write(answer: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await answer.write(text.encode(errors="replace"))
