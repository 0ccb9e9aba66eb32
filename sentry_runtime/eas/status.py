"""Answers that carry nothing but a status, each in its command's own code page (MS-ASCMD 2.2.2).

Clients look for the status on the page of the command they sent, so a common form for all commands would not be seen.
"""

from functools import lru_cache

from sentry_runtime.eas.codepages import (
    AIRSYNC,
    COMPOSE,
    ESTIMATE,
    FIND,
    FOLDERS,
    ITEMS,
    MEETING,
    MOVE,
    PAGES,
    PING,
    PROVISION,
    RESOLVE,
    SEARCH,
    SETTINGS,
    VALIDATE,
    Page,
)
from sentry_runtime.eas.wbxml import Element, WbxmlError, decode, element, encode

# Statuses of MS-ASCMD 2.2.2 ("common status codes", valid from 14.0 on).
DEVICE_IS_BLOCKED = 129
REMOTE_WIPE_REQUESTED = 140
DEVICE_NOT_PROVISIONED = 142
POLICY_REFRESH = 143
INVALID_POLICY_KEY = 144
MAXIMUM_DEVICES_REACHED = 177
# Statuses of Ping, all versions (MS-ASCMD 2.2.3.177.13).
PING_NO_CHANGES = 1
PING_FOLDER_SYNC_NEEDED = 7

_DIGITS = 3  # of a status

_STATUS_VERSIONS = frozenset({"14.0", "14.1", "16.0", "16.1"})

# command: the page, and the elements around the status
_PLACES: dict[str, tuple[Page, tuple[str, ...]]] = {
    "Sync": (AIRSYNC, ("Sync",)),
    "MoveItems": (MOVE, ("MoveItems", "Response")),
    "GetItemEstimate": (ESTIMATE, ("GetItemEstimate", "Response")),
    "FolderSync": (FOLDERS, ("FolderSync",)),
    "FolderCreate": (FOLDERS, ("FolderCreate",)),
    "FolderDelete": (FOLDERS, ("FolderDelete",)),
    "FolderUpdate": (FOLDERS, ("FolderUpdate",)),
    "MeetingResponse": (MEETING, ("MeetingResponse", "Result")),
    "ResolveRecipients": (RESOLVE, ("ResolveRecipients",)),
    "ValidateCert": (VALIDATE, ("ValidateCert",)),
    "Ping": (PING, ("Ping",)),
    "Provision": (PROVISION, ("Provision",)),
    "Search": (SEARCH, ("Search",)),
    "Settings": (SETTINGS, ("Settings",)),
    "ItemOperations": (ITEMS, ("ItemOperations",)),
    "SendMail": (COMPOSE, ("SendMail",)),
    "SmartForward": (COMPOSE, ("SmartForward",)),
    "SmartReply": (COMPOSE, ("SmartReply",)),
    "Find": (FIND, ("Find",)),
}


def speaks_status(protocol: str) -> bool:
    """Whether a client of this version reads the common status codes (14.0 and later); older ones know HTTP codes only."""
    return protocol in _STATUS_VERSIONS


def stated(body: bytes) -> int | None:
    """The status by which a whole command fails or not: the first one directly below the document's root, or below its first
    element. None where there is none, and for what is no document.

    On whatever page it stands: there are servers that have it on that of Sync in the answer to any command.
    """
    try:
        root = decode(body)
    except WbxmlError:
        return None
    elements = [part for part in root.content if isinstance(part, Element)]
    found = _status_in(elements)
    if found is None and elements:
        found = _status_in([part for part in elements[0].content if isinstance(part, Element)])
    return found


def _status_in(elements: list[Element]) -> int | None:
    for part in elements:
        page = PAGES.get(part.page)
        if page is not None and page.tokens.get("Status") == part.token:
            return int(part.text) if part.text.isascii() and part.text.isdigit() and len(part.text) <= _DIGITS else None
    return None


@lru_cache(maxsize=256)  # commands times the few statuses that we answer with
def status_body(command: str, status: int) -> bytes | None:
    """The smallest document by which this command fails with this status; None for a command whose answer is no WBXML."""
    place = _PLACES.get(command)
    if place is None:
        return None
    page, names = place
    part = element(page, "Status", str(status))
    for name in reversed(names):
        part = element(page, name, part)
    return encode(part)
