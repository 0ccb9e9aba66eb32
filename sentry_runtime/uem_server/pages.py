"""The numbers in a question for a page."""

import re

from aiohttp import web

from sentry_runtime.uem.api import DECISIONS_PER_PAGE
from sentry_runtime.uem.messages import VERSION_MAX, MessageError

_NUMBER = re.compile(r"[0-9]{1,16}")  # as many digits as `VERSION_MAX` has


def page_wanted(request: web.Request) -> tuple[int, int]:
    """Behind which version, and how many at most. Raises `MessageError`."""
    after = number("after", request.query.get("after", "0"), 0, VERSION_MAX)
    return after, number("limit", request.query.get("limit", str(DECISIONS_PER_PAGE)), 1, DECISIONS_PER_PAGE)


def number(name: str, text: str, lowest: int, highest: int) -> int:
    """The number that is written so. Raises `MessageError`."""
    if not (_NUMBER.fullmatch(text) and lowest <= int(text) <= highest):
        raise MessageError(f"`{name}` is {lowest} to {highest}, found {text[:40]!r}")
    return int(text)
