"""What of a UEM's words is news to the device list (pure).

The vendors' APIs know no change numbers, so the list itself is what a snapshot is held against. It is on the disk: a restart
finds no change where there was none, and what was lost by a crash is found again with the next snapshot.

| the list has | the snapshot | then |
|---|---|---|
| an order to wipe | whatever | nothing: no API of these takes an acknowledgement, so the order stands |
| a guess of the fail mode | nothing on it | nothing: the agent asks about it as soon as the link is back |
| a registered device | nothing on it | removed: asked about singly at its next contact |
| an unregistered one | nothing on it | what is said of all unregistered devices; removed when that is `FORGET_SECONDS` old |
| any other | another word | the snapshot's |
| nothing | a word | the snapshot's |
"""

import enum

from sentry_runtime.devices.record import Record
from sentry_runtime.uem.adapters.entry import Entry, Snapshot, judged

FORGET_SECONDS = 30 * 86_400.0  # as the UEM in the box: who nobody decided about in a month may ask again


class Gone(enum.Enum):
    """The device is to be removed."""

    UNREGISTERED = "unregistered"
    """Its answer was given long ago."""
    WITHDRAWN = "withdrawn"
    """It was registered."""


def change(record: Record, snapshot: Snapshot, *, block_unregistered: bool, now: float) -> Entry | Gone | None:
    """What becomes of an entry of the list when the UEM says this; None: it stays as it is."""
    if record.wipe is not None:
        return None
    if record.key not in snapshot.entries:
        if record.provisional:
            return None
        if record.registered:
            return Gone.WITHDRAWN
        if now - record.updated > FORGET_SECONDS:
            return Gone.UNREGISTERED
    entry = judged(record.key, snapshot, block_unregistered=block_unregistered)
    if record.key not in snapshot.entries:
        # What a device said of its type at its first contact is nothing that the UEM knows better.
        entry = Entry(entry.key, entry.reasons, device_type=record.device_type)
    return None if _same(record, entry) else entry


def _same(record: Record, entry: Entry) -> bool:
    said = (record.state, frozenset(record.reasons), record.registered, record.device_type)
    plain = not (record.provisional or record.note or record.policy)
    return plain and said == (entry.state, entry.reasons, entry.registered, entry.device_type)
