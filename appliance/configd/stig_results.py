"""What the appliance's own STIG scan has found: files that the scanner's account writes, and this reads as a stranger's.

The scanner has no rights here, so its folder is not trusted: no link is followed, nothing but a plain file of bounded size is
read, and of what it says only typed fields are shown.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from appliance.configd import api
from appliance.configd.errors import refused

FOLDER: Final = Path("/var/lib/sentry/stig")
UNIT: Final = "sentry-stig.service"
RESULTS, OPENED = "results.json", "opened.json"
REPORTS: Final[dict[api.ReportForm, tuple[str, str]]] = {
    "ckl": ("sentry.ckl", "application/xml"),
    "cklb": ("sentry.cklb", "application/json"),
    "html": ("report.html", "text/html"),
    "json": (RESULTS, "application/json"),
}
"""The files of the reports that are handed out, and what they are."""
FILE_BYTES: Final = 3_000_000  # a report of 300 rules with all evidence has half of this; a reply has room for it
NONE_YET: Final = "the appliance has not scanned itself yet; `stig scan` starts a scan, and one runs each night"

Status = Literal["not_a_finding", "open", "not_applicable", "not_reviewed", "error"]
Read = TypeVar("Read")


class Result(msgspec.Struct, frozen=True):
    """One rule, as `stig.results` writes it."""

    rule: str
    stig: str
    category: str
    requirement: str
    status: Status
    reason: str = ""
    asked: tuple[str, ...] = ()
    mended_by: str = ""


class Scan(msgspec.Struct, frozen=True):
    """A whole scan."""

    finished: str
    seconds: float
    counts: dict[str, int]
    by_category: dict[str, dict[str, int]]
    results: tuple[Result, ...]


class Opened(msgspec.Struct, frozen=True):
    """Rules that are open and were not at some scan before, each with what it demands."""

    rules: dict[str, str] = {}


def last(folder: Path | None = None) -> Scan | None:
    """The last scan; None where there has been none. Raises an `unavailable` refusal for one that cannot be read."""
    return _decoded((folder or FOLDER) / RESULTS, Scan)


def opened(folder: Path | None = None) -> dict[str, str]:
    """The rules that have become open."""
    found = _decoded((folder or FOLDER) / OPENED, Opened)
    return found.rules if found else {}


def report(form: api.ReportForm, folder: Path | None = None) -> api.Report:
    """One report of the last scan. Raises an `invalid` refusal where there is none."""
    name, kind = REPORTS[form]
    text = _text((folder or FOLDER) / name)
    if text is None:
        raise refused("invalid", NONE_YET)
    return api.Report(name=name, media_type=kind, text=text)


def scan_now(run: Callable[[list[str]], Any]) -> None:
    """Start a scan, unless one runs."""
    run(["systemctl", "--no-block", "start", UNIT])


def _decoded(path: Path, shape: type[Read]) -> Read | None:
    text = _text(path)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.MsgspecError as error:
        raise refused("unavailable", f"{path.name} of the last scan cannot be read: {error}") from error


def _text(path: Path) -> str | None:
    try:
        # Neither a link nor a pipe that would make root wait.
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refused("unavailable", f"{path.name} of the last scan cannot be read: {error.strerror}") from error
    try:
        about = os.fstat(place)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise refused("unavailable", f"{path.name} of the last scan is not a plain file of its own")
        with os.fdopen(place, "rb", closefd=False) as file:
            content = file.read(FILE_BYTES + 1)
    finally:
        os.close(place)
    if len(content) > FILE_BYTES:
        raise refused("unavailable", f"{path.name} of the last scan has more than {FILE_BYTES} bytes")
    return content.decode("utf-8", "replace")
